//! The page of the book about larger machines: a model from the measured costs of a row.
//!
//! ```text
//!  record of pages ─▶ server's CPU, client's CPU and bytes of a row, by each way
//!  cores ÷ CPU of a row, of the server and of the client; link ÷ bytes of a row ─▶ the least is the limit
//! ```

use std::fmt::Write;
use std::path::PathBuf;

use crate::contender::{COPY, COPY_PARQUET, PAGES, PAGES_PARQUET};
use crate::load::server_cpu_seconds;
use crate::record::Record;
use crate::report::{facts, read, thousands, without_results};
use crate::rounds::Group;
use crate::stats::median;
use crate::{Result, folders};

/// Where the records are, and where the page goes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ModelFlags {
    /// The folder with the records. Default: benches/record
    #[arg(long)]
    from: Option<PathBuf>,
    /// The page to write. Default: docs/src/scale.md
    #[arg(long)]
    to: Option<PathBuf>,
}

/// The ways, and what they are called on the page.
const WAYS: [(&str, &str); 4] = [
    (COPY, "COPY → Arrow"),
    (PAGES, "pages → Arrow"),
    (COPY_PARQUET, "COPY → Parquet"),
    (PAGES_PARQUET, "pages → Parquet"),
];
const WORKLOADS: [&str; 3] = ["lineitem", "five", "text"];
/// Cores of the server, and as many of the client.
const CORES: [f64; 5] = [8.0, 16.0, 32.0, 64.0, 96.0];
/// Gigabits a second.
const LINKS: [f64; 4] = [10.0, 25.0, 40.0, 100.0];
/// The part of a link that is left for data: of 1,538 bytes that a full frame of Ethernet takes, 1,448 are
/// TCP's payload.
const PAYLOAD: f64 = 1448.0 / 1538.0;

/// What a row costs by one way.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Seconds of CPU.
    server: f64,
    client: f64,
    /// On the wire.
    bytes: f64,
    /// Seconds that passed for a row, where both shared a machine.
    measured: f64,
}

/// The limit of a way, with these machines.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Server,
    Client,
    Link,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Link => "link",
        }
    }
}

impl Cost {
    fn of(group: &Group, name: &str) -> Option<Self> {
        let find = |name: &str| group.contenders.iter().find(|measured| measured.contender == name);
        let measured = find(name)?;
        // Of files, the record has their size; the wire is that of the same rows as batches.
        let on_wire = find(if name == COPY_PARQUET {
            COPY
        } else if name == PAGES_PARQUET {
            PAGES
        } else {
            name
        })?;
        let rows = group.rows as f64;
        let server = server_cpu_seconds(measured);
        (!server.is_empty()).then(|| Self {
            server: median(server) / rows,
            client: median(&measured.cpu_seconds) / rows,
            bytes: on_wire.bytes as f64 / rows,
            measured: median(&measured.wall_seconds) / rows,
        })
    }

    /// Rows a second, and what limits them: a server and a client of as many cores, and a link between them.
    fn rate(&self, cores: f64, gigabits: f64) -> (f64, Limit) {
        let limits = [
            (cores / self.server, Limit::Server),
            (cores / self.client, Limit::Client),
            (bytes_per_second(gigabits) / self.bytes, Limit::Link),
        ];
        let least = |a: (f64, Limit), b: (f64, Limit)| if b.0 < a.0 { b } else { a };
        limits.into_iter().fold((f64::INFINITY, Limit::Server), least)
    }

    /// The cores of the server and of the client that fill a link.
    fn cores(&self, gigabits: f64) -> (f64, f64) {
        let rows = bytes_per_second(gigabits) / self.bytes;
        (rows * self.server, rows * self.client)
    }

    /// Seconds for a row where `cores` are both the server's and the client's.
    fn shared(&self, cores: usize) -> f64 {
        (self.server + self.client) / cores as f64
    }
}

fn bytes_per_second(gigabits: f64) -> f64 {
    gigabits * 1e9 / 8.0 * PAYLOAD
}

pub(crate) fn run(flags: &ModelFlags) -> Result<()> {
    let from = flags.from.clone().unwrap_or_else(|| folders::source().join("record"));
    let to = flags.to.clone().unwrap_or_else(|| folders::source().join("../docs/src/scale.md"));
    let page = page(&read(&from)?)?.ok_or("no record of pages has the server's CPU: just bench-pages")?;
    std::fs::write(&to, page)?;
    println!("written to {}", to.display());
    Ok(())
}

