//! Values without parts, as `float8out`, `date_out`, `interval_out` and similar functions print them.

const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;

/// `float8out`: the shortest digits that are nearer to the value than to any other. PostgreSQL does not use
/// digits exactly halfway between two values, which other programs read as the even one.
pub(super) fn float8(value: f64) -> String {
    let half_way = |text: &str| {
        // Above, no 17 digits are exactly halfway between two values; below, there are digits after the
        // point.
        if !(2_f64.powi(53)..2_f64.powi(120)).contains(&value.abs()) {
            return false;
        }
        let (mantissa, exponent) = text.split_once('e').unwrap();
        let n_digits = places_of(text);
        let digits: i128 = mantissa.replace('.', "").parse().unwrap();
        let (exponent, n_digits) = (exponent.parse::<u32>().unwrap(), u32::try_from(n_digits).unwrap());
        let Some(zeros) = exponent.checked_sub(n_digits) else { return false };
        let distance = digits * 10_i128.pow(zeros) - value as i128;
        let up = (value.next_up() - value) as i128;
        let down = (value - value.next_down()) as i128;
        distance * 2 == up || distance * 2 == -down
    };
    let mut text = format!("{value:e}");
    let mut places = places_of(&text);
    // Of two equally near texts, the even one.
    let even = format!("{value:.places$e}");
    if even.parse() == Ok(value) {
        text = even;
    }
    while value.is_finite() && half_way(&text) {
        places += 1;
        text = format!("{value:.places$e}");
    }
    float(value, &text, 15)
}

/// `float4out`.
pub(super) fn float4(value: f32) -> String {
    let wide = f64::from(value);
    let half_way = |text: &str| {
        let distance = text.parse::<f64>().unwrap() - wide;
        distance != 0.0
            && (distance * 2.0 == f64::from(value.next_up()) - wide
                || distance * 2.0 == f64::from(value.next_down()) - wide)
    };
    let mut text = format!("{value:e}");
    let mut places = places_of(&text);
    // Of two equally near texts, the even one.
    let even = format!("{value:.places$e}");
    if even.parse() == Ok(value) {
        text = even;
    }
    while value.is_finite() && half_way(&text) {
        places += 1;
        text = format!("{value:.places$e}");
    }
    float(wide, &text, 6)
}

/// The number of digits after the point.
fn places_of(scientific: &str) -> usize {
    let mantissa = scientific.split('e').next().unwrap();
    mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len())
}

/// Formats digits like PostgreSQL's `d2s.c` and `f2s.c`: with an exponent below -4, and from `places` on.
fn float(value: f64, scientific: &str, places: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    if !(-4..places).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let Ok(exponent) = usize::try_from(exponent) else {
        let zeros = "0".repeat(usize::try_from(-1 - exponent).unwrap());
        return format!("{sign}0.{zeros}{digits}");
    };
    match digits.split_at_checked(exponent + 1) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits:0<width$}", width = exponent + 1),
    }
}

/// `cash_out` in the locale C, for a number with two digits after the point.
pub(super) fn money(number: &str) -> String {
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let groups: Vec<&str> =
        whole.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    format!("{sign}${}.{fraction}", groups.join(","))
}

/// An integer with a point `scale` digits before its end.
pub(super) fn decimal(unscaled: &str, scale: i8) -> String {
    let scale = usize::try_from(scale).expect("no negative scales");
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn uuid(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Days since 1970 in the proleptic Gregorian calendar; `behind` is inserted between the date and its BC.
pub(super) fn date(day: i64, behind: &str) -> String {
    // 400 years have 146,097 days; counted from the first of March of the year 0, leap days come last.
    let from_march_0 = day + 719_468;
    let (cycle, day_of_cycle) = (from_march_0.div_euclid(146_097), from_march_0.rem_euclid(146_097));
    let year_starts = |year: i64| year * 365 + year / 4 - year / 100 + year / 400;
    let mut year_of_cycle = day_of_cycle / 365;
    while year_starts(year_of_cycle) > day_of_cycle {
        year_of_cycle -= 1;
    }
    let mut day_of_year = day_of_cycle - year_starts(year_of_cycle);
    let mut year = cycle * 400 + year_of_cycle;
    let mut month = 3;
    for days in [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29] {
        if day_of_year < days {
            break;
        }
        day_of_year -= days;
        month += 1;
    }
    if month > 12 {
        (month, year) = (month - 12, year + 1);
    }
    // There is no year 0: 1 BC comes before 1.
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{shown:04}-{month:02}-{:02}{behind}{era}", day_of_year + 1)
}

pub(super) fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / SECOND, micros % SECOND);
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    clock + &fraction_text(fraction)
}

fn fraction_text(micros: i64) -> String {
    match micros {
        0 => String::new(),
        micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    }
}

/// Seconds east of UTC, in the shortest form.
pub(super) fn offset(seconds: i32) -> String {
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let mut text = format!("{sign}{:02}", seconds / 3600);
    if seconds % 3600 != 0 {
        text += &format!(":{:02}", seconds / 60 % 60);
    }
    if seconds % 60 != 0 {
        text += &format!(":{:02}", seconds % 60);
    }
    text
}

/// `IntervalStyle = postgres`: `EncodeInterval` in PostgreSQL's `src/backend/utils/adt/datetime.c`.
pub(super) fn interval(months: i32, days: i32, micros: i64) -> String {
    let mut parts = Vec::new();
    let mut was_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value != 0 {
            let sign = if was_negative && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            parts.push(format!("{sign}{value} {unit}{plural}"));
            was_negative = value < 0;
        }
    }
    if micros != 0 || parts.is_empty() {
        let sign = match micros {
            micros if micros < 0 => "-",
            _ if was_negative => "+",
            _ => "",
        };
        let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let fraction = fraction_text(i64::try_from(fraction).unwrap());
        parts.push(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}"));
    }
    parts.join(" ")
}

#[test]
fn floats_as_the_server_prints_them() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-12.5, "-12.5"),
        (0.0001, "0.0001"),
        (0.00001234, "1.234e-05"),
        (123456789012345.0, "123456789012345"),
        (1e14, "100000000000000"),
        (1e15, "1e+15"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
    ] {
        assert_eq!(float8(value), expected);
    }
    assert_eq!(float4(999999.0), "999999");
    assert_eq!(float4(-76_719_904.0), "-7.6719904e+07");
    assert_eq!(float4(2.285_156_2), "2.2851562");
    assert_eq!(float4(1e6), "1e+06");
    assert_eq!(money("-92233720368547758.08"), "-$92,233,720,368,547,758.08");
}
