//! `interval` as PostgreSQL prints it, in its `IntervalStyle` `postgres`.
//!
//! ```text
//! i64 microseconds │ i32 days │ i32 months        16 bytes, big-endian
//! ```
//!
//! Since PostgreSQL 17, all three at their minimum or maximum mean ∓infinity. Before, they are ordinary
//! numbers.
//!
//! Source: `interval_out` and `interval2itm` in PostgreSQL's `src/backend/utils/adt/timestamp.c`;
//! `EncodeInterval`, `AddPostgresIntPart` and `AppendSeconds` in `datetime.c` beside it.

use std::io::Write as _;

use crate::column::interval::{IntervalWire, Parts};
use crate::column::text_form::TextForm;
use crate::error::ValueError;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// The text, with a sign for each part.
#[derive(Debug)]
pub(crate) struct IntervalText(pub(crate) IntervalWire);

impl TextForm for IntervalText {
    fn text_bytes_at_most(&self, _wire: &[u8]) -> usize {
        // -178956970 years -8 mons -2147483648 days -2562047788:00:54.775808
        80
    }

    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
        let wire: [u8; 16] =
            wire.try_into().map_err(|_| ValueError::Width { expected: 16, found: wire.len() })?;
        match self.0.parts(wire) {
            Ok(Parts { months, days, micros }) => print_finite(months, days, micros, text),
            Err(_) if i8::from_be_bytes([wire[0]]) < 0 => text.extend_from_slice(b"-infinity"),
            Err(_) => text.extend_from_slice(b"infinity"),
        }
        Ok(())
    }
}

fn print_finite(months: i32, days: i32, micros: i64, text: &mut Vec<u8>) {
    let mut is_first = true;
    // A plus is printed only behind a part with a minus.
    let mut is_behind_minus = false;
    for (number, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if number == 0 {
            continue;
        }
        let space = if is_first { "" } else { " " };
        let plus = if is_behind_minus && number > 0 { "+" } else { "" };
        let plural = if number == 1 { "" } else { "s" };
        // Writing to a Vec cannot fail.
        let _ = write!(text, "{space}{plus}{number} {unit}{plural}");
        is_first = false;
        is_behind_minus = number < 0;
    }
    if micros == 0 && !is_first {
        return;
    }
    let space = if is_first { "" } else { " " };
    let sign = match micros {
        ..0 => "-",
        _ if is_behind_minus => "+",
        _ => "",
    };
    let (seconds, fraction) =
        (micros.unsigned_abs() / MICROS_PER_SECOND, micros.unsigned_abs() % MICROS_PER_SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(text, "{space}{sign}{hours:02}:{minutes:02}:{seconds:02}");
    if fraction > 0 {
        let _ = write!(text, ".{fraction:06}");
        while text.pop_if(|digit| *digit == b'0').is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(months: i32, days: i32, micros: i64) -> String {
        printed_by(true, months, days, micros)
    }

    fn printed_by(has_infinities: bool, months: i32, days: i32, micros: i64) -> String {
        let form = IntervalText(IntervalWire { has_infinities });
        let mut wire = micros.to_be_bytes().to_vec();
        wire.extend(days.to_be_bytes());
        wire.extend(months.to_be_bytes());
        let mut text = b"before ".to_vec();
        form.print(&wire, &mut text).unwrap();
        assert!(text.len() - 7 <= form.text_bytes_at_most(&wire));
        String::from_utf8(text).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    /// PostgreSQL 15 printed these texts for these parts.
    #[test]
    fn finite_intervals_as_postgres_prints_them() {
        for (months, days, micros, expected) in CASES {
            assert_eq!(printed(months, days, micros), expected);
        }
    }

    const CASES: [(i32, i32, i64, &str); 31] = [
        (0, 0, 0, "00:00:00"),
        (0, 0, 1, "00:00:00.000001"),
        (0, 0, -1, "-00:00:00.000001"),
        (0, 0, 100_000, "00:00:00.1"),
        (0, 0, 120_000, "00:00:00.12"),
        (0, 0, 10 * SECOND, "00:00:10"),
        (0, 0, 60 * SECOND, "00:01:00"),
        (0, 0, 4 * HOUR + 5 * 60 * SECOND + 6_789_000, "04:05:06.789"),
        (0, 0, 100 * HOUR, "100:00:00"),
        (0, 0, -100 * HOUR, "-100:00:00"),
        (0, 1, 0, "1 day"),
        (0, -1, 0, "-1 days"),
        (0, 2, 0, "2 days"),
        (0, 1, 1, "1 day 00:00:00.000001"),
        (0, -1, 1, "-1 days +00:00:00.000001"),
        (0, -1, -1, "-1 days -00:00:00.000001"),
        (1, 0, 0, "1 mon"),
        (-1, 0, 0, "-1 mons"),
        (11, 0, 0, "11 mons"),
        (12, 0, 0, "1 year"),
        (-12, 0, 0, "-1 years"),
        (14, 3, 4 * HOUR, "1 year 2 mons 3 days 04:00:00"),
        (-14, 3, 4 * HOUR, "-1 years -2 mons +3 days 04:00:00"),
        (14, -3, 4 * HOUR, "1 year 2 mons -3 days +04:00:00"),
        (14, 3, -4 * HOUR, "1 year 2 mons 3 days -04:00:00"),
        (-1, 1, -1, "-1 mons +1 day -00:00:00.000001"),
        (-24, 0, HOUR, "-2 years +01:00:00"),
        (-12, 1, HOUR, "-1 years +1 day 01:00:00"),
        (i32::MAX, i32::MAX, i64::MIN, "178956970 years 7 mons 2147483647 days -2562047788:00:54.775808"),
        (i32::MIN, i32::MIN, i64::MAX, "-178956970 years -8 mons -2147483648 days +2562047788:00:54.775807"),
        (i32::MAX, 0, 0, "178956970 years 7 mons"),
    ];

    #[test]
    fn infinite_intervals() {
        assert_eq!(printed(i32::MAX, i32::MAX, i64::MAX), "infinity");
        assert_eq!(printed(i32::MIN, i32::MIN, i64::MIN), "-infinity");
        // "infinity" was once printed for every server, but 14 to 16 have no such interval.
        let finite = |months, days, micros| printed_by(false, months, days, micros);
        assert_eq!(
            finite(i32::MAX, i32::MAX, i64::MAX),
            "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807"
        );
        assert_eq!(
            finite(i32::MIN, i32::MIN, i64::MIN),
            "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808"
        );
    }

    #[test]
    fn other_widths_are_refused() {
        for found in [0, 8, 15, 17, 32] {
            let form = IntervalText(IntervalWire { has_infinities: true });
            let error = form.print(&vec![0; found], &mut Vec::new()).unwrap_err();
            assert_eq!(error, ValueError::Width { expected: 16, found });
        }
    }
}
