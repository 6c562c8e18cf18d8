//! A plan as text: tables for people, long lists shortened in their middle.

use pgarrow::{PlanReport, PlanSlice, SliceRange, escape_control};

use crate::table::{Lists, cell, table};
use crate::units;

/// Most reasons shown why tables are not read by pages, a line each.
const NOTES_NAMED: usize = 4;

/// One table or query: how it is cut and why, its columns, its slices.
pub(crate) fn one(report: &PlanReport, n_readers: usize, lists: Lists) -> String {
    let readers = units::counted(n_readers as u64, "connection");
    let (subject, slicing) = (escape_control(&report.subject), escape_control(&report.slicing.to_string()));
    let mut text = format!("{subject}, read by {readers}\n  {slicing}\n");
    text.push_str(&by_pages(report));
    text.push_str("\ncolumns\n");
    let columns = report.columns.iter().map(|column| {
        let null = if column.nullable { "" } else { "not null" };
        [&column.name, &column.pg_type, &column.arrow_type, null].map(cell)
    });
    text.push_str(&table(columns.collect(), [false; 4], Lists::Whole));
    text.push_str("\nslices\n");
    let slices = report.slices.iter().map(|slice| {
        [
            slice.index.to_string(),
            cell(&relations(slice)),
            cell(&range(&slice.range)),
            size(slice.estimated_bytes),
            rows(slice.estimated_rows),
        ]
    });
    text.push_str(&table(slices.collect(), [true, false, false, true, true], lists));
    let bytes: u64 = report.slices.iter().map(|slice| slice.estimated_bytes).sum();
    if let Some(total) = total(report.estimated_rows, bytes) {
        text.push_str(&format!("\n{total}\n"));
    }
    text
}

/// Which tables are read by pages, and why others are not; empty if the report has neither.
fn by_pages(report: &PlanReport) -> String {
    let read = match report.pages.as_slice() {
        [] => None,
        [table] if *table == report.subject => Some("by pages".to_owned()),
        [table] => Some(format!("by pages: {table}")),
        [table, others @ ..] => Some(format!("by pages: {table} and {} more", others.len())),
    };
    let notes = report.page_notes_text();
    let n_more = notes.len().saturating_sub(NOTES_NAMED);
    let notes = notes.into_iter().take(NOTES_NAMED).map(|note| format!("not by pages: {note}"));
    let more = (n_more > 0).then(|| format!("not by pages: {n_more} more (--json shows them)"));
    let lines = read.into_iter().chain(notes).chain(more);
    lines.map(|line| format!("  {}\n", escape_control(&line))).collect()
}

/// Several tables: a line for each.
pub(crate) fn many(reports: &[PlanReport], n_readers: usize, lists: Lists) -> String {
    let bytes_of = |report: &PlanReport| report.slices.iter().map(|slice| slice.estimated_bytes).sum::<u64>();
    let n_slices = reports.iter().map(|report| report.slices.len() as u64).sum();
    let [tables, slices, readers] =
        [(reports.len() as u64, "table"), (n_slices, "slice"), (n_readers as u64, "connection")]
            .map(|(number, noun)| units::counted(number, noun));
    let by_pages = match reports.iter().filter(|report| !report.pages.is_empty()).count() {
        0 => String::new(),
        n_tables => format!(", {} by pages", units::count(n_tables as u64)),
    };
    let mut text = format!("{tables}{by_pages} in {slices}, read by {readers}\n\n");
    let lines = reports.iter().map(|report| {
        [
            cell(&report.subject),
            units::counted(report.slices.len() as u64, "slice"),
            size(bytes_of(report)),
            rows(report.estimated_rows),
        ]
    });
    text.push_str(&table(lines.collect(), [false, true, true, true], lists));
    let rows = reports.iter().map(|report| report.estimated_rows).sum();
    if let Some(total) = total(rows, reports.iter().map(bytes_of).sum()) {
        text.push_str(&format!("\n{total}\n"));
    }
    text.push_str("for the slices and columns of one: pgarrow plan … --table NAME\n");
    text
}

/// The known parts of a size, in words.
pub(crate) fn total(rows: Option<u64>, bytes: u64) -> Option<String> {
    let bytes = (bytes > 0).then(|| format!("{} on the server's disk", units::bytes(bytes)));
    let rows = rows.map(|rows| units::counted(rows, "row"));
    let parts: Vec<String> = [rows, bytes].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("about {}", parts.join(", ")))
}

fn relations(slice: &PlanSlice) -> String {
    match slice.relations.as_slice() {
        [] => "the query".to_owned(),
        [relation] => relation.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    }
}

fn range(range: &SliceRange) -> String {
    match range {
        SliceRange::Whole => "all".to_owned(),
        SliceRange::Pages { from, to: Some(to) } => format!("pages {from} to {}", to.saturating_sub(1)),
        SliceRange::Pages { from, to: None } => format!("pages {from} to the end"),
        SliceRange::Key { column, from, to, nulls, .. } => {
            let keys = match (from, to) {
                (Some(from), Some(to)) => Some(format!("from {from} to before {to}")),
                (Some(from), None) => Some(format!("from {from}")),
                (None, Some(to)) => Some(format!("before {to}")),
                (None, None) => None,
            };
            match (keys, nulls) {
                (Some(keys), false) => format!("{column} {keys}"),
                (Some(keys), true) => format!("{column} {keys}, or null"),
                (None, _) => format!("{column} null"),
            }
        }
    }
}

/// Empty if the size is not known.
fn size(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { units::bytes(bytes) }
}

fn rows(rows: Option<u64>) -> String {
    rows.map(|rows| units::counted(rows, "row")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_words() {
        let key = |from: Option<&str>, to: Option<&str>, nulls| SliceRange::Key {
            column: "id".to_owned(),
            pg_type: pgarrow::KeyType::Int8,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            nulls,
        };
        for (slice_range, words) in [
            (SliceRange::Whole, "all"),
            (SliceRange::Pages { from: 0, to: Some(8192) }, "pages 0 to 8191"),
            (SliceRange::Pages { from: 8192, to: None }, "pages 8192 to the end"),
            (key(Some("1"), Some("5"), false), "id from 1 to before 5"),
            (key(None, Some("5"), true), "id before 5, or null"),
            (key(Some("5"), None, false), "id from 5"),
            (key(None, None, true), "id null"),
        ] {
            assert_eq!(range(&slice_range), words);
        }
    }

    #[test]
    fn what_it_comes_to() {
        assert_eq!(total(Some(1), 0).as_deref(), Some("about 1 row"));
        assert_eq!(total(None, 0), None);
    }
}
