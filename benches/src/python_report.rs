//! Results of tables in Python, as Markdown; and whether the goals are met.

use std::fmt::Write;

use crate::chart::seconds;
use crate::python::{ADBC, BOUND, EXPORT, EXPORT_PAGES};
use crate::rates;
use crate::record::Record;
use crate::report::{facts, plural, thousands};
use crate::rounds::{Group, Measured};
use crate::stats::{median, range};

const MIB: f64 = (1 << 20) as f64;

/// The contender of this name.
fn named<'a>(group: &'a Group, name: &str) -> Option<&'a Measured> {
    group.contenders.iter().find(|measured| measured.contender == name)
}

/// The contender that this one is compared with: the command's export by the same way, or the other driver.
fn base_of<'a>(group: &'a Group, name: &str) -> Option<&'a Measured> {
    if group.workload.starts_with("queries") {
        let bound = if name.ends_with(BOUND) { BOUND } else { "" };
        return named(group, &format!("{ADBC}{bound}"));
    }
    named(group, if name.contains("pages") { EXPORT_PAGES } else { EXPORT })
}

/// The median of `of` of one contender, divided by that of another.
fn ratio(of: fn(&Measured) -> &[f64], a: Option<&Measured>, b: Option<&Measured>) -> Option<f64> {
    let ratio = median(of(a?)) / median(of(b?));
    ratio.is_finite().then_some(ratio)
}

fn wall(measured: &Measured) -> &[f64] {
    &measured.wall_seconds
}

fn cpu(measured: &Measured) -> &[f64] {
    &measured.cpu_seconds
}

/// A line for each goal that the group can say something about.
pub(crate) fn goals(group: &Group) -> Vec<String> {
    const MOST_BEYOND_MIB: f64 = 64.0;
    // What is divided by what, and the most that it may be; or, if that is negative, the least.
    const RATIOS: [(&str, &str, f64); 6] = [
        ("pgarrow COPY → pyarrow", EXPORT, 1.15),
        ("pgarrow pages → pyarrow", EXPORT_PAGES, 1.5),
        ("ADBC → pyarrow", "pgarrow COPY → pyarrow", -3.0),
        ("DuckDB → pyarrow", "pgarrow COPY → pyarrow", -1.5),
        ("pgarrow ADBC", ADBC, 1.3),
        ("pgarrow ADBC, bound", "ADBC, bound", 1.3),
    ];
    let line = |what: String, value: f64, goal: f64, unit: &str| {
        let is_met = if goal < 0.0 { value >= -goal } else { value <= goal };
        let side = if goal < 0.0 { "at least" } else { "at most" };
        let verdict = if is_met { "met" } else { "NOT met" };
        format!("{}: {what} {value:.2}{unit}; goal: {side} {}{unit}, {verdict}", group.workload, goal.abs())
    };
    let ratios = RATIOS.iter().filter_map(|(ours, other, goal)| {
        let value = ratio(wall, named(group, ours), named(group, other))?;
        Some(line(format!("{ours} ÷ {other}"), value, *goal, ""))
    });
    let beyond = group.contenders.iter().filter(|measured| measured.contender.starts_with("pgarrow"));
    let beyond = beyond.filter_map(|measured| {
        let what = format!("{}: memory beyond interpreter and table", measured.contender);
        Some(line(what, measured.beyond_bytes? as f64 / MIB, MOST_BEYOND_MIB, " MiB"))
    });
    ratios.chain(beyond).collect()
}

