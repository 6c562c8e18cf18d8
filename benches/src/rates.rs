//! Rows and megabytes a second, of the median round.
//!
//! Megabytes are those of the rows as COPY sends them in binary, for all contenders of a group: so a faster
//! one has more of them, whether it reads pages, writes small files or receives text.

use crate::contender::DRAINS;
use crate::network;
use crate::python::EXPORT;
use crate::rounds::{Group, Measured};
use crate::stats::median;

impl Group {
    /// The bytes of the rows by COPY: as they were counted, or as a contender that reads by COPY received
    /// them.
    fn copy_bytes(&self) -> u64 {
        let by_copy = |measured: &&Measured| {
            let name = measured.contender.as_str();
            DRAINS.contains(&name) || name == EXPORT || name.starts_with(network::COPY)
        };
        match self.copy_bytes {
            0 => self.contenders.iter().find(by_copy).map_or(0, |measured| measured.bytes),
            counted => counted,
        }
    }

    /// Computes the rates of all contenders; also those of a record that was written without them.
    pub(crate) fn fill_rates(&mut self) {
        self.copy_bytes = self.copy_bytes();
        for measured in &mut self.contenders {
            let seconds = median(&measured.wall_seconds);
            if seconds > 0.0 {
                measured.rows_per_second = self.rows as f64 / seconds;
                let is_known = self.copy_bytes > 0;
                measured.megabytes_per_second = is_known.then_some(self.copy_bytes as f64 / 1e6 / seconds);
            }
        }
    }
}

/// The two cells of a report's table: rows and megabytes a second.
pub(crate) fn cells(measured: &Measured) -> String {
    let rows = per_second(measured.rows_per_second);
    let megabytes = measured.megabytes_per_second.map_or_else(String::new, megabytes);
    format!("{rows} | {megabytes}")
}

/// With two digits or more.
fn megabytes(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// With three digits, in thousands or millions: `0.123 M`, `45.6 k`.
pub(crate) fn per_second(rate: f64) -> String {
    match rate {
        ..1e4 => format!("{rate:.0}"),
        ..1e6 => format!("{:.0} k", rate / 1e3),
        ..1e7 => format!("{:.2} M", rate / 1e6),
        _ => format!("{:.1} M", rate / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(copy_bytes: u64) -> Group {
        let contender = |name: &str, bytes: u64| {
            json!({"contender": name, "connections": 1, "wall_seconds": [1.0, 2.0, 4.0], "cpu_seconds": [],
                   "peak_bytes": 0, "bytes": bytes, "columns_checked": 0})
        };
        serde_json::from_value(json!({
            "workload": "five", "scale": 1.0, "rows": 1000, "tables": 1, "connections": 1, "left_out": [],
            "copy_bytes": copy_bytes,
            "contenders": [contender("pgarrow → Parquet", 1), contender("fair drain", 6_000_000)],
        }))
        .unwrap()
    }

    #[test]
    fn megabytes_are_those_of_copy_for_all() {
        for (given, expected) in [(0, 3.0), (8_000_000, 4.0)] {
            let mut group = group(given);
            group.fill_rates();
            for measured in &group.contenders {
                assert_eq!(measured.rows_per_second, 500.0);
                assert_eq!(measured.megabytes_per_second, Some(expected));
            }
        }
    }

    #[test]
    fn without_a_drain_there_are_no_megabytes() {
        let mut group = group(0);
        group.contenders.truncate(1);
        group.fill_rates();
        assert_eq!(cells(&group.contenders[0]), "500 | ");
    }

    #[test]
    fn three_digits() {
        assert_eq!(
            [1234.0, 45_600.0, 2_345_678.0, 45_600_000.0].map(per_second),
            ["1234", "46 k", "2.35 M", "45.6 M"]
        );
        assert_eq!([0.31, 64.8].map(megabytes), ["0.3", "65"]);
    }
}
