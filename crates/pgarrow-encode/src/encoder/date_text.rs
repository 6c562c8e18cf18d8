//! Dates, times and timestamps as text: ISO 8601, RFC 3339, and PostgreSQL's output in `DateStyle` `ISO`.
//!
//! ```text
//! date      = year - month - day                         2024-12-31, 0044-03-15 BC
//! time      = hour : minute [: second [. digits]]
//! zone      = Z │ [blank] UTC │ ± hour [[:] minute [: second]]
//! timestamp = date [T or blank, time] [zone] [BC] │ infinity │ -infinity
//! ```
//!
//! The server accepts more. It silently rounds, drops the time of a date and the zone of a timestamp, and
//! uses the session's zone if there is none. Here each of these is checked.
//!
//! Source: `DecodeDateTime`, `EncodeDateTime` in PostgreSQL's `src/backend/utils/adt/datetime.c`.

use super::date::DAYS_1970_TO_2000;
use crate::error::ValueError;

const MALFORMED: ValueError =
    ValueError::Malformed("dates and times are like 2024-12-31 23:59:59.999999+00, or a part of it");

const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_DAY: i64 = 24 * 60 * 60 * MICROS_PER_SECOND;

/// The content of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    Infinity,
    MinusInfinity,
    Finite {
        /// Since 2000-01-01.
        days: i64,
        /// Microseconds since midnight; 0 if there is no time of day.
        micros: i64,
        /// Seconds east of UTC.
        zone: Option<i32>,
    },
}

/// Reads a date or a timestamp. `rounds`: whether digits behind a microsecond are rounded away.
pub(super) fn moment(text: &str, rounds: bool) -> Result<Moment, ValueError> {
    match text {
        "infinity" => return Ok(Moment::Infinity),
        "-infinity" => return Ok(Moment::MinusInfinity),
        _ => {}
    }
    let (text, is_bc) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let mut reader = Reader(text.as_bytes());
    let days = reader.date(is_bc).ok_or(MALFORMED)?;
    let micros = if reader.is_at_time() { reader.time(rounds)? } else { 0 };
    Ok(Moment::Finite { days, micros, zone: reader.zone_and_end()? })
}

/// Reads a time of day in microseconds, and the seconds east of UTC if it has a zone.
pub(super) fn time_of_day(text: &str, rounds: bool) -> Result<(i64, Option<i32>), ValueError> {
    let mut reader = Reader(text.as_bytes());
    Ok((reader.time(rounds)?, reader.zone_and_end()?))
}

/// The rest of a text.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn eat(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn digits(&mut self) -> &'a [u8] {
        let n_digits = self.0.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(n_digits);
        self.0 = rest;
        digits
    }

    /// Two digits.
    fn two(&mut self) -> Option<i64> {
        match self.digits() {
            [tens, ones] => Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')),
            _ => None,
        }
    }

    /// Days since 2000.
    fn date(&mut self, is_bc: bool) -> Option<i64> {
        let digits = self.digits();
        let year = digits.iter().fold(0, |all: i64, digit| all.saturating_mul(10) + i64::from(digit - b'0'));
        // 5874897 is the last year of a date.
        if !(4..=7).contains(&digits.len()) || year == 0 {
            return None;
        }
        // There is no year 0: 1 BC comes before 1.
        let year = if is_bc { 1 - year } else { year };
        self.eat(b'-')?;
        let month = self.two()?;
        self.eat(b'-')?;
        let day = self.two()?;
        is_of_calendar(year, month, day).then(|| days_since_2000(year, month, day))
    }

    /// Whether the separator of date and time comes next. Takes it.
    fn is_at_time(&mut self) -> bool {
        let is_next = matches!(self.0, [b'T' | b't', ..] | [b' ', b'0'..=b'9', ..]);
        if is_next {
            self.0 = self.0.split_first().map_or(&[], |(_, rest)| rest);
        }
        is_next
    }

    /// Microseconds since midnight.
    fn time(&mut self, rounds: bool) -> Result<i64, ValueError> {
        let hour = self.two().ok_or(MALFORMED)?;
        let minute = self.eat(b':').and_then(|()| self.two()).ok_or(MALFORMED)?;
        let (mut second, mut micros) = (0, 0);
        if self.eat(b':').is_some() {
            second = self.two().ok_or(MALFORMED)?;
            if self.eat(b'.').is_some() {
                micros = micros_of(self.digits(), rounds)?;
            }
        }
        // The server would turn a leap second into the second after it.
        let all = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros;
        match minute < 60 && second < 60 && all <= MICROS_PER_DAY {
            true => Ok(all),
            false => Err(MALFORMED),
        }
    }

    /// Seconds east of UTC, if any text is left. The zone must be its end.
    fn zone_and_end(mut self) -> Result<Option<i32>, ValueError> {
        let is_west = match self.0 {
            b"" => return Ok(None),
            b"Z" | b"z" | b"UTC" | b" UTC" => return Ok(Some(0)),
            [sign @ (b'+' | b'-'), rest @ ..] => {
                self.0 = rest;
                *sign == b'-'
            }
            _ => return Err(MALFORMED),
        };
        let east = self.offset().filter(|_| self.0.is_empty()).ok_or(MALFORMED)?;
        Ok(Some(if is_west { -east } else { east }))
    }

    fn offset(&mut self) -> Option<i32> {
        let number = |digits: [u8; 2]| digits.iter().fold(0, |all, digit| 10 * all + i32::from(digit - b'0'));
        let (hours, mut minutes, mut seconds) = match *self.digits() {
            [h0, h1] => (number([h0, h1]), None, 0),
            [h0, h1, m0, m1] => (number([h0, h1]), Some(number([m0, m1])), 0),
            _ => return None,
        };
        if minutes.is_none() && self.eat(b':').is_some() {
            minutes = Some(i32::try_from(self.two()?).ok()?);
            if self.eat(b':').is_some() {
                seconds = i32::try_from(self.two()?).ok()?;
            }
        }
        let minutes = minutes.unwrap_or(0);
        (minutes < 60 && seconds < 60).then_some((hours * 60 + minutes) * 60 + seconds)
    }
}

