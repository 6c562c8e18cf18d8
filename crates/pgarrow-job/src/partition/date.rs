//! Days as dates.

/// Seconds of a day.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// Year, month and day of a day, counted from 1970, in the Gregorian calendar. The year before year 1 is 0.
///
/// Source: `civil_from_days` of <https://howardhinnant.github.io/date_algorithms.html>.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    // From 0000-03-01 on, in eras of 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other way round: `days_from_civil`.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let year = year - i64::from(month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    #[test]
    fn every_day_of_the_calendar_comes_back() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(-719_162), (1, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        let mut before = civil(-800_000);
        for day in -799_999..3_000_000 {
            let now = civil(day);
            assert!(now > before && days(now.0, now.1, now.2) == day, "{day}: {now:?}");
            before = now;
        }
    }
}
