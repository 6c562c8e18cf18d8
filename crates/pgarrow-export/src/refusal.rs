//! Why a row could not become Arrow: where it is, and which choice lets the export go on.

use pgarrow_column::ValueError;
use pgarrow_decode::DecodeError;
use pgarrow_session::{Error, ErrorKind, is_of_text};
use pgarrow_types::{
    Choice, DecimalForm, EncodingPolicy, IntervalForm, NumericForm, PgColumn, PgType, TimestampUnit,
};

use crate::choose::{has, typed};
use crate::plan::Plan;
use crate::planner::select::find::{Mark, Part};

/// Says where: table, column, type and row; what to do; and how to see the row. `part` is what was being read.
pub(crate) fn decode_error(plan: &Plan, part: Option<&Part>, error: DecodeError) -> Error {
    let subject = &plan.subject;
    match error {
        DecodeError::Value { column_index, column, row, cause } => {
            let planned = plan.columns.get(column_index);
            let pg_type = planned.map_or("", |column| column.type_name.as_str());
            let number = row;
            let row = row_of(plan, part, number);
            let text = format!("{subject}, column {column:?} ({pg_type}), {row}: {cause}");
            let element = plan.element_names.get(column_index).and_then(Option::as_deref);
            let advice = planned.and_then(|column| advice(column, element, cause));
            let error = Error::new(ErrorKind::Value, text);
            match advice {
                Some(advice) => {
                    let test = planned.and_then(|column| test(column, cause));
                    let mark = match &test {
                        Some(test) => Mark::Value { column: column_index, test },
                        None => Mark::Behind(0),
                    };
                    with_select(error.advice(advice), plan, part, number, mark)
                }
                None => error
                    .advice("the server, or something between, broke the binary format; please report it"),
            }
        }
        DecodeError::UnexpectedNull { .. } => {
            Error::new(ErrorKind::Value, format!("{subject}: {error}")).advice("read the table with a query")
        }
        _ => Error::new(ErrorKind::Protocol, format!("{subject}: {error}")),
    }
}

/// An error of the server while it sends rows, of which so many have come. Text that it cannot convert ends them with the
/// row in question, all before it having been sent.
pub(crate) fn stream_error(
    plan: &Plan,
    part: Option<&Part>,
    n_rows: u64,
    error: pgarrow_protocol::Error,
) -> Error {
    let error = Error::from(error);
    match is_of_text(error.sqlstate()) {
        true => {
            let error = error.context(row_of(plan, part, n_rows + 1));
            with_select(error, plan, part, n_rows + 1, Mark::Behind(0))
        }
        false => error,
    }
}

/// Whether the server found a page or an index damaged; it then names a file, and no table.
pub(crate) fn is_of_damage(sqlstate: Option<&str>) -> bool {
    matches!(sqlstate, Some("XX001" | "XX002"))
}

/// A row, counted from 1 in its slice: which one of the part it is, and which part that is.
fn row_of(plan: &Plan, part: Option<&Part>, row: u64) -> String {
    let is_all = plan.slices.len() <= 1;
    match part {
        Some(part) => {
            format!("row {}{}", row.saturating_sub(part.rows_before), part.place(&plan.subject, is_all))
        }
        None if is_all => format!("row {row}"),
        None => format!("row {row} of its slice"),
    }
}

/// With a SELECT that shows the row, or, where a test tells them, rows like it. A [`Mark::Behind`] is counted here.
fn with_select(error: Error, plan: &Plan, part: Option<&Part>, row: u64, mark: Mark<'_>) -> Error {
    let Some(part) = part else { return error };
    let (mark, place_alone) = match mark {
        Mark::Value { .. } => (mark, false),
        // Text that the server cannot convert could not be shown, either.
        Mark::Behind(_) => {
            let before = row.saturating_sub(part.rows_before).saturating_sub(1);
            (Mark::Behind(before), error.kind() == ErrorKind::Server)
        }
    };
    let Some(select) = plan.show(part, mark, place_alone) else { return error };
    match mark {
        Mark::Value { .. } => error.advice(format_args!("rows like it: {select}")),
        Mark::Behind(_) => error.advice(format_args!("it is this row, until something is changed: {select}")),
    }
}