/// The page; none if no record has what it needs.
fn page(records: &[Record<serde_json::Value>]) -> Result<Option<String>> {
    let mut latest = Vec::new();
    for name in WORKLOADS {
        let mut found = None;
        for record in records.iter().filter(|record| record.kind == "pages") {
            let groups: Vec<Group> = serde_json::from_value(record.results.clone())?;
            let group = groups.into_iter().filter(|group| group.workload == name && is_enough(group));
            // More connections than one, so that both cores were at work, as all are in the model.
            found = group
                .max_by_key(|group| group.connections)
                .map(|group| (without_results(record), group))
                .or(found);
        }
        latest.extend(found);
    }
    match latest.first() {
        Some((record, _)) => Ok(Some(write(record, &latest)?)),
        None => Ok(None),
    }
}

/// Whether a group has all ways, each with the server's CPU.
fn is_enough(group: &Group) -> bool {
    WAYS.iter().all(|(contender, _)| Cost::of(group, contender).is_some())
}

fn write(record: &Record<()>, groups: &[(Record<()>, Group)]) -> Result<String> {
    let mut text = INTRODUCTION.to_owned();
    let cores = record.machine.cores;
    writeln!(text, "\n## Measured: what a row costs\n\n{}\n", wrap(&facts(record)))?;
    writeln!(text, "| | | server's CPU, µs a row | client's CPU, µs a row | bytes a row | rows measured |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for (_, group) in groups {
        for (contender, way) in WAYS {
            let Some(cost) = Cost::of(group, contender) else { continue };
            let Group { workload, rows, .. } = group;
            writeln!(
                text,
                "| {workload} | {way} | {:.3} | {:.3} | {:.0} | {} |",
                cost.server * 1e6,
                cost.client * 1e6,
                cost.bytes,
                thousands(*rows)
            )?;
        }
    }
    writeln!(text, "\n{MEASURED}")?;
    writeln!(text, "\n## The model beside what was measured\n\n{CHECK}\n")?;
    writeln!(text, "| | | model, µs a row | measured, µs a row | measured ÷ model |\n|---|---|---|---|---|")?;
    for (record, group) in groups {
        for (contender, way) in WAYS {
            let Some(cost) = Cost::of(group, contender) else { continue };
            let model = cost.shared(record.machine.cores);
            writeln!(
                text,
                "| {} | {way} | {:.3} | {:.3} | {:.2} |",
                group.workload,
                model * 1e6,
                cost.measured * 1e6,
                cost.measured / model
            )?;
        }
    }
    writeln!(text, "\n{CHECKED}")?;
    writeln!(text, "\n## Estimated: cores that fill a link\n\n{FILL}\n")?;
    let links = [10.0, 25.0, 100.0];
    write!(text, "| | |")?;
    links.iter().try_for_each(|link| write!(text, " {link} Gbit/s |"))?;
    writeln!(text, "\n|---|---|---|---|---|")?;
    for (_, group) in groups {
        for (contender, way) in WAYS {
            let Some(cost) = Cost::of(group, contender) else { continue };
            write!(text, "| {} | {way} |", group.workload)?;
            for link in links {
                let (server, client) = cost.cores(link);
                write!(text, " {} + {} |", cores_text(server), cores_text(client))?;
            }
            writeln!(text)?;
        }
    }
    for (_, group) in groups {
        writeln!(text, "\n## Estimated: {}, millions of rows a second\n", group.workload)?;
        write!(text, "| cores of each | link, Gbit/s |")?;
        WAYS.iter().try_for_each(|(_, way)| write!(text, " {way} |"))?;
        writeln!(text, "\n|---|---|---|---|---|---|")?;
        for (cores, link) in CORES.into_iter().flat_map(|cores| LINKS.map(|link| (cores, link))) {
            write!(text, "| {cores} | {link} |")?;
            for (contender, _) in WAYS {
                let Some(cost) = Cost::of(group, contender) else { continue };
                let (rate, limit) = cost.rate(cores, link);
                write!(text, " {} {} |", millions(rate), limit.name())?;
            }
            writeln!(text)?;
        }
    }
    writeln!(text, "\n## Not in the model\n\n{}", not_in(cores))?;
    Ok(text)
}

const INTRODUCTION: &str = "\
# Larger machines

How fast can an export be on machines that we have not measured? What a row costs was measured on a small
machine. This page divides larger ones by it: cores by CPU time, and a link by bytes. The least of the three
is the limit. **Only the first two tables are measured. All others are estimates**, and no machine with so
many cores has confirmed them.

The page is made of the suite's records, by `just bench-model`.
";

const MEASURED: &str = "\
Tables were warm in the server's cache. CPU is that of all backends and of the whole client, in user and
system time, with neither TLS nor a network card between them. Bytes are those on the wire.";

const CHECK: &str = "\
Where server and client share their cores, the model says: the CPU of both, divided by the number of cores.";

