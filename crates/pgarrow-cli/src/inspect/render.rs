//! An inspection as text: a line for each column, and its notes below.

use pgarrow::escape_control;

use super::{Inspection, Subject};
use crate::plan::render::total;
use crate::table::{Lists, cell, table};
use crate::units;

/// Most characters shown of a type.
const TYPE_MAX: usize = 48;

pub(crate) fn text(inspection: &Inspection) -> String {
    let readers = units::counted(inspection.connections as u64, "connection");
    match inspection.subjects.as_slice() {
        [subject] => one(subject, &format!(", read by {readers}")),
        subjects => {
            let tables = units::counted(subjects.len() as u64, "table");
            let each = subjects.iter().map(|subject| one(subject, ""));
            format!("{tables}, read by {readers}\n\n{}", each.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// The text for one subject. `readers` names the connections that read it, if it is the only one.
fn one(subject: &Subject, readers: &str) -> String {
    let name = escape_control(&subject.subject);
    let size = total(subject.estimated_rows, subject.estimated_bytes);
    let mut text = match size {
        Some(size) => format!("{name}, {size}\n"),
        None => format!("{name}\n"),
    };
    let slices = units::counted(subject.slices as u64, "slice");
    text.push_str(&format!("  {slices}{readers}; {}\n\n", escape_control(&subject.slicing.to_string())));

    let header = ["column", "PostgreSQL", "Arrow", "Parquet", ""].map(str::to_owned);
    let columns = subject.columns.iter().map(|column| {
        let parquet = column.parquet_type.as_deref().unwrap_or("not possible");
        [
            cell(&column.name),
            cell(&column.pg_type),
            // Only the JSON says what may be null inside a type.
            shortened(&column.arrow_type.replace("non-null ", "")),
            shortened(parquet),
            (if column.nullable { "" } else { "not null" }).to_owned(),
        ]
    });
    let lines = table(std::iter::once(header).chain(columns).collect(), [false; 5], Lists::Whole);
    let mut lines = lines.lines();
    text.extend(lines.next().map(|header| format!("{header}\n")));
    for (line, column) in lines.zip(&subject.columns) {
        text.push_str(line);
        text.push('\n');
        for note in &column.notes {
            let option = note.option.as_ref().map(|option| format!(" ({option})"));
            text.push_str(&format!("      {}{}\n", note.what, option.unwrap_or_default()));
        }
    }
    if let Some(error) = &subject.parquet_error {
        text.push_str(&format!("\nnot in Parquet: {}\n", escape_control(error)));
    }
    if !subject.warnings.is_empty() {
        text.push_str("\nwarnings\n");
        subject
            .warnings
            .iter()
            .for_each(|warning| text.push_str(&format!("  {}\n", escape_control(&warning.to_string()))));
    }
    text
}

/// A type without the end of its inside, but with all its brackets: `Struct("a": Int32, …)`.
fn shortened(data_type: &str) -> String {
    let data_type = escape_control(data_type);
    let Some((end, _)) = data_type.char_indices().nth(TYPE_MAX) else { return data_type };
    let kept = data_type.get(..end).unwrap_or_default();
    // Only whole parts, if there is one.
    let kept = kept.rsplit_once(", ").map_or(kept, |(whole, _)| whole);
    let mut closing = Vec::new();
    for c in kept.chars() {
        match c {
            '(' => closing.push(')'),
            '<' => closing.push('>'),
            ')' | '>' if closing.last() == Some(&c) => {
                closing.pop();
            }
            _ => {}
        }
    }
    let separator = if kept.ends_with(['(', '<', ' ']) { "" } else { ", " };
    format!("{kept}{separator}…{}", closing.into_iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_types_keep_their_brackets() {
        for (data_type, expected) in [
            ("Int32", "Int32"),
            (
                r#"List(Struct("lower": Timestamp(µs, "UTC"), "upper": Timestamp(µs, "UTC"), "empty": Boolean))"#,
                r#"List(Struct("lower": Timestamp(µs, "UTC"), …))"#,
            ),
            (
                "LIST<STRUCT<at: INT64 (TIMESTAMP(MICROS,true)), mood: BYTE_ARRAY (STRING)>>",
                "LIST<STRUCT<at: INT64 (TIMESTAMP(MICROS,true)), …>>",
            ),
        ] {
            assert_eq!(shortened(data_type), expected);
        }
        let endless = shortened(&"ü".repeat(1000));
        assert_eq!(endless.chars().count(), TYPE_MAX + 3);
    }
}
