//! The one loop of the suite: contenders take turns, round by round, on one workload.
//!
//! So other work of the machine affects all of them, and only results of one loop are compared. The first
//! round does not count: it checks the answers, column by column.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::answer::Answer;
use crate::contender::{Contender, DRAINS, FAIR_DRAIN, Outcome, Round};
use crate::server::{Database, ServerFlags};
use crate::stats::{median, range};
use crate::workloads::{Prepared, WORKLOADS, Workload};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RoundFlags {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// Only these workloads
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// The scale of the tables; 1 is six million lineitems
    #[arg(long, default_value_t = 1.0)]
    pub(crate) scale: f64,
    /// How many connections each contender has
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    pub(crate) connections: Vec<usize>,
    /// Where to write the results, as JSON: a folder such as benches/record
    #[arg(long)]
    pub(crate) record: Option<PathBuf>,
}

impl RoundFlags {
    /// Tiny tables on an existing server.
    pub(crate) fn smoke(url: &str) -> Self {
        let server = ServerFlags { url: Some(url.to_owned()) };
        Self { server, only: Vec::new(), scale: 0.002, connections: vec![2], record: None }
    }

    /// The workloads that the user named, else these.
    pub(crate) fn workloads(&self, default: &[&str]) -> Result<Vec<&'static Workload>> {
        let is_known = |name: &str| WORKLOADS.iter().any(|workload| workload.name == name);
        if let Some(unknown) = self.only.iter().find(|name| !is_known(name)) {
            let names = WORKLOADS.map(|workload| workload.name).join(", ");
            return Err(format!("there is no workload {unknown}; there are {names}").into());
        }
        let is_wanted = |name: &str| match self.only.as_slice() {
            [] => default.contains(&name),
            only => only.iter().any(|only| only == name),
        };
        Ok(WORKLOADS.iter().filter(|workload| is_wanted(workload.name)).collect())
    }
}

/// The results of one loop.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) workload: String,
    pub(crate) scale: f64,
    pub(crate) rows: u64,
    pub(crate) tables: usize,
    pub(crate) connections: usize,
    /// The bytes of these rows by COPY in binary, of which MB/s are; 0 if they are not known.
    #[serde(default)]
    pub(crate) copy_bytes: u64,
    pub(crate) contenders: Vec<Measured>,
    /// Contenders that could not read the workload, and why.
    pub(crate) left_out: Vec<String>,
}

/// One contender's rounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) contender: String,
    /// The connections it used: some rivals have one, whatever is asked for.
    pub(crate) connections: usize,
    pub(crate) wall_seconds: Vec<f64>,
    pub(crate) cpu_seconds: Vec<f64>,
    /// The part of the wall time for starting and connecting; for loads only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) start_seconds: Vec<f64>,
    /// CPU time of encoding alone; for loads only, if a thread does nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) encode_seconds: Vec<f64>,
    /// CPU time of the server's backends; none if the server is not the suite's own.
    #[serde(default)]
    pub(crate) server_cpu_seconds: Vec<f64>,
    /// The largest of all rounds.
    pub(crate) peak_bytes: u64,
    /// What was neither the interpreter's nor the table's, in the round with the most; for tables in Python
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beyond_bytes: Option<u64>,
    /// Bytes on the wire, of the files that were written, or of a table in memory.
    pub(crate) bytes: u64,
    /// Of the median round, filled in at the end.
    #[serde(default)]
    pub(crate) rows_per_second: f64,
    /// Megabytes of the rows as COPY sends them, whatever was read or written, in the median round.
    #[serde(default)]
    pub(crate) megabytes_per_second: Option<f64>,
    /// Columns whose sum was compared with the server's. Rows always are.
    pub(crate) columns_checked: usize,
}

impl Group {
    /// The fair drain's median, if it ran.
    pub(crate) fn limit_seconds(&self) -> Option<f64> {
        let fair = self.contenders.iter().find(|measured| measured.contender == FAIR_DRAIN)?;
        Some(median(&fair.wall_seconds))
    }

    /// The time of the server itself: the faster drain's median, which for many tables is the plain one's.
    pub(crate) fn server_seconds(&self) -> Option<f64> {
        let drains = self.contenders.iter().filter(|measured| DRAINS.contains(&measured.contender.as_str()));
        drains.map(|measured| median(&measured.wall_seconds)).min_by(f64::total_cmp)
    }
}