const CHECKED: &str = "\
More than 1 is time in which a core had nothing to do: at the beginning and the end, and while one side
waited for the other.";

const FILL: &str = "\
Server's cores + client's cores. A reader is a connection: a core of the server, and a thread of the client.
So `--readers` has to be at least the larger number. With fewer cores, CPU is the limit; with more, the link.";

/// What the model leaves out.
fn not_in(cores: usize) -> String {
    format!(
        "\
- **Cores that get in each other's way.** Costs were measured with {cores} cores at work. Many of them share
  caches, the bandwidth of the memory, and locks of the server. A row then costs more than here.
- **Disks.** A table that is not in memory is read at the speed of its disk. A Parquet file is written at that
  of the client's.
- **TLS**, which costs both sides CPU for each byte.
- **The network card and its interrupts**, which the loopback has not. Of a link, 94 % is taken for data.
- **Skew**: one slice that takes longer than all others at the end.
- **Other work of the server.** Who wants to leave half of its cores to others halves the rate."
    )
}

/// Two digits, as one counts cores.
fn cores_text(cores: f64) -> String {
    if cores < 10.0 { format!("{cores:.1}") } else { format!("{cores:.0}") }
}

fn millions(rate: f64) -> String {
    let rate = rate / 1e6;
    if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Lines of at most 110 bytes.
fn wrap(text: &str) -> String {
    let (mut wrapped, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 110 {
            wrapped += &line;
            wrapped.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    wrapped + &line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COST: Cost = Cost { server: 1e-6, client: 0.5e-6, bytes: 200.0, measured: 1e-6 };

    #[test]
    fn the_least_is_the_limit() {
        assert_eq!(COST.rate(8.0, 100.0), (8e6, Limit::Server));
        let client = Cost { client: 2e-6, ..COST };
        assert_eq!(client.rate(8.0, 100.0), (4e6, Limit::Client));
        let (rate, limit) = COST.rate(96.0, 10.0);
        assert_eq!(limit, Limit::Link);
        assert!((rate - bytes_per_second(10.0) / 200.0).abs() < 1.0, "{rate}");
        // The cores that fill a link have the link's rate.
        let (server, client) = COST.cores(10.0);
        assert!((server / client - 2.0).abs() < 1e-9 && (server / COST.server - rate).abs() < 1.0);
        assert!((COST.shared(2) - 0.75e-6).abs() < 1e-12);
    }

    #[test]
    fn without_the_servers_cpu_there_is_no_page() {
        assert!(page(&[]).unwrap().is_none());
    }

    #[test]
    fn a_page_has_what_was_measured_and_what_is_estimated() {
        let contender = |name: &str, server: f64| {
            json!({"contender": name, "connections": 2, "wall_seconds": [2.0], "cpu_seconds": [1.0], "peak_bytes": 0,
                   "server_cpu_seconds": [server], "bytes": 200_000_000, "columns_checked": 3})
        };
        let group = |workload: &str, server: f64| {
            let contenders = WAYS.map(|(name, _)| contender(name, server));
            json!({"workload": workload, "scale": 1.0, "rows": 1_000_000, "tables": 1, "connections": 2,
                   "contenders": contenders, "left_out": []})
        };
        let record: Record<serde_json::Value> = serde_json::from_value(json!({
            "record_version": 2, "kind": "pages", "date": "2026-01-01T00:00:00Z", "revision": "abc", "versions": {},
            "results": [group("lineitem", 3.0), group("five", 0.01)],
            "machine": {"processor": "P", "cores": 2, "memory_mib": 4000, "system": "S", "kernel": "K"},
        }))
        .unwrap();
        let text = page(&[record]).unwrap().unwrap();
        for line in [
            "| lineitem | COPY → Arrow | 3.000 | 1.000 | 200 | 1,000,000 |",
            "| lineitem | pages → Parquet | 2.000 | 2.000 | 1.00 |",
            "| 8 | 10 | 2.7 server | 2.7 server | 2.7 server | 2.7 server |",
            "| 96 | 10 | 5.9 link |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        // The server took too little CPU for five columns to say how much.
        assert!(!text.contains("| five |"), "{text}");
    }

    /// A new record makes another page: `just bench-model`.
    #[test]
    fn the_page_in_the_book_is_that_of_the_records() {
        let of_records = page(&read(&folders::source().join("record")).unwrap()).unwrap();
        let in_book = std::fs::read_to_string(folders::source().join("../docs/src/scale.md")).unwrap();
        assert!(of_records.is_none_or(|page| page == in_book), "run `just bench-model`");
    }

    #[test]
    fn lines_have_a_width() {
        let text = wrap(&"word ".repeat(100));
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() <= 110));
        assert_eq!(wrap("two words"), "two words");
    }
}
