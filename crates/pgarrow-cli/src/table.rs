//! Text in columns, for people.

use pgarrow::escape_control;

use crate::units;

/// How much of a long list is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lists {
    Whole,
    Shortened,
}

/// Lines that a shortened list keeps at its beginning, and at its end.
const HEAD: usize = 12;
const TAIL: usize = 4;
/// Most characters of a cell.
const CELL_MAX: usize = 60;

/// A text that may come from the server, on one line and shortened.
pub(crate) fn cell(text: &str) -> String {
    let text = escape_control(text);
    match text.char_indices().nth(CELL_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Lines with aligned cells, numbers to the right. Columns without any text are left out.
pub(crate) fn table<const N: usize>(
    lines: Vec<[String; N]>,
    to_the_right: [bool; N],
    lists: Lists,
) -> String {
    let n_left_out = match lists {
        Lists::Shortened if lines.len() > HEAD + TAIL + 1 => lines.len() - HEAD - TAIL,
        _ => 0,
    };
    let tail = lines.len().saturating_sub(TAIL);
    let is_shown = |index: usize| n_left_out == 0 || index < HEAD || index >= tail;
    let shown = || lines.iter().enumerate().filter(|(index, _)| is_shown(*index));
    let mut widths = [0; N];
    for (_, line) in shown() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (index, line) in shown() {
        if n_left_out > 0 && index == tail {
            text.push_str(&format!("  … {} more (--all shows them)\n", units::count(n_left_out as u64)));
        }
        let mut row = String::new();
        for ((cell, width), is_right) in line.iter().zip(widths).zip(to_the_right) {
            match (width, is_right) {
                (0, _) => {}
                (_, true) => row.push_str(&format!("  {cell:>width$}")),
                (_, false) => row.push_str(&format!("  {cell:<width$}")),
            }
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_lose_their_middle() {
        let lines =
            |n: usize| (0..n).map(|index| [index.to_string(), String::new(), "x".to_owned()]).collect();
        let render = |n, lists| table(lines(n), [true, false, false], lists);
        assert_eq!(render(2, Lists::Shortened), "  0  x\n  1  x\n");
        assert_eq!(render(HEAD + TAIL + 1, Lists::Shortened), render(HEAD + TAIL + 1, Lists::Whole));
        let shortened = render(1_100, Lists::Shortened);
        assert_eq!(shortened.lines().count(), HEAD + TAIL + 1);
        assert!(
            shortened.contains("\n    11  x\n  … 1,084 more (--all shows them)\n  1096  x\n"),
            "{shortened}"
        );
        assert_eq!(render(1_100, Lists::Whole).lines().count(), 1_100);
    }

    #[test]
    fn cells_are_one_line_and_short() {
        assert_eq!(cell("a\nb"), "a\\u{a}b");
        assert_eq!(cell(&"ü".repeat(100)).chars().count(), CELL_MAX + 1);
    }
}