/// Reads the digits behind a second; any number is allowed.
fn micros_of(digits: &[u8], rounds: bool) -> Result<i64, ValueError> {
    let (kept, lost) = digits.split_at(digits.len().min(6));
    let zeros = 6_usize.saturating_sub(kept.len());
    let micros = kept.iter().copied().chain(std::iter::repeat_n(b'0', zeros));
    let micros = micros.fold(0, |all, digit| 10 * all + i64::from(digit - b'0'));
    match lost.iter().any(|digit| *digit != b'0') {
        true if !rounds => Err(ValueError::LostDigits),
        _ => Ok(micros + i64::from(lost.first().is_some_and(|digit| *digit >= b'5'))),
    }
}

fn is_of_calendar(year: i64, month: i64, day: i64) -> bool {
    let is_leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let days = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// In the Gregorian calendar, extended backwards without end, as in `date2j`.
fn days_since_2000(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_PER_ERA: i64 = 146_097;
    /// From the first of March of the year 0.
    const DAYS_TO_1970: i64 = 719_468;
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970 - DAYS_1970_TO_2000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(days: i64, micros: i64, zone: Option<i32>) -> Result<Moment, ValueError> {
        Ok(Moment::Finite { days, micros, zone })
    }

    #[test]
    fn moments() {
        for (text, expected) in [
            ("2000-01-01", finite(0, 0, None)),
            ("2000-03-01", finite(60, 0, None)),
            ("1970-01-01", finite(-DAYS_1970_TO_2000, 0, None)),
            ("4714-11-24 BC", finite(-2_451_545, 0, None)),
            ("0001-02-29 BC", finite(-730_426, 0, None)),
            ("5874897-12-31", finite(2_145_031_948, 0, None)),
            ("2000-01-02 03:04", finite(1, 11_040_000_000, None)),
            ("2000-01-01T00:00:00.5Z", finite(0, 500_000, Some(0))),
            ("2000-01-01 24:00:00 UTC", finite(0, MICROS_PER_DAY, Some(0))),
            ("2000-01-01 00:00:00.000001-15:59:59 BC", finite(-1_460_604, 1, Some(-57_599))),
            ("2000-01-01 00:00:00+0530", finite(0, 0, Some(19_800))),
            ("2000-01-01 00:00:00.1234560000", finite(0, 123_456, None)),
            ("infinity", Ok(Moment::Infinity)),
            ("-infinity", Ok(Moment::MinusInfinity)),
            ("2000-01-01 00:00:00.1234567", Err(ValueError::LostDigits)),
        ] {
            assert_eq!(moment(text, false), expected, "{text}");
        }
        assert_eq!(moment("2000-01-01 00:00:00.1234565", true), finite(0, 123_457, None));
        assert_eq!(moment("2000-01-01 00:00:00.12345649", true), finite(0, 123_456, None));
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "now",
            "today",
            "epoch",
            "2000",
            "2000-01",
            "2000-1-1",
            "20000101",
            "200-01-01",
            "0000-01-01",
            "-2000-01-01",
            "2000-13-01",
            "2000-00-01",
            "2000-02-30",
            "1900-02-29",
            "2001-02-29",
            "2000-01-01 ",
            " 2000-01-01",
            "2000-01-01T",
            "2000-01-01 24:00:01",
            "2000-01-01 23:60",
            "2000-01-01 23:59:60",
            "2000-01-01 1:00",
            "2000-01-01 00:00:00 PM",
            "2000-01-01 00:00:00+1",
            "2000-01-01 00:00:00+01:60",
            "2000-01-01 00:00:00+01:",
            "2000-01-01 00:00 Europe/Berlin",
            "01/02/2000",
            "Jan 2 2000",
            "12345678-01-01",
        ] {
            assert_eq!(moment(text, true), Err(MALFORMED), "{text}");
        }
        assert_eq!(time_of_day("24:00:00", false), Ok((MICROS_PER_DAY, None)));
        assert_eq!(time_of_day("00:00:01+01", false), Ok((1_000_000, Some(3_600))));
        for text in ["", "1:00", "24:00:00.1", "2000-01-01 00:00", "00:00 AM", "00"] {
            assert_eq!(time_of_day(text, true), Err(MALFORMED), "{text}");
        }
    }
}