/// The group's table, with a chart of this name.
pub(crate) fn table(
    text: &mut String,
    record: &Record<()>,
    group: &Group,
    chart: &str,
) -> Result<(), std::fmt::Error> {
    let Group { workload, rows, connections, contenders, left_out, .. } = group;
    let title = format!("{workload}, {} rows, {}", thousands(*rows), plural(*connections, "connection"));
    writeln!(text, "\n## python: {title}\n\n{}\n", facts(record))?;
    writeln!(text, "![{title}]({chart})\n")?;
    writeln!(
        text,
        "| | conn. | median | fastest … slowest | ÷ base | client CPU | ÷ base | peak memory | beyond interpreter and \
         table | rows/s | MB/s |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for measured in contenders {
        let (low, high) = range(&measured.wall_seconds);
        let base = base_of(group, &measured.contender);
        let divided = |of: fn(&Measured) -> &[f64]| {
            ratio(of, Some(measured), base).map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        };
        writeln!(
            text,
            "| {} | {} | {} | {} … {} | {} | {:.2} s | {} | {:.0} MiB | {} | {} |",
            measured.contender,
            measured.connections,
            seconds(median(&measured.wall_seconds)),
            seconds(low),
            seconds(high),
            divided(wall),
            median(&measured.cpu_seconds),
            divided(cpu),
            measured.peak_bytes as f64 / MIB,
            measured.beyond_bytes.map_or_else(String::new, |bytes| format!("{:.0} MiB", bytes as f64 / MIB)),
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

    fn group(workload: &str, contenders: &[(&str, f64, Option<u64>)]) -> Group {
        let contenders = contenders.iter().map(|(name, wall, beyond_mib)| {
            json!({"contender": name, "connections": 2, "wall_seconds": [wall, wall, wall], "peak_bytes": 300 << 20,
                   "cpu_seconds": [wall, wall, wall], "bytes": 1, "columns_checked": 3,
                   "beyond_bytes": beyond_mib.map(|mib| mib << 20)})
        });
        let contenders = contenders.collect::<Vec<_>>();
        serde_json::from_value(json!({"workload": workload, "scale": 1.0, "rows": 6_000_000, "tables": 1,
                                      "connections": 2, "contenders": contenders, "left_out": ["A | B: no"]}))
        .unwrap()
    }

    #[test]
    fn goals_that_are_met_and_not() {
        let tables = [
            (EXPORT, 2.0, None),
            (EXPORT_PAGES, 0.5, None),
            ("pgarrow COPY → pyarrow", 2.2, Some(40)),
            ("pgarrow pages → pyarrow", 1.0, Some(65)),
            ("ADBC → pyarrow", 8.8, Some(100)),
        ];
        let lines = goals(&group("lineitem", &tables));
        let expected = [
            "lineitem: pgarrow COPY → pyarrow ÷ export --to none 1.10; goal: at most 1.15, met",
            "lineitem: pgarrow pages → pyarrow ÷ export --to none, pages 2.00; goal: at most 1.5, NOT met",
            "lineitem: ADBC → pyarrow ÷ pgarrow COPY → pyarrow 4.00; goal: at least 3, met",
            "lineitem: pgarrow COPY → pyarrow: memory beyond interpreter and table 40.00 MiB; goal: at most 64 MiB, met",
            "lineitem: pgarrow pages → pyarrow: memory beyond interpreter and table 65.00 MiB; goal: at most 64 MiB, NOT met",
        ];
        assert_eq!(lines, expected);
        let queries = [("ADBC", 1.0, None), ("pgarrow ADBC", 1.4, None)];
        let expected = ["queries_1: pgarrow ADBC ÷ ADBC 1.40; goal: at most 1.3, NOT met"];
        assert_eq!(goals(&group("queries_1", &queries)), expected);
    }

    #[test]
    fn each_beside_its_own_base() {
        let record = serde_json::from_value(json!({
            "record_version": 2, "kind": "python", "date": "2026-01-01", "revision": "abc", "results": null, "versions": {},
            "machine": {"processor": "P", "cores": 2, "memory_mib": 4000, "system": "S", "kernel": "K"},
        }));
        let record: Record<()> = record.unwrap();
        let mut text = String::new();
        let tables =
            [(EXPORT, 2.0, None), (EXPORT_PAGES, 0.5, None), ("pgarrow pages → polars", 1.0, Some(12))];
        table(&mut text, &record, &group("five", &tables), "chart.svg").unwrap();
        let bound = [("ADBC", 1.0, None), ("ADBC, bound", 2.0, None), ("pgarrow ADBC, bound", 3.0, None)];
        table(&mut text, &record, &group("queries_1", &bound), "chart.svg").unwrap();
        let has = |line: &str| assert!(text.contains(line), "{line}\n{text}");
        has(
            "| pgarrow pages → polars | 2 | 1.00 s | 1.00 s … 1.00 s | 2.00 | 1.00 s | 2.00 | 300 MiB | 12 MiB |",
        );
        has("| pgarrow ADBC, bound | 2 | 3.00 s | 3.00 s … 3.00 s | 1.50 | 3.00 s | 1.50 | 300 MiB |  |");
        has("Left out: A \\| B: no");
    }
}
