//! Which choices mean anything for a type, and what stands inside of it.

use pgarrow_types::{
    ColumnForm, ColumnOptions, DecimalForm, IntervalForm, NumericForm, PgColumn, PgType, TimestampUnit,
    TypeOptions,
};

/// Whether every choice that was made for a column does something to it; else what does not, as the end of a sentence
/// that names the column.
pub(super) fn check(of_column: &ColumnOptions, column: &PgColumn) -> Result<(), String> {
    let options = &column.options;
    let any = |is: &dyn Fn(&PgType) -> bool| has(&column.pg_type, is);
    let is_decimal = |pg_type: &PgType| match pg_type {
        PgType::Numeric(numeric) => {
            matches!(
                numeric.form(options.numeric),
                DecimalForm::Decimal128 { .. } | DecimalForm::Decimal256 { .. }
            ) || options.numeric == NumericForm::Scan
        }
        _ => false,
    };
    let checks: [(bool, &str, bool, &str); 11] = [
        (
            of_column.infinity.is_some(),
            "infinity",
            any(&|pg_type| is_time(pg_type, options)),
            "no dates, timestamps or intervals",
        ),
        (of_column.nan.is_some(), "nan", any(&is_decimal), "no decimals"),
        (
            of_column.out_of_range.is_some(),
            "out-of-range",
            any(&|pg_type| is_decimal(pg_type) || has_range(pg_type, options)),
            "nothing that could be out of range",
        ),
        (
            of_column.lost_digits.is_some(),
            "lost-digits",
            any(&|pg_type| is_decimal(pg_type) || is_of_milliseconds(pg_type, options)),
            "nothing that could lose digits",
        ),
        (
            of_column.numeric.is_some(),
            "numeric",
            any(&|pg_type| matches!(pg_type, PgType::Numeric(_))),
            "no numeric",
        ),
        (
            of_column.interval.is_some(),
            "interval",
            any(&|pg_type| matches!(pg_type, PgType::Interval { .. })),
            "no interval",
        ),
        (
            of_column.arrays.is_some(),
            "arrays",
            any(&|pg_type| matches!(pg_type, PgType::Array(array) if !array.is_vector)),
            "no array",
        ),
        (of_column.enums.is_some(), "enum", any(&|pg_type| matches!(pg_type, PgType::Enum(_))), "no enum"),
        (of_column.trim.is_some(), "trim", any(&|pg_type| matches!(pg_type, PgType::Bpchar)), "no char(n)"),
        (
            of_column.timestamp_unit.is_some(),
            "timestamp-unit",
            any(&|pg_type| matches!(pg_type, PgType::Timestamp | PgType::Timestamptz)),
            "no timestamps",
        ),
        (
            of_column.geometry.is_some(),
            "geometry",
            any(&|pg_type| matches!(pg_type, PgType::Geometry(_))),
            "no geometry",
        ),
    ];
    for (is_chosen, key, has_meaning, what) in checks {
        if is_chosen && !has_meaning {
            let read = match of_column.form {
                Some(ColumnForm::Text) => " as text",
                _ => "",
            };
            return Err(format!("is read{read} with {what} in it, so {key} means nothing for it"));
        }
    }
    if of_column.encoding.is_some() && !any(&PgType::is_stored_text) {
        return Err("is read with no text in it, so encoding-policy means nothing for it".to_owned());
    }
    match (&column.pg_type, of_column.numeric) {
        (PgType::Numeric(numeric), Some(NumericForm::Scan)) => match numeric.decimal_form() {
            DecimalForm::Text => Ok(()),
            _ => Err("declares how many digits it has, so scan means nothing for it".to_owned()),
        },
        (_, Some(NumericForm::Scan)) => {
            Err("is not numeric itself, so it cannot be scanned; give decimal(P,S)".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether a type, or anything inside of it, is so.
pub(crate) fn has(pg_type: &PgType, is: &dyn Fn(&PgType) -> bool) -> bool {
    is(pg_type)
        || match pg_type {
            PgType::Array(array) => has(&array.element, is),
            PgType::Range(range) | PgType::Multirange(range) => has(&range.subtype, is),
            PgType::Composite(composite) => {
                composite.attributes.iter().any(|attribute| has(&attribute.pg_type, is))
            }
            _ => false,
        }
}

/// Is a timestamp that becomes milliseconds.
fn is_of_milliseconds(pg_type: &PgType, options: &TypeOptions) -> bool {
    matches!(pg_type, PgType::Timestamp | PgType::Timestamptz)
        && options.timestamp_unit == TimestampUnit::Millisecond
}

/// Has infinities that its Arrow type has not.
fn is_time(pg_type: &PgType, options: &TypeOptions) -> bool {
    match pg_type {
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => true,
        PgType::Interval { .. } => options.interval != IntervalForm::Text,
        _ => false,
    }
}

/// Has finite values that its Arrow type has not, decimals aside.
fn has_range(pg_type: &PgType, options: &TypeOptions) -> bool {
    match pg_type {
        PgType::Timestamp | PgType::Timestamptz => true,
        PgType::Interval { .. } => options.interval == IntervalForm::MonthDayNano,
        PgType::Numeric(numeric) => numeric.form(options.numeric) == DecimalForm::Float64,
        _ => false,
    }
}
