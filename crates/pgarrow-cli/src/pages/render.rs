//! The status of reading by pages as text: a line for each table, and below it why not.

use std::fmt::Write;

use pgarrow::{PagesStatus, TablePages, escape_control};

use crate::units;

/// Most reasons shown of a table, a line each.
const REASONS_NAMED: usize = 8;

pub(crate) fn text(status: &PagesStatus) -> String {
    let source = match status.source.as_deref() {
        Some("function") => "the installed function",
        Some("pageinspect") => "the extension pageinspect",
        Some(source) => source,
        None => "what this server has",
    };
    let mut text = match (status.possible, status.automatic) {
        (true, true) => format!("pages can be read here, by {source}\n"),
        (true, false) => format!("pages can be read here, by {source}, if asked for: --read-mode pages\n"),
        (false, _) => "pages cannot be read here\n".to_owned(),
    };
    reasons(&mut text, &status.why_not);
    reasons(&mut text, &status.advice);
    status.tables.iter().for_each(|table| of_table(&mut text, table, status.possible));
    text
}

/// `is_possible`: whether pages can be read at all. If not, the text says what could be.
fn of_table(text: &mut String, table: &TablePages, is_possible: bool) {
    let name = escape_control(&table.table);
    let (can, cannot) = if is_possible { ("can", "cannot") } else { ("could", "could not") };
    let possible = match (table.possible, table.heaps_possible) {
        (true, _) => format!("{can} be read by pages"),
        (false, 0) => format!("{cannot} be read by pages"),
        (false, possible) => format!(
            "{} of {} {can} be read by pages",
            units::count(possible),
            units::counted(table.heaps, "partition")
        ),
    };
    // Writing to a text does not fail.
    let _ = write!(text, "\n{name}: {possible}");
    if table.pages > 0 {
        let _ = write!(
            text,
            "; {}, {} % all-visible",
            units::counted(table.pages, "page"),
            percent(table.all_visible, table.pages)
        );
    }
    text.push('\n');
    reasons(text, &shortened(table.why_not_text()));
}

/// The first reasons. A table with many partitions may have one for each.
fn shortened(mut reasons: Vec<String>) -> Vec<String> {
    let n_more = reasons.len().saturating_sub(REASONS_NAMED);
    if n_more > 1 {
        reasons.truncate(REASONS_NAMED);
        reasons.push(format!("{} more (--json shows them)", units::count(n_more as u64)));
    }
    reasons
}

fn reasons<T: ToString>(text: &mut String, why_not: &[T]) {
    why_not.iter().for_each(|reason| text.extend(["  ", &escape_control(&reason.to_string()), "\n"]));
}

/// Rounded down, so that 100 means all.
fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There was no limit before.
    #[test]
    fn of_many_reasons_the_first_ones() {
        let reasons = |n: usize| (0..n).map(|index| index.to_string()).collect::<Vec<_>>();
        assert_eq!(shortened(reasons(REASONS_NAMED + 1)), reasons(REASONS_NAMED + 1));
        let many = shortened(reasons(1600));
        assert_eq!(many.len(), REASONS_NAMED + 1);
        assert_eq!(many[REASONS_NAMED], "1,592 more (--json shows them)");
    }

    #[test]
    fn all_but_one_is_not_all() {
        assert_eq!([percent(999, 1000), percent(1000, 1000), percent(0, 7), percent(0, 0)], [99, 100, 0, 0]);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
