//! Moments as people read them, and sizes as they write them.

use std::time::{SystemTime, UNIX_EPOCH};

pub use pgarrow_types::parse_size;

/// A moment as RFC 3339 has it, in UTC and to the millisecond: `2026-01-31T23:59:59.042Z`.
pub fn utc(moment: SystemTime) -> String {
    // A clock that was never set may stand before 1970.
    humantime::format_rfc3339_millis(moment.max(UNIX_EPOCH)).to_string()
}

/// This moment, as [`utc`] writes it.
pub(crate) fn utc_now() -> String {
    utc(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_798_761_599_042, "2026-12-31T23:59:59.042Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }
}
