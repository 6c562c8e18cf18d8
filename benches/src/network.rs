//! How the link decides: the command by COPY, by pages and as it chooses, with several numbers of readers,
//! over TLS, over a link of 1 Gbit/s, and over one that is 20 ms long.
//!
//! ```text
//!  this program ─▶ unshare --net ─▶ this program again, with a loopback of its own
//!                                     private server ⇄ lo (tc tbf: 1 Gbit/s) ⇄ pgarrow export --to none
//!                                     private server ⇄ far.rs (10 ms each way) ⇄ pgarrow export --to none
//! ```
//!
//! The rate is that of all packets together, and nothing else of the machine has it: the loopback is the
//! namespace's. The proxy delays data, but not the kernel's acknowledgements: receive windows grow as on a
//! short link, and at most 16 MiB are on their way. It shares the machine's cores with both.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use pgarrow_server::ServerOptions;

use crate::chart::seconds;
use crate::contender::Contender;
use crate::load::server_cpu_seconds;
use crate::record::Record;
use crate::report::{facts, thousands};
use crate::rounds::{Group, RoundFlags, measure};
use crate::server::Database;
use crate::stats::{median, range};
use crate::workloads::{Prepared, make_visible};
use crate::{Result, far, folders, rates, record};

/// The kind of these records.
pub(crate) const KIND: &str = "network";

/// How the names of contenders begin that read by COPY.
pub(crate) const COPY: &str = "copy, ";

/// How late all is on the long link, in each direction.
const DELAY: Duration = Duration::from_millis(10);

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NetworkFlags {
    /// The command
    #[arg(long, default_value = "target/release/pgarrow")]
    program: PathBuf,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', default_values = ["lineitem", "five", "text"])]
    only: Vec<String>,
    /// The scale of the tables; 1 is six million lineitems
    #[arg(long, default_value_t = 0.2)]
    scale: f64,
    /// The links
    #[arg(long, value_delimiter = ',', default_values = ["plain", "tls", "gigabit", "long"])]
    links: Vec<Link>,
    /// --readers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    readers: Vec<usize>,
    /// --read-mode
    #[arg(long, value_delimiter = ',', default_values = ["copy", "pages", "auto"])]
    modes: Vec<Mode>,
    /// Counted rounds, after one that is not
    #[arg(long = "rounds", default_value_t = 5)]
    n_rounds: usize,
    /// Where to write the results, as JSON: a folder such as benches/record
    #[arg(long)]
    record: Option<PathBuf>,
    /// This is the program in its own network namespace
    #[arg(long, hide = true)]
    is_inside: bool,
}

/// A link between server and client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Link {
    /// The loopback, without TLS
    Plain,
    /// The loopback with TLS
    Tls,
    /// 1 Gbit/s, without TLS: as root, in a network namespace
    Gigabit,
    /// A way of 10 ms in each direction, without TLS
    Long,
}

impl Link {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "TLS",
            Self::Gigabit => "1 Gbit/s",
            Self::Long => "20 ms",
        }
    }

    /// The server's address. The slower links are to count as a network, also for the command's choice: so
    /// theirs is one by which nobody sees that it is the loopback.
    fn host(self) -> &'static str {
        match self {
            Self::Plain | Self::Tls => "127.0.0.1",
            Self::Gigabit | Self::Long => "[::ffff:127.0.0.1]",
        }
    }
}

/// How rows are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Mode {
    Copy,
    Pages,
    Auto,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Pages => "pages",
            Self::Auto => "auto",
        }
    }

    fn contender(self, readers: usize) -> String {
        format!("{}, {readers}", self.name())
    }
}

/// Measures, in a namespace of its own if a rate is wanted and possible.
pub(crate) fn run(flags: &NetworkFlags) -> Result<()> {
    let wants_rate = flags.links.contains(&Link::Gigabit);
    if !flags.is_inside && wants_rate && may_unshare() {
        let mut again = Command::new("unshare");
        again.args(["--net", "--"]).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
        return folders::succeed(again.arg("--is-inside"));
    }
    measure_all(flags)
}

/// All links, one after the other, in this process's network.
fn measure_all(flags: &NetworkFlags) -> Result<()> {
    let mut links = flags.links.clone();
    if flags.is_inside {
        folders::output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    } else if links.contains(&Link::Gigabit) {
        println!("1 Gbit/s is left out: it needs root, unshare, and tc in a network namespace");
        links.retain(|link| *link != Link::Gigabit);
    }
    let mut rounds = RoundFlags::smoke("");
    rounds.only.clone_from(&flags.only);
    let workloads = rounds.workloads(&[])?;
    let mut database = Database::private(with_tls(Database::options())?)?;
    database.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")?;
    let mut groups = Vec::new();
    for workload in workloads {
        let prepared = workload.prepare(&mut database, flags.scale)?;
        make_visible(&mut database, &prepared.tables)?;
        for link in &links {
            groups.push(over(flags, &mut database, &prepared, *link)?);
            groups.iter().next_back().into_iter().for_each(|group| print_ratios(flags, group));
        }
    }
    let versions = record::versions(&mut database)?;
    record::write(flags.record.as_deref(), KIND, versions, &groups)
}