/// Measures one workload.
pub(crate) fn measure(
    database: &mut Database,
    prepared: &Prepared,
    scale: f64,
    connections: usize,
    mut contenders: Vec<Contender>,
    n_rounds: usize,
) -> Result<Group> {
    let table = prepared.tables.first().ok_or("a workload without tables")?;
    let plan = pgarrow::Source::connect_blocking(database.url())?.table(table).open()?.plan().clone();
    let answer = Answer::of(database, &plan, &prepared.tables)?;
    let pages = pages(database, table)?;
    let url = database.read_url().to_owned();
    let socket_url = database.socket_url();
    let first = Round {
        url: &url,
        socket_url: socket_url.as_deref(),
        prepared,
        pages,
        answer: &answer,
        is_checked: true,
    };
    let mut left_out = Vec::new();
    let mut measured = Vec::new();
    let mut failure = None;
    contenders.retain(|contender| match contender.run(&first) {
        Ok((_, n_checked)) => {
            measured.push(Measured::new(contender, n_checked));
            true
        }
        Err(error) => {
            let text = format!("{} on {}: {error}", contender.name, prepared.workload);
            match contender.is_ours() {
                true => failure = failure.take().or(Some(text)),
                // A rival may lack a type. If its answers are wrong, it is not measured either.
                false => left_out.push(text),
            }
            false
        }
    });
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    for _ in 0..n_rounds {
        for (contender, measured) in contenders.iter().zip(&mut measured) {
            let before = database.backends_cpu_seconds()?;
            let result = contender.run(&Round { is_checked: false, ..first });
            let (outcome, _) = result.map_err(|error| format!("{}: {error}", contender.name))?;
            measured.add(&outcome);
            if let (Some(before), Some(after)) = (before, database.backends_cpu_seconds()?) {
                measured.server_cpu_seconds.push(after - before);
            }
        }
    }
    let mut group = Group {
        workload: prepared.workload.clone(),
        scale,
        rows: answer.rows,
        tables: prepared.tables.len(),
        connections,
        copy_bytes: 0,
        contenders: measured,
        left_out,
    };
    group.fill_rates();
    print(&group);
    Ok(group)
}

/// The pages of a table, or of its largest partition: rivals cut these into ranges.
fn pages(database: &mut Database, table: &str) -> Result<u64> {
    let sql = format!(
        "SELECT (max(pg_relation_size(oid)) / current_setting('block_size')::int)::text FROM \
         (SELECT '{table}'::regclass AS oid UNION ALL SELECT relid FROM pg_partition_tree('{table}')) parts"
    );
    Ok(database.value(&sql)?.ok_or("no pages")?.parse()?)
}

impl Measured {
    fn new(contender: &Contender, columns_checked: usize) -> Self {
        Self { connections: contender.connections, ..Self::named(&contender.name, columns_checked) }
    }

    /// Empty results of a contender with one connection.
    pub(crate) fn named(name: &str, columns_checked: usize) -> Self {
        Self {
            contender: name.to_owned(),
            connections: 1,
            wall_seconds: Vec::new(),
            cpu_seconds: Vec::new(),
            start_seconds: Vec::new(),
            encode_seconds: Vec::new(),
            server_cpu_seconds: Vec::new(),
            peak_bytes: 0,
            beyond_bytes: None,
            bytes: 0,
            rows_per_second: 0.0,
            megabytes_per_second: None,
            columns_checked,
        }
    }

    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.wall_seconds.push(outcome.wall_seconds);
        self.cpu_seconds.push(outcome.cpu_seconds);
        if outcome.start_seconds > 0.0 {
            self.start_seconds.push(outcome.start_seconds);
        }
        self.encode_seconds.extend(outcome.encode_seconds);
        self.peak_bytes = self.peak_bytes.max(outcome.peak_bytes);
        self.beyond_bytes = self.beyond_bytes.max(outcome.beyond_bytes);
        self.bytes = outcome.bytes;
    }
}

fn print(group: &Group) {
    let limit = group.limit_seconds();
    let unit = if group.tables > 1 { "ms/table" } else { "µs/row" };
    println!("\n{}: {} rows, connections: {}", group.workload, group.rows, group.connections);
    println!(
        "{:<26} {:>5} {:>9} {:>15} {:>8} {:>9} {:>10} {:>9} {:>9} {:>9} {:>7}",
        "", "conn.", "wall s", "min … max", "÷ fair", "cpu s", unit, "peak MiB", "MB", "Mrows/s", "MB/s"
    );
    for measured in &group.contenders {
        let (low, high) = range(&measured.wall_seconds);
        let wall = median(&measured.wall_seconds);
        let cpu = median(&measured.cpu_seconds);
        println!(
            "{:<26} {:>5} {:>9.3} {:>15} {:>8} {:>9.3} {:>10.3} {:>9.1} {:>9.1} {:>9.3} {:>7}",
            measured.contender,
            measured.connections,
            wall,
            format!("{low:.2} … {high:.2}"),
            limit.map_or_else(String::new, |limit| format!("{:.3}", wall / limit)),
            cpu,
            match group.tables {
                // The time beyond what the server itself needs.
                2.. => (wall - group.server_seconds().unwrap_or(f64::NAN)) * 1e3 / group.tables as f64,
                _ => cpu * 1e6 / group.rows.max(1) as f64,
            },
            measured.peak_bytes as f64 / f64::from(1 << 20),
            measured.bytes as f64 / 1e6,
            measured.rows_per_second / 1e6,
            measured.megabytes_per_second.map_or_else(String::new, |rate| format!("{rate:.0}")),
        );
    }
    for text in &group.left_out {
        println!("left out: {text}");
    }
}
