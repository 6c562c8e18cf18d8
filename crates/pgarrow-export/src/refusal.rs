//! Errors about a row that cannot become Arrow: where it is, and which choice lets the export continue.

use pgarrow_column::ValueError;
use pgarrow_decode::DecodeError;
use pgarrow_session::{Error, ErrorKind, Place, is_of_text};
use pgarrow_types::option::{
    ARRAYS, BATCH_BYTES, ENCODING, INFINITY, INTERVAL, LOST_DIGITS, NAN, OUT_OF_RANGE, TIMESTAMP_UNIT,
};
use pgarrow_types::{
    Choice, DecimalForm, EncodingPolicy, Hint, IntervalForm, Message, NumericForm, PgColumn, PgType,
    TimestampUnit, message,
};

use crate::choose::has;
use crate::plan::Plan;
use crate::planner::select::find::{Mark, Part};

/// The error says where: table, column, type and row; what to do; and how to see the row. `part`: what was
/// being read.
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
            let place = place(plan, part, number).with_column(column);
            let error = Error::new(ErrorKind::Value, text).at(place).caused_by(cause);
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
            let text = format!("{subject}: {error}");
            Error::new(ErrorKind::Value, text).caused_by(error).advice("read the table with a query")
        }
        _ => Error::new(ErrorKind::Protocol, format!("{subject}: {error}")).caused_by(error),
    }
}

/// An error of the server after it sent `n_rows` rows. If it cannot convert a text, it has sent all rows
/// before the one with that text.
pub(crate) fn stream_error(
    plan: &Plan,
    part: Option<&Part>,
    n_rows: u64,
    error: pgarrow_protocol::Error,
) -> Error {
    let error = Error::from(error);
    match is_of_text(error.sqlstate()) {
        true => {
            let error = error.context(row_of(plan, part, n_rows + 1)).at(place(plan, part, n_rows + 1));
            with_select(error, plan, part, n_rows + 1, Mark::Behind(0))
        }
        false => error,
    }
}

/// Where a row is, counted from 1 in its slice.
fn place(plan: &Plan, part: Option<&Part>, row: u64) -> Place {
    let place = match &plan.relation {
        Some(relation) => Place::default().with_table(&relation.schema, &relation.name),
        None => Place::default(),
    };
    place.with_row(row.saturating_sub(part.map_or(0, |part| part.rows_before)))
}

/// Whether the server found a damaged page or index; its error names a file and no table.
pub(crate) fn is_of_damage(sqlstate: Option<&str>) -> bool {
    matches!(sqlstate, Some("XX001" | "XX002"))
}

/// A row, counted from 1 in its slice, in words: its number in the part, and the part.
pub(crate) fn row_of(plan: &Plan, part: Option<&Part>, row: u64) -> String {
    let is_all = plan.slices.len() <= 1;
    match part {
        Some(part) => {
            format!("row {}{}", row.saturating_sub(part.rows_before), part.place(&plan.subject, is_all))
        }
        None if is_all => format!("row {row}"),
        None => format!("row {row} of its slice"),
    }
}

