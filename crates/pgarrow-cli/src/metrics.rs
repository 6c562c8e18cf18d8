//! `--metrics`: the last run as numbers for Prometheus, for a collector of text files to pick up.
//!
//! ```text
//!  # HELP pgarrow_run_rows Rows that the run read.
//!  # TYPE pgarrow_run_rows gauge
//!  pgarrow_run_rows{name="shop"} 600572
//! ```
//!
//! All are gauges: they tell of one run, and the next one sets them anew. The label `name` is the file's own
//! name without its ending, so that the files of one folder never have the same metric twice.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>, "Text-based format".

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use pgarrow::{Phases, Report};
use pgarrow_sink::Output;

use crate::exit::Failure;

/// What the first line of every such file begins with.
const OURS: &str = "# HELP pgarrow_";
/// Metrics of a hundred thousand tables take less.
const FILE_BYTES_MAX: u64 = 64 << 20;
const LAST_SUCCESS: &str = "pgarrow_run_last_success_timestamp_seconds";

/// The metrics of a run, which appear at its end.
#[derive(Debug)]
pub(crate) struct Metrics {
    output: Output,
    name: String,
    /// Of the file before.
    last_success: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) started: SystemTime,
    pub(crate) ended: SystemTime,
    pub(crate) exit_code: u8,
    /// Of a run that is complete.
    pub(crate) report: Option<&'a Report>,
}

impl Metrics {
    /// Keeps from the file that is there when a run last succeeded, before `open` begins its successor.
    ///
    /// # Errors
    ///
    /// The file is something else, which must not be replaced.
    pub(crate) fn begin(
        path: &Path,
        open: impl FnOnce(&Path) -> Result<Output, Failure>,
    ) -> Result<Self, Failure> {
        let last_success = match File::open(path) {
            Ok(file) => last_success(file).ok_or_else(|| {
                Failure::output(format!("{path:?} exists, and has no metrics of pgarrow; name another file"))
            })?,
            // What is in the way of reading is in the way of writing, which says so.
            Err(_) => None,
        };
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { output: open(path)?, name, last_success })
    }

    /// Writes the metrics of a run that has ended. Returns warnings.
    pub(crate) fn write(self, ended: Ended<'_>) -> Result<Vec<String>, String> {
        let Self { mut output, name, last_success } = self;
        let text = text(&name, ended, last_success.as_deref());
        output.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        let published = output.publish().map_err(|error| error.to_string())?;
        Ok(published.warnings.iter().map(ToString::to_string).collect())
    }
}

/// When a run last succeeded, as a file of metrics says it, if it does. `None` if it is no such file. An
/// empty one is nobody's.
fn last_success(file: impl Read) -> Option<Option<String>> {
    let mut bytes = Vec::new();
    // What cannot be read to its end has no more to say than what was read.
    let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    if !text.is_empty() && !text.starts_with(OURS) {
        return None;
    }
    let value = text.lines().find_map(|line| {
        let (_, value) = line.strip_prefix(LAST_SUCCESS)?.rsplit_once("} ")?;
        value.parse::<f64>().is_ok().then(|| value.to_owned())
    });
    Some(value)
}

fn text(name: &str, ended: Ended<'_>, last_success: Option<&str>) -> String {
    let mut text = Text { text: String::new(), name };
    let duration = ended.ended.duration_since(ended.started).unwrap_or_default();
    let now = unix(ended.ended);
    let is_success = u8::from(ended.exit_code == 0);
    text.one("pgarrow_run_success", "Whether the last run was complete: 1 or 0.", is_success);
    text.one("pgarrow_run_exit_code", "The exit code of the last run.", ended.exit_code);
    text.one("pgarrow_run_end_timestamp_seconds", "When the last run ended, since 1970.", &now);
    let last_success = if is_success == 1 { Some(now.as_str()) } else { last_success };
    if let Some(at) = last_success {
        text.one(LAST_SUCCESS, "When the last run ended that was complete, since 1970.", at);
    }
    text.one("pgarrow_run_duration_seconds", "How long the last run took.", duration.as_secs_f64());
    if let Some(report) = ended.report {
        of_report(&mut text, report);
    }
    text.text
}