/// What is true of values that are refused for this reason, with `$` for the column; `None` where only the decoder knows.
fn test(column: &PgColumn, cause: ValueError) -> Option<String> {
    let pg_type = &column.pg_type;
    match cause {
        ValueError::Infinite if pg_type.is_decided_by(Choice::Infinity) => Some("NOT isfinite($)".to_owned()),
        ValueError::Infinite if pg_type.numeric().is_some() => {
            Some("$ IN ('Infinity', '-Infinity')".to_owned())
        }
        ValueError::NotANumber if pg_type.numeric().is_some() => Some("$ = 'NaN'".to_owned()),
        ValueError::Dimensions { expected, .. } if pg_type.is_decided_by(Choice::Arrays) => {
            Some(format!("array_ndims($) <> {expected}"))
        }
        _ => None,
    }
}

/// The choices with which the export would not stop at such a value; `None` if the value is not the user's. `element`: the
/// name of the type of an array's elements.
fn advice(column: &PgColumn, element: Option<&str>, cause: ValueError) -> Option<String> {
    let name = typed(&column.name);
    let any = |is: &dyn Fn(&PgType) -> bool| has(&column.pg_type, is);
    let has_decimals = any(&|pg_type| is_decimal(pg_type, column));
    let has_intervals = any(&|pg_type| pg_type.is_decided_by(Choice::Interval));
    let has_timestamps = any(&|pg_type| pg_type.is_decided_by(Choice::TimestampUnit));
    let decimal = format!("a larger decimal (--column {name}:decimal(P,S))");
    let mut choices: Vec<String> = Vec::new();
    match cause {
        ValueError::Infinite => choices.push("--infinity null|saturate".to_owned()),
        ValueError::NotANumber => choices.push("--nan null".to_owned()),
        ValueError::OutOfRange => {
            if column.options.timestamp_unit == TimestampUnit::Nanosecond && has_timestamps {
                choices.push("--timestamp-unit us".to_owned());
            }
            if has_intervals && column.options.interval == IntervalForm::MonthDayNano {
                choices.push("--interval struct".to_owned());
            }
            choices.extend(has_decimals.then_some(decimal));
            // What no double is near to has too many digits for a decimal, too.
            let has_doubles = column.options.numeric == NumericForm::Float64
                && any(&|pg_type| pg_type.is_decided_by(Choice::Numeric));
            choices.extend(has_doubles.then(|| format!("--column {name}:numeric=text")));
            choices.push("--out-of-range null|saturate".to_owned());
        }
        ValueError::LostDigits => {
            choices.push("--lost-digits round".to_owned());
            choices.extend(has_timestamps.then(|| "--timestamp-unit us".to_owned()));
            choices.extend(has_decimals.then_some(decimal));
        }
        ValueError::Dimensions { expected, found } => {
            choices.push("--arrays shaped".to_owned());
            // What an array of arrays is, is said for the column as a whole.
            if let (PgType::Array(_), 1) = (&column.pg_type, expected) {
                let element = element.unwrap_or("TYPE");
                let brackets = "[]".repeat(found.into());
                choices
                    .push(format!("lists in lists (--arrays nested, --column {name}:{element}{brackets})"));
            }
        }
        ValueError::Srid => {
            choices.push(format!("--column {name}:geometry=ewkb"));
            choices.push("a cast to geometry(…, SRID) in a query".to_owned());
        }
        ValueError::Utf8 => {
            let policies = match column.options.encoding {
                EncodingPolicy::Error => "replace|latin1|binary",
                // It is a key of hstore, of which nothing is replaced.
                _ => "binary",
            };
            choices.extend(any(&PgType::is_stored_text).then(|| format!("--encoding-policy {policies}")));
            if !matches!(column.pg_type, PgType::Text | PgType::ServerText { .. }) {
                choices.push(format!("--column {name}:text,encoding-policy=binary"));
            }
            return Some(format!("choose {}", choices.join(", or ")));
        }
        ValueError::BatchTooLarge => {
            return Some(format!(
                "make batches smaller (--batch-bytes), or read the column as text (--column {name}:text)"
            ));
        }
        _ => return None,
    }
    if !matches!(column.pg_type, PgType::ServerText { .. }) {
        choices.push(format!("--column {name}:text, which keeps every value"));
    }
    Some(format!("choose {}", choices.join(", or ")))
}

