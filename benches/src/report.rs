//! Markdown and charts from the recorded results: the latest answer to every question.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chart::{Bar, Chart, seconds};
use crate::contender::FAIR_DRAIN;
use crate::decode::Decoded;
use crate::load::server_cpu_seconds;
use crate::python::EXPORT;
use crate::record::{RECORD_VERSION, Record};
use crate::rounds::{Group, Measured};
use crate::stats::{median, range};
use crate::{Result, folders, load_report, network, python_report, rates, sizes};

/// The folder of the records, and the folder to write to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportFlags {
    /// The folder with the records. Default: benches/record
    #[arg(long)]
    pub(crate) from: Option<PathBuf>,
    /// The folder for RESULTS.md and the charts. Default: that of the records
    #[arg(long)]
    pub(crate) to: Option<PathBuf>,
}

/// The kinds of record that have groups of several numbers of rows.
const LOAD: &str = "load";
const SIZES: &str = sizes::KIND;
/// The kind of record whose ratios are those to an export by the command.
const PYTHON: &str = "python";

/// Kind, workload, and the number of connections or, for loads and sizes, of rows.
type Question = (String, String, u64);

/// A loop, and its record.
#[derive(Debug)]
struct Latest {
    record: Record<()>,
    group: Group,
}

pub(crate) fn run(flags: &ReportFlags) -> Result<()> {
    let from = flags.from.clone().unwrap_or_else(|| folders::source().join("record"));
    let to = flags.to.clone().unwrap_or_else(|| from.clone());
    let records = read(&from)?;
    std::fs::create_dir_all(&to)?;
    for (name, text) in render(&records)? {
        std::fs::write(to.join(&name), text)?;
        println!("written to {}", to.join(&name).display());
    }
    Ok(())
}