fn of_report(text: &mut Text<'_>, report: &Report) {
    let file_bytes: u64 = report.files.iter().map(|file| file.bytes).sum();
    text.one("pgarrow_run_rows", "Rows that the run read.", report.rows);
    text.one("pgarrow_run_rows_rejected", "Rows that the run left out.", report.rows_rejected);
    text.one("pgarrow_run_received_bytes", "Bytes that the server sent for them.", report.wire_bytes);
    text.one("pgarrow_run_files", "Files that the run wrote.", report.files.len());
    text.one("pgarrow_run_file_bytes", "The size of these files.", file_bytes);
    text.one("pgarrow_run_slices_redone", "Slices that were read again.", report.slices_redone);
    text.one("pgarrow_run_warnings", "Warnings in the report.", report.warnings.len());
    text.one("pgarrow_run_peak_memory_bytes", "The most memory the process had.", report.peak_memory_bytes);
    let phases = phases(&report.phases).map(|(phase, seconds)| (phase.to_owned(), seconds));
    text.many("pgarrow_run_phase_seconds", "Where the time of all readers went.", "phase", phases);

    let tables = &report.tables;
    let by_table = |of_table: fn(&pgarrow::TableReport) -> f64, of_one: f64| -> Vec<(String, f64)> {
        match tables.is_empty() {
            true => vec![(report.subject.clone(), of_one)],
            false => tables.iter().map(|table| (table.table.clone(), of_table(table))).collect(),
        }
    };
    let families = [
        ("pgarrow_table_rows", "Rows of a table.", by_table(|it| it.rows as f64, report.rows as f64)),
        (
            "pgarrow_table_received_bytes",
            "Bytes that the server sent for a table.",
            by_table(|it| it.wire_bytes as f64, report.wire_bytes as f64),
        ),
        (
            "pgarrow_table_duration_seconds",
            "From the first slice of a table to the end of its last.",
            by_table(|it| it.seconds, report.seconds),
        ),
        (
            "pgarrow_table_files",
            "Files of a table.",
            by_table(|it| it.files as f64, report.files.len() as f64),
        ),
        (
            "pgarrow_table_file_bytes",
            "The size of a table's files.",
            by_table(|it| it.file_bytes as f64, file_bytes as f64),
        ),
    ];
    for (metric, help, samples) in families {
        text.many(metric, help, "table", samples);
    }
}

/// The phases by their names in the report.
pub(crate) fn phases(phases: &Phases) -> [(&'static str, f64); 10] {
    [
        ("connect", phases.connect),
        ("plan", phases.plan),
        ("wait_for_server", phases.wait_for_server),
        ("receive", phases.receive),
        ("decode", phases.decode),
        ("encode", phases.encode),
        ("write", phases.write),
        ("wait_for_sink", phases.wait_for_sink),
        ("wait_for_memory", phases.wait_for_memory),
        ("commit", phases.commit),
    ]
}

/// The text as it is made. Writing to a `String` cannot fail.
struct Text<'a> {
    text: String,
    name: &'a str,
}

impl Text<'_> {
    fn head(&mut self, metric: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {metric} {help}\n# TYPE {metric} gauge");
    }

    fn one(&mut self, metric: &str, help: &str, value: impl std::fmt::Display) {
        self.head(metric, help);
        let _ = writeln!(self.text, "{metric}{{name=\"{}\"}} {value}", escaped(self.name));
    }

    fn many(
        &mut self,
        metric: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        self.head(metric, help);
        for (of_what, value) in samples {
            let (name, of_what) = (escaped(self.name), escaped(&of_what));
            let _ = writeln!(self.text, "{metric}{{name=\"{name}\",{label}=\"{of_what}\"}} {value}");
        }
    }
}

/// The value of a label, as the format has it between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn unix(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_keeps_when_one_last_succeeded() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let ended = |exit_code| Ended {
            started: at,
            ended: at + Duration::from_millis(1500),
            exit_code,
            report: None,
        };
        let good = text("a", ended(0), None);
        assert!(
            good.starts_with(OURS) && good.contains("pgarrow_run_duration_seconds{name=\"a\"} 1.5\n"),
            "{good}"
        );
        let kept = last_success(good.as_bytes()).unwrap();
        assert_eq!(kept.as_deref(), Some("1700000001.750"));
        let bad = text("a", ended(4), Some("1600000000.000"));
        assert_eq!(last_success(bad.as_bytes()).unwrap().as_deref(), Some("1600000000.000"));
        assert!(bad.contains("pgarrow_run_success{name=\"a\"} 0\n"), "{bad}");
        // No run has succeeded yet.
        assert_eq!(last_success(text("a", ended(4), None).as_bytes()), Some(None));
        assert_eq!(last_success("".as_bytes()), Some(None));
        for other in ["\n", "# HELP node_load1 1m load average.\n", "PAR1\u{0}"] {
            assert_eq!(last_success(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn labels_cannot_end_early() {
        assert_eq!(escaped("a\"} 1\n\\"), "a\\\"} 1\\n\\\\");
    }
}