fn is_decimal(pg_type: &PgType, column: &PgColumn) -> bool {
    pg_type.numeric().is_some_and(|numeric| match numeric.form(column.options.numeric) {
        DecimalForm::Decimal128 { .. } | DecimalForm::Decimal256 { .. } => true,
        DecimalForm::Float64 | DecimalForm::Text => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgarrow_types::{ArrayType, Attribute, CompositeType, Decimal, NumericType, RangeType, TypeOptions};
    use std::sync::Arc;

    fn column(pg_type: PgType, type_name: &str, options: TypeOptions) -> PgColumn {
        PgColumn {
            name: "Of It".to_owned(),
            pg_type,
            type_oid: 1,
            type_modifier: -1,
            type_name: type_name.to_owned(),
            nullable: true,
            comment: None,
            number: 1,
            options,
        }
    }

    #[test]
    fn every_refused_value_has_a_way_out() {
        let decimal = PgType::Numeric(NumericType::Declared { precision: 5, scale: 2 });
        let array = PgType::Array(Arc::new(ArrayType {
            element: PgType::Int4,
            element_oid: 23,
            dimensions: 1,
            is_vector: false,
        }));
        let numeric = PgType::Numeric(NumericType::Unconstrained);
        let composite = |types: Vec<PgType>| {
            let attribute = |pg_type| Attribute {
                name: "a".to_owned(),
                pg_type,
                type_oid: 1,
                type_name: "a type".to_owned(),
            };
            let attributes = types.into_iter().map(attribute).collect();
            PgType::Composite(Arc::new(CompositeType { attributes }))
        };
        let chosen = NumericForm::Decimal(Decimal::new(5, 2).unwrap());
        let decimals = TypeOptions { numeric: chosen, ..TypeOptions::default() };
        let ns = TypeOptions { timestamp_unit: TimestampUnit::Nanosecond, ..TypeOptions::default() };
        let run = TypeOptions::default();
        for (pg_type, type_name, options, cause, ways) in [
            (PgType::Date, "date", run, ValueError::Infinite, vec!["--infinity null|saturate"]),
            (decimal.clone(), "numeric(5,2)", run, ValueError::NotANumber, vec!["--nan null"]),
            (
                PgType::Timestamp,
                "timestamp",
                ns,
                ValueError::OutOfRange,
                vec!["--timestamp-unit us", "--out-of-range"],
            ),
            (
                PgType::Interval { has_infinities: true },
                "interval",
                run,
                ValueError::OutOfRange,
                vec!["--interval struct"],
            ),
            (
                decimal,
                "numeric(5,2)",
                run,
                ValueError::LostDigits,
                vec!["decimal(P,S)", "--lost-digits round"],
            ),
            (
                array,
                "a_domain",
                run,
                ValueError::Dimensions { expected: 1, found: 3 },
                vec!["--arrays shaped", "--column \"Of It\":integer[][][]"],
            ),
        ] {
            let text = advice(&column(pg_type, type_name, options), Some("integer"), cause).unwrap();
            for way in ways.into_iter().chain(["--column \"Of It\":text"]) {
                assert!(text.contains(way), "{cause:?}: {text}");
            }
        }
        let utf8 = |pg_type| advice(&column(pg_type, "of it", run), None, ValueError::Utf8).unwrap();
        assert_eq!(utf8(PgType::Text), "choose --encoding-policy replace|latin1|binary");
        let replaced = TypeOptions { encoding: EncodingPolicy::Replace, ..run };
        let key = advice(&column(PgType::Hstore, "hstore", replaced), None, ValueError::Utf8).unwrap();
        assert!(key.starts_with("choose --encoding-policy binary, or "), "{key}");
        assert_eq!(utf8(PgType::Ltree), "choose --column \"Of It\":text,encoding-policy=binary");
        // Other policies than that of the value do nothing to it: --infinity was named for NaN, first of all.
        let range = PgType::Range(Arc::new(RangeType { subtype: PgType::Date }));
        let both = column(composite(vec![numeric.clone(), range]), "pair", decimals);
        let ways = |cause| advice(&both, None, cause).unwrap();
        assert_eq!(
            ways(ValueError::NotANumber),
            "choose --nan null, or --column \"Of It\":text, which keeps every value"
        );
        assert_eq!(
            ways(ValueError::Infinite),
            "choose --infinity null|saturate, or --column \"Of It\":text, which keeps every value"
        );
        // No decimal holds what no double is near to.
        let doubles = TypeOptions { numeric: NumericForm::Float64, ..run };
        let text =
            advice(&column(composite(vec![numeric]), "one", doubles), None, ValueError::OutOfRange).unwrap();
        assert!(
            text.starts_with("choose --column \"Of It\":numeric=text, or --out-of-range null|saturate"),
            "{text}"
        );
        // Nobody's choice.
        assert_eq!(advice(&column(PgType::Int4, "integer", run), None, ValueError::Length), None);
    }
}
