//! Arrow values back into the text that PostgreSQL prints for them.
//!
//! Written from PostgreSQL's `*_out` functions and from nothing in our decoders, so that a mistake there is not
//! repeated here.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};

/// The text of one value; `None` is NULL.
pub(crate) fn text(field: &Field, array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    assert_eq!(field.data_type(), array.data_type(), "{}", field.name());
    let pg_type = field.metadata().get("pg.type").map_or("", String::as_str);
    Some(match array.data_type() {
        DataType::Boolean => if array.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => match (array.as_primitive::<UInt64Type>().value(row), pg_type) {
            (lsn, "pg_lsn") => format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff),
            (number, _) => number.to_string(),
        },
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            decimal(&array.as_primitive::<Decimal128Type>().value(row).to_string(), *scale)
        }
        DataType::Decimal256(_, scale) => {
            decimal(&array.as_primitive::<Decimal256Type>().value(row).to_string(), *scale)
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => format!("\\x{}", hex(array.as_binary::<i32>().value(row))),
        DataType::FixedSizeBinary(16) => uuid(array.as_fixed_size_binary().value(row)),
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into(), ""),
        DataType::Time64(TimeUnit::Microsecond) => {
            time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let zone = zone.as_deref().map_or("", |zone| if zone == "UTC" { "+00" } else { "?" });
            let (day, of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
            date(day, &format!(" {}{zone}", time(of_day)))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            assert_eq!(value.nanoseconds % 1000, 0, "PostgreSQL has no nanoseconds");
            interval(value.months, value.days, value.nanoseconds / 1000)
        }
        DataType::Dictionary(_, _) => {
            let array = array.as_dictionary::<Int32Type>();
            let key = usize::try_from(array.keys().value(row)).unwrap();
            array.values().as_string::<i32>().value(key).to_owned()
        }
        DataType::Struct(fields) => {
            let parts = array.as_struct();
            match fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>()[..] {
                ["time", "offset"] => {
                    let micros = parts.column(0).as_primitive::<Time64MicrosecondType>().value(row);
                    time(micros) + &offset(parts.column(1).as_primitive::<Int32Type>().value(row))
                }
                ["months", "days", "microseconds"] => interval(
                    parts.column(0).as_primitive::<Int32Type>().value(row),
                    parts.column(1).as_primitive::<Int32Type>().value(row),
                    parts.column(2).as_primitive::<Int64Type>().value(row),
                ),
                _ => panic!("no text for {}", array.data_type()),
            }
        }
        other => panic!("no text for {other}"),
    })
}

/// Whether a value is the one that PostgreSQL prints as `expected`. Floats are compared by their bits.
pub(crate) fn is_same(field: &Field, array: &dyn Array, row: usize, expected: Option<&str>) -> bool {
    match (array.data_type(), expected) {
        (DataType::Float32, Some(expected)) if array.is_valid(row) => {
            let found = array.as_primitive::<Float32Type>().value(row);
            found.to_bits() == expected.parse::<f32>().unwrap().to_bits()
        }
        (DataType::Float64, Some(expected)) if array.is_valid(row) => {
            let found = array.as_primitive::<Float64Type>().value(row);
            found.to_bits() == expected.parse::<f64>().unwrap().to_bits()
        }
        _ => text(field, array, row).as_deref() == expected,
    }
}

/// All rows, as texts.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let of_batch = |batch: &RecordBatch| {
        let (schema, columns) = (batch.schema(), batch.columns().to_vec());
        (0..batch.num_rows())
            .map(|row| {
                let fields = schema.fields().iter().zip(&columns);
                fields.map(|(field, column)| text(field, column, row)).collect()
            })
            .collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Shortest digits that read back the same. PostgreSQL's own text is compared by its bits instead.
fn float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value => format!("{value:?}"),
    }
}

/// An integer with a point put `scale` digits from its end.
fn decimal(unscaled: &str, scale: i8) -> String {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Days since 1970 in the proleptic Gregorian calendar; `behind` stands between the date and its BC.
fn date(day: i64, behind: &str) -> String {
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
    // There is no year 0: before 1 comes 1 BC.
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{shown:04}-{month:02}-{:02}{behind}{era}", day_of_year + 1)
}

fn time(micros: i64) -> String {
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

/// Seconds east of UTC, as short as they go.
fn offset(seconds: i32) -> String {
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
fn interval(months: i32, days: i32, micros: i64) -> String {
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
