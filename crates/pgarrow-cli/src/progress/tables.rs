//! Tables that are being read, as lines for a terminal and for JSON.

use std::time::Duration;

use console::{Alignment, pad_str, truncate_str};
use indicatif::HumanDuration;
use pgarrow::{Progress, escape_control};
use serde::Serialize;

use super::work::seconds_left;
use crate::units;

/// The widest name that is not cut.
const NAME_WIDTH: usize = 40;

/// A table that is being read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TableLine {
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) rows_expected: Option<u64>,
    pub(super) wire_bytes: u64,
    pub(super) slices: u64,
    pub(super) slices_total: u64,
    pub(super) seconds: f64,
}

/// The tables that are being read now.
pub(super) fn being_read(progress: &Progress) -> Vec<TableLine> {
    let tables = progress.tables().iter().filter(|table| table.is_being_read());
    let line = |table: &pgarrow::TableProgress| TableLine {
        table: table.subject().to_owned(),
        rows: table.rows(),
        rows_expected: table.estimated_rows(),
        wire_bytes: table.wire_bytes(),
        slices: table.slices(),
        slices_total: table.slices_total(),
        seconds: table.seconds(),
    };
    tables.map(line).collect()
}

/// At most `height` lines of at most `width` columns: one for each table, and one for those that have no
/// room.
pub(super) fn lines(tables: &[TableLine], height: usize, width: usize) -> Vec<String> {
    let n_shown = match tables.len() > height {
        true => height.saturating_sub(1),
        false => tables.len(),
    };
    let shown = tables.get(..n_shown).unwrap_or_default();
    let names: Vec<String> = shown
        .iter()
        .map(|table| truncate_str(&escape_control(&table.table), NAME_WIDTH, "…").into_owned())
        .collect();
    let name_width = names.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
    let mut lines: Vec<String> = shown
        .iter()
        .zip(&names)
        .map(|(table, name)| {
            format!("{}  {}", pad_str(name, name_width, Alignment::Left, None), counted(table))
        })
        .collect();
    let n_more = tables.len() - shown.len();
    if n_more > 0 && height > 0 {
        lines.push(format!("and {}", units::counted(n_more as u64, "more table")));
    }
    lines.iter().map(|line| truncate_str(line, width, "…").into_owned()).collect()
}

/// `12 of 55 slices, 1,234,567 rows, 410,000 rows/s, 2m left`.
fn counted(table: &TableLine) -> String {
    let left = seconds_left(table.rows, table.rows_expected, table.seconds);
    let left = left.map(|seconds| format!(", {} left", short(seconds))).unwrap_or_default();
    format!(
        "{} of {}, {}, {} rows/s{left}",
        units::count(table.slices),
        units::counted(table.slices_total, "slice"),
        units::counted(table.rows, "row"),
        units::count(units::per_second(table.rows, table.seconds)),
    )
}

/// As the bar below it says it.
fn short(seconds: f64) -> String {
    format!("{:#}", HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: u64) -> TableLine {
        TableLine {
            table: name.to_owned(),
            rows,
            rows_expected: Some(100_000),
            wire_bytes: 0,
            slices: 1,
            slices_total: 4,
            seconds: 10.0,
        }
    }

    #[test]
    fn a_line_has_slices_rows_rate_and_what_is_left() {
        let all = lines(&[table("public.a", 25_000), table("public.longer", 0)], 10, 80);
        assert_eq!(
            all,
            [
                "public.a       1 of 4 slices, 25,000 rows, 2,500 rows/s, 30s left",
                "public.longer  1 of 4 slices, 0 rows, 0 rows/s"
            ]
        );
    }

    #[test]
    fn lines_fit_the_terminal_and_names_do_not_steer_it() {
        let tables: Vec<_> =
            (0..20).map(|i| table(&format!("public.\u{1b}[2J{}{i}", "表".repeat(60)), i)).collect();
        for (height, width) in [(0, 0), (1, 10), (5, 30), (20, 80), (40, 200)] {
            let lines = lines(&tables, height, width);
            assert!(lines.len() <= height && lines.len() <= tables.len(), "{lines:?}");
            for line in &lines {
                assert!(console::measure_text_width(line) <= width, "{line}");
                assert!(!line.contains(['\u{1b}', '\n']), "{line:?}");
            }
        }
        assert_eq!(lines(&tables, 5, 80)[4], "and 16 more tables");
        assert_eq!(lines(&tables, 20, 80).len(), 20);
    }
}
