//! Results of loads, as Markdown and charts.

use std::fmt::Write;

use crate::chart::{Chart, seconds};
use crate::load::{limit_of, loading_seconds, server_cpu_seconds};
use crate::rates;
use crate::record::Record;
use crate::report::{bar, facts, thousands};
use crate::rounds::{Group, Measured};
use crate::stats::{median, range};

/// The group's chart: all loaders, with psql's time as the limit for those from files and memory.
pub(crate) fn chart(record: &Record<()>, group: &Group) -> Chart {
    let bars =
        group.contenders.iter().map(|measured| bar(measured, measured.contender.contains("→ pgarrow")));
    let rounds = group.contenders.first().map_or(0, |measured| measured.wall_seconds.len());
    let limit = group.contenders.first().and_then(|measured| limit_of(group, measured));
    Chart {
        title: format!("{} into a table, {} rows", group.workload, thousands(group.rows)),
        subtitle: format!(
            "seconds, less is better: median of {rounds} rounds, fastest to slowest; {}, {} cores",
            record.machine.processor, record.machine.cores
        ),
        bars: bars.collect(),
        limit: limit.map(|limit| (limit.contender.clone(), median(&limit.wall_seconds))),
    }
}

/// The group's table, with a chart of this name.
pub(crate) fn table(
    text: &mut String,
    record: &Record<()>,
    group: &Group,
    chart: &str,
) -> Result<(), std::fmt::Error> {
    let Group { workload, rows, contenders, left_out, .. } = group;
    let title = format!("{workload}, {} rows", thousands(*rows));
    writeln!(text, "\n## load: {title}\n\n{}\n\n![{title}]({chart})\n", facts(record))?;
    writeln!(
        text,
        "| | median | fastest … slowest | ÷ psql | loading alone | ÷ psql | client CPU, µs a row | encoding alone, µs a \
         row | server CPU, µs a row | peak memory | rows/s | MB/s |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for measured in contenders {
        let (low, high) = range(&measured.wall_seconds);
        let (wall, loading) = (median(&measured.wall_seconds), loading_seconds(measured));
        let limit = limit_of(group, measured);
        let ratio = |seconds: f64, of: fn(&Measured) -> f64| {
            limit.map_or_else(String::new, |limit| format!("{:.3}", seconds / of(limit)))
        };
        let per_row = |seconds: &[f64]| match seconds {
            [] => String::new(),
            seconds => format!("{:.3}", median(seconds) * 1e6 / (*rows).max(1) as f64),
        };
        writeln!(
            text,
            "| {} | {} | {} … {} | {} | {} | {} | {} | {} | {} | {:.0} MiB | {} |",
            measured.contender.replace('|', "\\|"),
            seconds(wall),
            seconds(low),
            seconds(high),
            ratio(wall, |limit| median(&limit.wall_seconds)),
            seconds(loading),
            ratio(loading, loading_seconds),
            per_row(&measured.cpu_seconds),
            per_row(&measured.encode_seconds),
            per_row(server_cpu_seconds(measured)),
            measured.peak_bytes as f64 / f64::from(1 << 20),
            rates::cells(measured),
        )?;
    }
    for left_out in left_out {
        writeln!(text, "\nLeft out: {}", left_out.replace('|', "\\|"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_beside_its_own_limit() {
        let contender = |name: &str, wall: f64, encode: &[f64]| {
            json!({"contender": name, "connections": 1, "wall_seconds": [wall, wall, wall], "peak_bytes": 1 << 20,
                   "start_seconds": [0.5, 0.5, 0.5], "cpu_seconds": [0.1, 0.1, 0.1], "encode_seconds": encode, "bytes": 1,
                   "columns_checked": 3})
        };
        let group = serde_json::from_value(json!({
            "workload": "five", "scale": 0.2, "rows": 1_000_000, "tables": 1, "connections": 1, "left_out": ["A: no"],
            "contenders": [
                contender("psql \\copy, binary", 1.5, &[]), contender("IPC → pgarrow", 3.0, &[0.25]),
                contender("psql COPY | psql COPY", 6.0, &[]), contender("server → pgarrow → server", 3.0, &[]),
            ],
        }));
        let mut group: Group = group.unwrap();
        group.fill_rates();
        let record = serde_json::from_value(json!({
            "record_version": 2, "kind": "load", "date": "2026-01-01", "revision": "abc", "results": null, "versions": {},
            "machine": {"processor": "P", "cores": 2, "memory_mib": 4000, "system": "S", "kernel": "K"},
        }));
        let record: Record<()> = record.unwrap();
        let mut text = String::new();
        table(&mut text, &record, &group, "chart.svg").unwrap();
        let has = |line: &str| assert!(text.contains(line), "{line}\n{text}");
        has(
            "| IPC → pgarrow | 3.00 s | 3.00 s … 3.00 s | 2.000 | 2.50 s | 2.500 | 0.100 | 0.250 |  | 1 MiB | 333 k |  |",
        );
        has("| psql COPY \\| psql COPY | 6.00 s | 6.00 s … 6.00 s | 1.000 |");
        has("| server → pgarrow → server | 3.00 s | 3.00 s … 3.00 s | 0.500 |");
        has("Left out: A: no");
        let svg = chart(&record, &group).svg().unwrap();
        assert_eq!(svg.matches("class=\"ours\"").count(), 2, "{svg}");
        assert!(svg.contains("five into a table, 1,000,000 rows"), "{svg}");
    }
}