/// Adds a SELECT that shows the row, or, if a test describes them, rows like it. The number in a
/// [`Mark::Behind`] is computed here.
fn with_select(error: Error, plan: &Plan, part: Option<&Part>, row: u64, mark: Mark<'_>) -> Error {
    let Some(part) = part else { return error };
    let (mark, place_alone) = match mark {
        Mark::Value { .. } => (mark, false),
        // Text that the server cannot convert cannot be shown, either.
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

/// A condition for values that are refused for this reason, with `$` for the column; `None` if only the
/// decoder can decide.
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

/// The choices with which the export would not stop at such a value; `None` if no choice helps. `element`:
/// the name of an array's element type.
fn advice(column: &PgColumn, element: Option<&str>, cause: ValueError) -> Option<Message> {
    let of_column = |choice: &str| Hint::column(&column.name, choice);
    let any = |is: &dyn Fn(&PgType) -> bool| has(&column.pg_type, is);
    let has_decimals = any(&|pg_type| is_decimal(pg_type, column));
    let has_intervals = any(&|pg_type| pg_type.is_decided_by(Choice::Interval));
    let has_timestamps = any(&|pg_type| pg_type.is_decided_by(Choice::TimestampUnit));
    let decimal = message!["a larger decimal (", of_column("decimal(P,S)"), ")"];
    let mut choices: Vec<Message> = Vec::new();
    match cause {
        ValueError::Infinite => choices.push(INFINITY.to("null|saturate").into()),
        ValueError::NotANumber => choices.push(NAN.to("null").into()),
        ValueError::OutOfRange => {
            if column.options.timestamp_unit == TimestampUnit::Nanosecond && has_timestamps {
                choices.push(TIMESTAMP_UNIT.to("us").into());
            }
            if has_intervals && column.options.interval == IntervalForm::MonthDayNano {
                choices.push(INTERVAL.to("struct").into());
            }
            choices.extend(has_decimals.then_some(decimal));
            // A value that is near to no double has too many digits for a decimal, too.
            let has_doubles = column.options.numeric == NumericForm::Float64
                && any(&|pg_type| pg_type.is_decided_by(Choice::Numeric));
            choices.extend(has_doubles.then(|| of_column("numeric=text").into()));
            choices.push(OUT_OF_RANGE.to("null|saturate").into());
        }
        ValueError::LostDigits => {
            choices.push(LOST_DIGITS.to("round").into());
            choices.extend(has_timestamps.then(|| TIMESTAMP_UNIT.to("us").into()));
            choices.extend(has_decimals.then_some(decimal));
        }
        ValueError::Dimensions { expected, found } => {
            choices.push(ARRAYS.to("shaped").into());
            // For an array of arrays, the choice is one for the whole column.
            if let (PgType::Array(_), 1) = (&column.pg_type, expected) {
                let element = element.unwrap_or("TYPE");
                let lists = of_column(&format!("{element}{}", "[]".repeat(found.into())));
                choices.push(message!["lists in lists (", ARRAYS.to("nested"), ", ", lists, ")"]);
            }
        }
        ValueError::Srid => {
            choices.push(of_column("geometry=ewkb").into());
            choices.push("a cast to geometry(…, SRID) in a query".into());
        }
        ValueError::Utf8 => {
            let policies = match column.options.encoding {
                EncodingPolicy::Error => "replace|latin1|binary",
                // It is a key of hstore, in which nothing is replaced.
                _ => "binary",
            };
            choices.extend(any(&PgType::is_stored_text).then(|| ENCODING.to(policies).into()));
            if !matches!(column.pg_type, PgType::Text | PgType::ServerText { .. }) {
                choices.push(of_column("text,encoding-policy=binary").into());
            }
            return Some(choose_one(choices));
        }
        ValueError::BatchTooLarge => {
            return Some(message![
                "make batches smaller (",
                BATCH_BYTES,
                "), or read the column as text (",
                of_column("text"),
                ")"
            ]);
        }
        _ => return None,
    }
    if !matches!(column.pg_type, PgType::ServerText { .. }) {
        choices.push(message![of_column("text"), ", which keeps every value"]);
    }
    Some(choose_one(choices))
}

fn choose_one(choices: Vec<Message>) -> Message {
    Message::join(choices, ", or ").behind("choose ")
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
            (PgType::Date, "date", run, ValueError::Infinite, vec!["infinity=null|saturate"]),
            (decimal.clone(), "numeric(5,2)", run, ValueError::NotANumber, vec!["nan=null"]),
            (
                PgType::Timestamp,
                "timestamp",
                ns,
                ValueError::OutOfRange,
                vec!["timestamp_unit=us", "out_of_range=null|saturate"],
            ),
            (
                PgType::Interval { has_infinities: true },
                "interval",
                run,
                ValueError::OutOfRange,
                vec!["interval=struct"],
            ),
            (
                decimal,
                "numeric(5,2)",
                run,
                ValueError::LostDigits,
                vec!["column \"Of It\":decimal(P,S)", "lost_digits=round"],
            ),
            (
                array,
                "a_domain",
                run,
                ValueError::Dimensions { expected: 1, found: 3 },
                vec!["arrays=shaped", "column \"Of It\":integer[][][]"],
            ),
        ] {
            let text = advice(&column(pg_type, type_name, options), Some("integer"), cause).unwrap();
            for way in ways.into_iter().chain(["column \"Of It\":text"]) {
                assert!(text.to_string().contains(way), "{cause:?}: {text}");
                assert!(text.hints().any(|hint| hint.to_string() == way), "{cause:?}: {way} as data");
            }
        }
        let utf8 = |pg_type| advice(&column(pg_type, "of it", run), None, ValueError::Utf8).unwrap();
        assert_eq!(utf8(PgType::Text), "choose encoding=replace|latin1|binary");
        let replaced = TypeOptions { encoding: EncodingPolicy::Replace, ..run };
        let key = advice(&column(PgType::Hstore, "hstore", replaced), None, ValueError::Utf8).unwrap();
        assert!(key.to_string().starts_with("choose encoding=binary, or "), "{key}");
        assert_eq!(utf8(PgType::Ltree), "choose column \"Of It\":text,encoding-policy=binary");
        // Only the policy of the value itself helps: formerly, infinity was named first for NaN.
        let range = PgType::Range(Arc::new(RangeType { subtype: PgType::Date }));
        let both = column(composite(vec![numeric.clone(), range]), "pair", decimals);
        let ways = |cause| advice(&both, None, cause).unwrap();
        assert_eq!(
            ways(ValueError::NotANumber),
            "choose nan=null, or column \"Of It\":text, which keeps every value"
        );
        assert_eq!(
            ways(ValueError::Infinite),
            "choose infinity=null|saturate, or column \"Of It\":text, which keeps every value"
        );
        // No decimal holds a value that is near to no double.
        let doubles = TypeOptions { numeric: NumericForm::Float64, ..run };
        let text =
            advice(&column(composite(vec![numeric]), "one", doubles), None, ValueError::OutOfRange).unwrap();
        assert!(
            text.to_string()
                .starts_with("choose column \"Of It\":numeric=text, or out_of_range=null|saturate"),
            "{text}"
        );
        // No choice helps.
        assert_eq!(advice(&column(PgType::Int4, "integer", run), None, ValueError::Length), None);
    }
}
