//! Precision and scale of numerics that declare none, found by a query that reads all rows.
//!
//! ```text
//!  max(scale(c))            digits after the point
//!  max(abs(c))              digits before it
//! ```
//!
//! `scale` is NULL for NaN and the infinities, which have no digits; another choice decides about them.

use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::{Decimal, DecimalForm, NumericForm, NumericType, PgColumn, PgType};

use crate::choose::Chosen;
use crate::planner::select::Selection;

/// Columns of one query: each has two results, and a query has 1,664 at most.
const COLUMNS_MAX: usize = 800;

/// The decimal of a column without values: nothing is known, and the files should fit those of other days.
const WITHOUT_VALUES: (u8, u8) = (38, 10);

/// Finds the decimal of every numeric column that the user wants scanned. A column that no Arrow decimal
/// holds stays text, with a warning.
///
/// Runs in the keeper's transaction, under its snapshot. `only`: scans the relation's own rows.
///
/// # Errors
///
/// The server's.
pub(crate) fn scan(
    session: &mut Session,
    chosen: &mut Chosen,
    selection: &Selection,
    only: bool,
) -> Result<()> {
    let wanted: Vec<usize> = chosen
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| is_wanted(column))
        .map(|(index, _)| index)
        .collect();
    for indices in wanted.chunks(COLUMNS_MAX) {
        let sql = selection.aggregate(indices, only, digits);
        let rows = session.query(&sql, &[])?;
        let row = rows.first().ok_or_else(no_answer)?;
        for (index, place) in indices.iter().zip((0..).step_by(2)) {
            let Some(column) = chosen.columns.get_mut(*index) else { continue };
            let number = |text: Option<&str>| match text {
                None => Ok(None),
                Some(text) => text.parse::<u32>().map(Some).map_err(|_| no_answer()),
            };
            let (behind, before) = (number(row.text(place))?, number(row.text(place + 1))?);
            match decimal(before, behind) {
                Some(decimal) => {
                    let (precision, scale) = (decimal.precision().into(), decimal.scale().into());
                    column.pg_type = PgType::Numeric(NumericType::Declared { precision, scale });
                }
                None => chosen.warnings.push(format!(
                    "column {:?} ({}) has values of too many digits for a decimal, so it is read as text",
                    column.name, column.type_name
                )),
            }
        }
    }
    Ok(())
}

/// Whether the user wants a column scanned and its declaration does not already name a decimal.
pub(crate) fn is_wanted(column: &PgColumn) -> bool {
    column.options.numeric == NumericForm::Scan
        && column.pg_type.numeric().is_some_and(|numeric| numeric.decimal_form() == DecimalForm::Text)
}

/// The digits after and before the point of a numeric's finite values.
fn digits(expression: &str) -> String {
    let finite = format!("FILTER (WHERE pg_catalog.scale({expression}) IS NOT NULL)");
    let largest = format!("(pg_catalog.max(pg_catalog.abs({expression})) {finite})");
    format!(
        "pg_catalog.max(pg_catalog.scale({expression}))::pg_catalog.text, \
         CASE WHEN {largest} OPERATOR(pg_catalog.<) 1::pg_catalog.numeric THEN '0' \
         ELSE pg_catalog.length(pg_catalog.trunc({largest})::pg_catalog.text)::pg_catalog.text END"
    )
}

/// The smallest decimal with these numbers of digits before and after the point; `None` if there is none.
fn decimal(before: Option<u32>, behind: Option<u32>) -> Option<Decimal> {
    let (Some(before), Some(behind)) = (before, behind) else {
        return Decimal::new(WITHOUT_VALUES.0, WITHOUT_VALUES.1);
    };
    let precision = before.checked_add(behind)?.max(1);
    Decimal::new(u8::try_from(precision).ok()?, u8::try_from(behind).ok()?)
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Protocol, "the server does not say how many digits a column has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_decimal_that_holds_all() {
        let of = |before, behind| decimal(Some(before), Some(behind)).map(|d| (d.precision(), d.scale()));
        assert_eq!(of(5, 2), Some((7, 2)));
        assert_eq!(of(0, 0), Some((1, 0)));
        assert_eq!(of(0, 76), Some((76, 76)));
        assert_eq!(of(76, 0), Some((76, 0)));
        assert_eq!((of(76, 1), of(0, 77), of(131_072, 16_383)), (None, None, None));
        assert_eq!(decimal(None, None), Decimal::new(38, 10));
    }
}