/// All ways over one link, in turn.
fn over(flags: &NetworkFlags, database: &mut Database, prepared: &Prepared, link: Link) -> Result<Group> {
    let url = database.url().to_owned();
    if link == Link::Gigabit {
        let tbf = ["qdisc", "replace", "dev", "lo", "root", "tbf", "rate", "1gbit"];
        folders::output(Command::new("tc").args(tbf).args(["burst", "256k", "latency", "50ms"]))?;
    }
    let port = database.port().ok_or("a server without a port")?;
    let port = if link == Link::Long { far::listen(port, DELAY)? } else { port };
    let (_, rest) = url.split_once("@127.0.0.1:").ok_or("a server at another address")?;
    let (_, name) = rest.split_once('/').ok_or("a server without a database")?;
    let through = format!("postgres://postgres@{}:{port}/{name}", link.host());
    let sslmode = if link == Link::Tls { "require" } else { "disable" };
    let separator = if through.contains('?') { '&' } else { '?' };
    database.read_by(Some(format!("{through}{separator}sslmode={sslmode}")));
    let contenders = flags.readers.iter().flat_map(|readers| {
        flags.modes.iter().map(|mode| {
            Contender::command(&mode.contender(*readers), *readers, flags.program.clone(), mode.name())
        })
    });
    let prepared = Prepared {
        workload: format!("{}, {}", prepared.workload, link.name()),
        tables: prepared.tables.clone(),
    };
    let readers = flags.readers.iter().copied().max().unwrap_or(1);
    let group = measure(database, &prepared, flags.scale, readers, contenders.collect(), flags.n_rounds);
    database.read_by(None);
    if link == Link::Gigabit {
        folders::output(Command::new("tc").args(["qdisc", "del", "dev", "lo", "root"]))?;
    }
    group
}

/// Whether this process may have a network namespace of its own, with a rate.
fn may_unshare() -> bool {
    let script = "ip link set lo up && tc qdisc add dev lo root tbf rate 1gbit burst 256k latency 50ms";
    let tried = Command::new("unshare").args(["--net", "--", "sh", "-c", script]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// The options of a server that speaks TLS, too, by a certificate of its own.
fn with_tls(options: ServerOptions) -> Result<ServerOptions> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "30"]);
    openssl.arg("-keyout").arg(path("server.key")).arg("-out").arg(path("server.crt"));
    folders::output(&mut openssl)?;
    let [key, certificate] = ["server.key", "server.crt"].map(|name| std::fs::read(path(name)));
    Ok(options.setting("ssl", "on").file("server.key", key?).file("server.crt", certificate?))
}

/// The group's part of the report.
pub(crate) fn table(text: &mut String, record: &Record<()>, group: &Group) -> std::fmt::Result {
    writeln!(
        text,
        "\n## network: {}\n\n{} rows. {}\n",
        group.workload,
        thousands(group.rows),
        facts(record)
    )?;
    writeln!(
        text,
        "| | readers | median | fastest … slowest | ÷ copy | client CPU | server CPU | peak memory | MB received | rows/s | \
         MB/s |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for measured in &group.contenders {
        let (low, high) = range(&measured.wall_seconds);
        let wall = median(&measured.wall_seconds);
        let copy = Mode::Copy.contender(measured.connections);
        let copy = group.contenders.iter().find(|measured| measured.contender == copy);
        let name = measured.contender.split(',').next().unwrap_or_default();
        writeln!(
            text,
            "| {name} | {} | {} | {} … {} | {} | {:.2} s | {} | {:.0} MiB | {:.1} | {} |",
            measured.connections,
            seconds(wall),
            seconds(low),
            seconds(high),
            copy.map_or_else(String::new, |copy| format!("{:.3}", wall / median(&copy.wall_seconds))),
            median(&measured.cpu_seconds),
            match server_cpu_seconds(measured) {
                [] => String::new(),
                server => format!("{:.2} s", median(server)),
            },
            measured.peak_bytes as f64 / f64::from(1 << 20),
            measured.bytes as f64 / 1e6,
            rates::cells(measured),
        )?;
    }
    Ok(())
}

/// How much longer the choice takes than COPY, and how the readers do.
fn print_ratios(flags: &NetworkFlags, group: &Group) {
    let wall = |mode: Mode, readers: usize| {
        let name = mode.contender(readers);
        let measured = group.contenders.iter().find(|measured| measured.contender == name)?;
        Some(median(&measured.wall_seconds))
    };
    for readers in &flags.readers {
        if let (Some(auto), Some(copy)) = (wall(Mode::Auto, *readers), wall(Mode::Copy, *readers)) {
            let remark = if auto > 1.05 * copy { ", MORE than 1.05" } else { "" };
            println!("{readers} readers: auto takes {:.3} of COPY's time{remark}", auto / copy);
        }
    }
}
