//! Numbers as people write and read them.

use std::time::Duration;

pub(crate) use pgarrow_job::units::{parse_size, utc};

/// The bytes of a batch: buffers of Arrow text have 32-bit offsets, and batches stay well below.
pub(crate) fn parse_batch_bytes(text: &str) -> Result<usize, String> {
    match parse_size(text).map_err(|why| why.to_string())?.try_into() {
        Ok(bytes @ ..=BATCH_BYTES_MAX) => Ok(bytes),
        _ => Err("batches have 1 byte to 1G".to_owned()),
    }
}

const BATCH_BYTES_MAX: usize = 1 << 30;

/// Reads a limit of memory.
pub(crate) fn parse_memory(text: &str) -> Result<usize, String> {
    match parse_size(text).map_err(|why| why.to_string())?.try_into() {
        Ok(bytes @ MEMORY_MIN..) => Ok(bytes),
        Ok(_) => Err("it takes at least 16M".to_owned()),
        Err(_) => Err("that is more than this machine can address".to_owned()),
    }
}

/// The least that `ExportOptions::with_memory` takes.
const MEMORY_MIN: usize = 16 << 20;

/// Reads a time as in `30s`, `10m`, `2h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let unreadable = || "write a number and s, m or h, as in 30s, 10m or 2h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(unreadable)?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(unreadable()),
    };
    // Six digits of hours are more than a century.
    match number.parse::<u32>() {
        Ok(number @ 1..=999_999) => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err(unreadable()),
    }
}

/// A time as people write it: `2h`.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1` as `1 row`, `2000` as `2,000 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A part of a whole, with as many digits as a small one needs: `12.3 %`, `0.004 %`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    let digits = match percent {
        ..0.01 => 3,
        ..1.0 => 2,
        _ => 1,
    };
    format!("{percent:.digits$} %")
}

/// Bytes in units of 1000, as disks and networks count: `5.8 MB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number as f64, 1000.0, ["B", "kB", "MB", "GB", "TB"])
}

/// Bytes in units of 1024, as memory counts: `61.2 MiB`.
pub(crate) fn memory(number: u64) -> String {
    scaled(number as f64, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB"])
}

fn scaled(mut value: f64, step: f64, units: [&str; 5]) -> String {
    let mut unit = 0;
    // At 999.95 one decimal would already print 1000.0.
    while value >= step - 0.05 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let unit_name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{value:.0} {unit_name}") } else { format!("{value:.1} {unit_name}") }
}

/// The number per second; zero without time.
pub(crate) fn per_second(number: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (number as f64 / seconds) as u64 } else { 0 }
}

/// `0.41 s`, `75.3 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_memory_and_batches() {
        for (text, bytes) in [("1", Ok(1)), ("8MiB", Ok(8 << 20)), ("1g", Ok(1 << 30))] {
            assert_eq!(parse_batch_bytes(text), bytes, "{text}");
        }
        assert!(parse_batch_bytes("2G").unwrap_err().contains("1 byte to 1G"));
        assert!(parse_batch_bytes("8X").unwrap_err().contains("as in 8M"));
        assert_eq!((parse_memory("16M"), parse_memory("3g")), (Ok(16 << 20), Ok(3 << 30)));
        assert!(parse_memory("15M").unwrap_err().contains("at least 16M"));
        assert!(parse_memory("1025T").unwrap_err().contains("to 1024T"));
    }

    #[test]
    fn times_as_people_write_them() {
        for (text, seconds) in [("30s", 30), ("90s", 90), ("10m", 600), ("2h", 7200)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        for text in ["", "30", "s", "0s", "-1s", "1.5h", "1 h", "2d", "4294967297s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "row"), counted(0, "row")], ["1 row", "0 rows"]);
        assert_eq!(
            [bytes(0), bytes(999), bytes(1000), bytes(5_849_999)],
            ["0 B", "999 B", "1.0 kB", "5.8 MB"]
        );
        assert_eq!([bytes(999_990), memory(64 << 20)], ["1.0 MB", "64.0 MiB"]);
        assert_eq!(per_second(10, 0.0), 0);
    }
}
