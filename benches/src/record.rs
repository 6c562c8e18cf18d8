//! Results as JSON for `benches/record/`, with the machine, the versions and the moment of the measurement.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::server::Database;
use crate::{Result, folders};

/// The form of a record. The report skips others.
pub(crate) const RECORD_VERSION: u32 = 2;

/// Names and versions of all programs involved.
pub(crate) type Versions = BTreeMap<String, String>;

/// The results of one run, and what they were measured on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record<T> {
    pub(crate) record_version: u32,
    /// The subcommand: `export`, `rivals`, `pages`, `sizes`, `network`, `load`, `python`, `memory` or
    /// `decode`.
    pub(crate) kind: String,
    /// UTC, as in `2026-11-21T14:30:00Z`.
    pub(crate) date: String,
    /// The git revision; with `-dirty` if there were changes.
    pub(crate) revision: String,
    pub(crate) versions: Versions,
    pub(crate) machine: Machine,
    pub(crate) results: T,
}

/// The machine that a result was measured on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) system: String,
    pub(crate) kernel: String,
}

/// The versions that every record has.
pub(crate) fn versions(database: &mut Database) -> Result<Versions> {
    let mut versions = Versions::from([("pgarrow".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    if let Some(version) = database.value("SHOW server_version")? {
        versions.insert("postgresql".to_owned(), version);
    }
    // The version of the compiler on this machine, if there is one: most likely it built this program.
    if let Ok(version) = folders::output(Command::new("rustc").arg("--version")) {
        versions.insert("rustc".to_owned(), version.trim_start_matches("rustc ").to_owned());
    }
    Ok(versions)
}

/// The version of a psql.
pub(crate) fn version_of_psql(psql: &Path) -> Result<Option<(String, String)>> {
    let version = folders::output(Command::new(psql).arg("--version"))?;
    Ok(version.split_whitespace().nth(2).map(|version| ("psql".to_owned(), version.to_owned())))
}

/// Writes results into a folder, if one was named; moment and kind make the file's name.
pub(crate) fn write<T: Serialize>(
    folder: Option<&Path>,
    kind: &str,
    versions: Versions,
    results: &T,
) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    let date = utc(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let name = format!("{}-{kind}.json", date.replace([':', 'Z'], "").replace('T', "-"));
    let record = Record {
        record_version: RECORD_VERSION,
        kind: kind.to_owned(),
        date,
        revision: revision(),
        versions,
        machine: Machine::this(),
        results,
    };
    let path = folder.join(name);
    std::fs::write(&path, serde_json::to_string_pretty(&record)? + "\n")?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory_kib: u64 = field(&read("/proc/meminfo"), "MemTotal").parse().unwrap_or(0);
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib / 1024,
            system: field(&read("/etc/os-release"), "PRETTY_NAME"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The value of a line such as `MemTotal:  1024 kB` or `NAME="value"`.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_default().trim_start_matches([' ', '\t', ':', '=']);
    value.trim_end_matches(" kB").trim_matches('"').to_owned()
}

fn revision() -> String {
    let git =
        |args: &[&str]| folders::output(Command::new("git").arg("-C").arg(folders::source()).args(args));
    let Ok(revision) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // Results are in the repository, too, and do not change what is measured.
    let changes = git(&["status", "--porcelain", "--", ":/", ":(exclude)record"]);
    let is_clean = changes.is_ok_and(|changes| changes.is_empty());
    if is_clean { revision } else { revision + "-dirty" }
}

/// Seconds since 1970 as a date and time.
fn utc(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_798_761_599), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn fields_of_system_files() {
        assert_eq!(field("MemFree: 1 kB\nMemTotal:       24576 kB\n", "MemTotal"), "24576");
        assert_eq!(field("model name\t: Fast CPU\n", "model name"), "Fast CPU");
        assert_eq!(field("PRETTY_NAME=\"Some Linux 12\"\n", "PRETTY_NAME"), "Some Linux 12");
        assert_eq!(field("", "x"), "");
    }
}