/// The records of a folder, the oldest first.
pub(crate) fn read(folder: &Path) -> Result<Vec<Record<Value>>> {
    let mut records = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let value: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        if value.get("record_version").and_then(Value::as_u64) != Some(RECORD_VERSION.into()) {
            println!("{} is of another form and left out", path.display());
            continue;
        }
        records.push(serde_json::from_value(value).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    records.sort_by(|a: &Record<Value>, b| a.date.cmp(&b.date));
    Ok(records)
}

/// The files to write: names and contents.
fn render(records: &[Record<Value>]) -> Result<Vec<(String, String)>> {
    let mut loops: BTreeMap<Question, Latest> = BTreeMap::new();
    let mut decoded = None;
    for record in records {
        if record.kind == "decode" {
            let results: Vec<Decoded> = serde_json::from_value(record.results.clone())?;
            decoded = Some((without_results(record), results));
            continue;
        }
        // It has a table of its own, which the subcommand prints.
        if record.kind == "memory" {
            continue;
        }
        let groups: Vec<Group> = serde_json::from_value(record.results.clone())?;
        for mut group in groups {
            group.fill_rates();
            // Loads have several sizes; an export at another scale is a newer answer to the same question.
            let size = match record.kind.as_str() {
                LOAD | SIZES => group.rows,
                _ => group.connections as u64,
            };
            // Tables in Python have several sizes, too, and connections. What a scale above 1 asks is whether
            // anything changes there.
            let workload = match record.kind.as_str() {
                PYTHON => format!("{}-{}", group.workload, group.rows),
                _ if group.scale > 1.0 => format!("{}-scale-{}", group.workload, group.scale),
                _ => group.workload.clone(),
            };
            let key = (record.kind.clone(), workload, size);
            loops.insert(key, Latest { record: without_results(record), group });
        }
    }
    let mut files = Vec::new();
    let mut text =
        "# Results\n\nWritten by `just bench-report` from the records beside it; what they mean says \
                    `benches/README.md`.\n"
            .to_owned();
    for ((kind, workload, size), latest) in &loops {
        let chart = format!("chart-{kind}-{workload}-{size}.svg");
        let Latest { record, group } = latest;
        if kind == network::KIND {
            network::table(&mut text, record, group)?;
        } else if kind == LOAD {
            files.push((chart.clone(), load_report::chart(record, group).svg()?));
            load_report::table(&mut text, record, group, &chart)?;
        } else {
            files.push((chart.clone(), chart_of(latest).svg()?));
            match kind.as_str() {
                PYTHON => python_report::table(&mut text, record, group, &chart)?,
                SIZES => sizes_table(&mut text, latest, &chart)?,
                _ => table(&mut text, latest, &chart)?,
            }
        }
    }
    if let Some((record, results)) = decoded {
        decode_table(&mut text, &record, &results)?;
    }
    files.push(("RESULTS.md".to_owned(), text));
    Ok(files)
}

pub(crate) fn without_results(record: &Record<Value>) -> Record<()> {
    let Record { record_version, kind, date, revision, versions, machine, results: _ } = record.clone();
    Record { record_version, kind, date, revision, versions, machine, results: () }
}

pub(crate) fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

/// A contender's bar in a chart.
pub(crate) fn bar(measured: &Measured, is_ours: bool) -> Bar {
    let (low, high) = range(&measured.wall_seconds);
    Bar { label: measured.contender.clone(), median: median(&measured.wall_seconds), low, high, is_ours }
}

/// How names of ours begin.
const OURS: [&str; 4] = ["pgarrow", "pages", "auto", "SELECT"];

fn chart_of(Latest { record, group }: &Latest) -> Chart {
    let limit = match group.contenders.iter().find(|measured| measured.contender == EXPORT) {
        Some(export) => Some(("pgarrow export --to none".to_owned(), median(&export.wall_seconds))),
        None if record.kind == SIZES => {
            sizes::limit_seconds(group).map(|limit| ("psql, binary".to_owned(), limit))
        }
        None => group.limit_seconds().map(|limit| ("the wire's limit (fair drain)".to_owned(), limit)),
    };
    let is_ours = |name: &str| OURS.iter().any(|ours| name.starts_with(ours)) && !name.contains("drain");
    let is_bar = |measured: &&Measured| ![FAIR_DRAIN, EXPORT].contains(&measured.contender.as_str());
    let bars = group.contenders.iter().filter(is_bar);
    let bars = bars.map(|measured| bar(measured, is_ours(&measured.contender)));
    let rounds = group.contenders.first().map_or(0, |measured| measured.wall_seconds.len());
    let rows = thousands(group.rows);
    let how = match record.kind == SIZES {
        true => "whole commands".to_owned(),
        false => plural(group.connections, "connection"),
    };
    Chart {
        title: format!("{}, {rows} rows, {how}", group.workload),
        subtitle: format!(
            "seconds, less is better: median of {rounds} rounds, fastest to slowest; {}, {} cores",
            record.machine.processor, record.machine.cores
        ),
        bars: bars.collect(),
        limit,
    }
}

fn table(text: &mut String, Latest { record, group }: &Latest, chart: &str) -> Result<()> {
    let Group { workload, rows, tables, connections, contenders, .. } = group;
    let connections = plural(*connections, "connection");
    writeln!(text, "\n## {}: {workload}, {connections}\n", record.kind)?;
    let many = if *tables > 1 { format!(" in {} tables", thousands(*tables as u64)) } else { String::new() };
    writeln!(
        text,
        "{} rows{many}. {}\n\n![{workload}, {connections}]({chart})\n",
        thousands(*rows),
        facts(record)
    )?;
    let last = if *tables > 1 { "ms a table beyond the server's" } else { "client CPU, µs a row" };
    writeln!(
        text,
        "| | conn. | median | fastest … slowest | ÷ fair drain | client CPU | {last} | server CPU, µs a row | peak memory | \
         MB | rows/s | MB/s |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for measured in contenders {
        let Measured { contender, connections, wall_seconds, cpu_seconds, peak_bytes, bytes, .. } = measured;
        let (low, high) = range(wall_seconds);
        let (wall, cpu) = (median(wall_seconds), median(cpu_seconds));
        let limit = group.limit_seconds();
        let last = match tables {
            2.. => group
                .server_seconds()
                .map_or_else(String::new, |server| format!("{:.2}", (wall - server) * 1e3 / *tables as f64)),
            _ => format!("{:.3}", cpu * 1e6 / (*rows).max(1) as f64),
        };
        writeln!(
            text,
            "| {contender} | {connections} | {} | {} … {} | {} | {cpu:.2} s | {last} | {} | {:.0} MiB | {} | {} |",
            seconds(wall),
            seconds(low),
            seconds(high),
            limit.map_or_else(String::new, |limit| format!("{:.3}", wall / limit)),
            match server_cpu_seconds(measured) {
                [] => String::new(),
                seconds => format!("{:.3}", median(seconds) * 1e6 / (*rows).max(1) as f64),
            },
            *peak_bytes as f64 / f64::from(1 << 20),
            if *bytes == 0 { String::new() } else { format!("{:.1}", *bytes as f64 / 1e6) },
            rates::cells(measured),
        )?;
    }
    for left_out in &group.left_out {
        writeln!(text, "\nLeft out: {}", left_out.replace('|', "\\|"))?;
    }
    Ok(())
}

/// Whole commands, beside psql's.
fn sizes_table(text: &mut String, Latest { record, group }: &Latest, chart: &str) -> Result<()> {
    let title = format!("{}, {} rows", group.workload, thousands(group.rows));
    writeln!(text, "\n## sizes: {title}\n\nWhole commands. {}\n\n![{title}]({chart})\n", facts(record))?;
    writeln!(
        text,
        "| | median | fastest … slowest | ÷ psql, binary | client CPU | peak memory | MB | rows/s | MB/s |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|")?;
    for measured in &group.contenders {
        let (low, high) = range(&measured.wall_seconds);
        let wall = median(&measured.wall_seconds);
        let limit = sizes::limit_seconds(group);
        writeln!(
            text,
            "| {} | {} | {} … {} | {} | {:.3} s | {:.0} MiB | {:.2} | {} |",
            measured.contender,
            seconds(wall),
            seconds(low),
            seconds(high),
            limit.map_or_else(String::new, |limit| format!("{:.2}", wall / limit)),
            median(&measured.cpu_seconds),
            measured.peak_bytes as f64 / f64::from(1 << 20),
            measured.bytes as f64 / 1e6,
            rates::cells(measured),
        )?;
    }
    Ok(())
}

fn decode_table(text: &mut String, record: &Record<()>, results: &[Decoded]) -> Result<()> {
    writeln!(text, "\n## decode: in memory\n\n{}\n", facts(record))?;
    writeln!(
        text,
        "| | wire bytes a row | hot, ns a row | cold, ns a row | instructions a row | rows/s, hot | MB/s, hot |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for decoded in results {
        let Decoded { name, wire_bytes_a_row, cold_ns_a_row, hot_ns_a_row, instructions_a_row, .. } = decoded;
        let (rows, megabytes) = decoded.rates();
        let instructions = instructions_a_row.map_or_else(String::new, |count| format!("{count:.0}"));
        writeln!(
            text,
            "| {name} | {wire_bytes_a_row:.0} | {hot_ns_a_row:.1} | {cold_ns_a_row:.1} | {instructions} | {} | \
             {megabytes:.0} |",
            rates::per_second(rows),
        )?;
    }
    Ok(())
}

/// What it was measured on, in a sentence or two.
pub(crate) fn facts(record: &Record<()>) -> String {
    let machine = &record.machine;
    let versions = record.versions.iter().map(|(name, version)| format!("{name} {version}"));
    format!(
        "Measured on {} at revision {}: {}, {} cores, {} GiB, {}. {}.",
        record.date.get(..10).unwrap_or(&record.date),
        record.revision,
        machine.processor,
        machine.cores,
        machine.memory_mib.div_ceil(1024),
        machine.system,
        versions.collect::<Vec<_>>().join(", "),
    )
}

pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(tables: usize, seconds: f64) -> Value {
        let contender = |name: &str, wall: f64| {
            json!({"contender": name, "connections": 2, "wall_seconds": [wall, wall * 2.0, wall], "peak_bytes": 1 << 20,
                   "cpu_seconds": [0.5, 0.5, 0.5], "bytes": 1_000_000, "columns_checked": 3})
        };
        json!({"workload": "five", "scale": 1.0, "rows": 5_000_000, "tables": tables, "connections": 2,
               "contenders": [contender("plain drain", 1.5), contender("fair drain", 1.0), contender("pgarrow → Arrow", seconds)],
               "left_out": ["A | B: no"]})
    }

    fn record(kind: &str, date: &str, results: Value) -> Record<Value> {
        serde_json::from_value(json!({
            "record_version": RECORD_VERSION, "kind": kind, "date": date, "revision": "abc", "results": results,
            "versions": {"postgresql": "17.1"},
            "machine": {"processor": "P", "cores": 2, "memory_mib": 4000, "system": "S", "kernel": "K"},
        }))
        .unwrap()
    }

    #[test]
    fn the_latest_of_each_question() {
        let decoded = json!([{"name": "text", "wire_bytes_a_row": 10.0, "cold_ns_a_row": 2.0, "hot_ns_a_row": 1.0,
                              "instructions_a_row": null}]);
        // It would be the latest of all.
        let mut of_scale_10 = group(1, 15.0);
        of_scale_10["scale"] = json!(10.0);
        let records = [
            record("export", "2026-01-01T00:00:00Z", json!([group(1, 9.0)])),
            record("export", "2026-01-02T00:00:00Z", json!([group(1, 1.5)])),
            record("rivals", "2026-01-01T00:00:00Z", json!([group(1, 3.0)])),
            record("export", "2026-01-03T00:00:00Z", json!([of_scale_10])),
            record("decode", "2026-01-01T00:00:00Z", decoded),
        ];
        let files = render(&records).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let of_scale_10 = "chart-export-five-scale-10-2.svg";
        assert_eq!(names, ["chart-export-five-2.svg", of_scale_10, "chart-rivals-five-2.svg", "RESULTS.md"]);
        let text = &files[3].1;
        assert!(
            text.contains("| pgarrow → Arrow | 2 | 1.50 s | 1.50 s … 3.00 s | 1.500 | 0.50 s | 0.100 |  | 1 MiB | 1.0 | 3.33 M | 0.7 |"),
            "{text}"
        );
        assert!(!text.contains("9.000") && text.contains("| 3.000 |"), "{text}");
        assert!(text.contains("Left out: A \\| B: no") && text.contains("postgresql 17.1"), "{text}");
        assert!(text.contains("| text | 10 | 1.0 | 2.0 |  | 1000.0 M | 10000 |"), "{text}");
        // The limit is a line, not a bar.
        assert_eq!(files[0].1.matches("<rect class=\"o").count(), 2);
        assert!(files[0].1.contains("class=\"limit\""));
    }

    #[test]
    fn many_tables_are_measured_against_the_faster_drain() {
        let files = render(&[record("export", "2026", json!([group(1000, 2.0)]))]).unwrap();
        assert!(files[1].1.contains("in 1,000 tables"), "{}", files[1].1);
        assert!(files[1].1.contains("| 2.000 | 0.50 s | 1.00 |"), "{}", files[1].1);
    }

    #[test]
    fn records_of_another_form_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), r#"{"what": "wire"}"#).unwrap();
        std::fs::write(folder.path().join("b.txt"), "no record").unwrap();
        let record = serde_json::to_string(&record("decode", "2026", json!([]))).unwrap();
        std::fs::write(folder.path().join("c.json"), record).unwrap();
        assert_eq!(read(folder.path()).unwrap().len(), 1);
    }
}
