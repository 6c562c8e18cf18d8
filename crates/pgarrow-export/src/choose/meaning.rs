//! Which choices have a meaning for a type, or for a type inside it.

use pgarrow_types::{
    Choice, ColumnForm, ColumnOptions, DecimalForm, NumericForm, PgColumn, PgType, Structure,
};

/// Checks that every choice for a column has an effect. The error ends a sentence that begins with the
/// column.
pub(super) fn check(of_column: &ColumnOptions, column: &PgColumn) -> Result<(), String> {
    let options = &column.options;
    let heeds = |choice| has(&column.pg_type, &|pg_type| pg_type.heeds(choice, options));
    let checks: [(bool, &str, Choice, &str); 11] = [
        (of_column.infinity.is_some(), "infinity", Choice::Infinity, "no dates, timestamps or intervals"),
        (of_column.nan.is_some(), "nan", Choice::Nan, "no decimals"),
        (
            of_column.out_of_range.is_some(),
            "out-of-range",
            Choice::OutOfRange,
            "nothing that could be out of range",
        ),
        (
            of_column.lost_digits.is_some(),
            "lost-digits",
            Choice::LostDigits,
            "nothing that could lose digits",
        ),
        (of_column.numeric.is_some(), "numeric", Choice::Numeric, "no numeric"),
        (of_column.interval.is_some(), "interval", Choice::Interval, "no interval"),
        (of_column.arrays.is_some(), "arrays", Choice::Arrays, "no array"),
        (of_column.enums.is_some(), "enum", Choice::Enums, "no enum"),
        (of_column.trim.is_some(), "trim", Choice::Trim, "no char(n)"),
        (of_column.timestamp_unit.is_some(), "timestamp-unit", Choice::TimestampUnit, "no timestamps"),
        (of_column.geometry.is_some(), "geometry", Choice::Geometry, "no geometry"),
    ];
    for (is_chosen, key, choice, what) in checks {
        if is_chosen && !heeds(choice) {
            let read = match of_column.form {
                Some(ColumnForm::Text) => " as text",
                _ => "",
            };
            return Err(format!("is read{read} with {what} in it, so {key} means nothing for it"));
        }
    }
    if of_column.encoding.is_some() && !heeds(Choice::Encoding) {
        return Err("is read with no text in it, so encoding-policy means nothing for it".to_owned());
    }
    match (column.pg_type.numeric(), of_column.numeric) {
        (Some(numeric), Some(NumericForm::Scan)) => match numeric.decimal_form() {
            DecimalForm::Text => Ok(()),
            _ => Err("declares how many digits it has, so scan means nothing for it".to_owned()),
        },
        (_, Some(NumericForm::Scan)) => {
            Err("is not numeric itself, so it cannot be scanned; give decimal(P,S)".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether `is` holds for a type, or for any type inside it.
pub(crate) fn has(pg_type: &PgType, is: &dyn Fn(&PgType) -> bool) -> bool {
    is(pg_type)
        || match pg_type.structure() {
            Structure::Plain => false,
            Structure::Array(array) => has(&array.element, is),
            Structure::Range(range) | Structure::Multirange(range) => has(&range.subtype, is),
            Structure::Composite(composite) => {
                composite.attributes.iter().any(|attribute| has(&attribute.pg_type, is))
            }
        }
}
