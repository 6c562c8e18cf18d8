//! The choices about types, applied to the columns that the catalog has resolved.
//!
//! ```text
//!  ResolvedColumn ──┬─ choices of the run ──────┬──▶ PgColumn, and warnings
//!                   └─ choices for this column ─┘
//! ```
//!
//! A choice for one column that has no meaning for its type is refused, so that no user believes that it had
//! an effect.

mod meaning;

pub(crate) use meaning::has;

use std::collections::BTreeSet;
use std::sync::Arc;

use pgarrow_catalog::{ResolvedColumn, TypeNote, meant};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::{
    ArrayType, ColumnForm, ColumnOptions, ColumnType, Decimal, DecimalForm, Hint, NumericForm, NumericType,
    OpaqueColumns, PgColumn, PgType, Structure, TypeOptions, UnknownTypes, message,
};

use crate::options::{ExportOptions, ReadMode};
use crate::slice::schema_fingerprint;

/// Columns as they are read, and what the user should know about them.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) columns: Vec<PgColumn>,
    pub(crate) warnings: Vec<String>,
    /// For each column that is an array, the name of its element type in SQL.
    pub(crate) element_names: Vec<Option<String>>,
    /// The columns that are not decoded.
    pub(crate) opaque: OpaqueColumns,
    /// The fingerprint of the columns before any choice.
    pub(crate) fingerprint: String,
}

/// Applies the choices to the columns of `subject`.
///
/// # Errors
///
/// [`ErrorKind::Options`] for choices that the columns' types do not have, for types that nest too deep, and
/// for unknown types if they are to be errors; the server's errors.
pub(crate) fn choose(
    session: &mut Session,
    subject: &str,
    resolved: Vec<ResolvedColumn>,
    options: &ExportOptions,
) -> Result<Chosen> {
    let mut problems = Vec::new();
    let chosen = choose_and_say(session, subject, resolved, options, &mut problems)?;
    Error::all(problems).map_or(Ok(chosen), Err)
}

/// As [`choose`], but errors about columns go to `problems`, and those columns are left out.
pub(crate) fn choose_and_say(
    session: &mut Session,
    subject: &str,
    resolved: Vec<ResolvedColumn>,
    options: &ExportOptions,
    problems: &mut Vec<Error>,
) -> Result<Chosen> {
    let fingerprint = schema_fingerprint(resolved.iter().map(|column| &column.column));
    let mut chosen = Chosen { fingerprint, ..Chosen::default() };
    let mut opaque = Vec::new();
    for mut column in resolved {
        if let Some(as_is) = undecoded(&column.column, options) {
            opaque.push((as_is.name.clone(), column_type(&as_is)));
            chosen.element_names.push(None);
            chosen.columns.push(as_is);
            continue;
        }
        let element_name = column.element_name.take();
        let of_column = options.columns.get(&column.column.name);
        let choice = Choice { subject, name: column.column.name.clone(), resolved: column };
        let (column, warning) = match choice.apply(session, of_column, options) {
            Ok(applied) => applied,
            // An error of the server ends the transaction.
            Err(error) if error.kind() == ErrorKind::Options => {
                problems.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        chosen.element_names.push(element_name);
        chosen.columns.push(column);
        chosen.warnings.extend(warning);
    }
    chosen.opaque = opaque.into_iter().collect();
    Ok(chosen)
}

/// The column as bytes, if it may stay undecoded: no choice would change its values.
fn undecoded(column: &PgColumn, options: &ExportOptions) -> Option<PgColumn> {
    let TypeOptions { infinity, nan, out_of_range, lost_digits, trim, encoding, .. } = options.types;
    let plain = TypeOptions::default();
    let is_plain = infinity == plain.infinity
        && nan == plain.nan
        && out_of_range == plain.out_of_range
        && lost_digits == plain.lost_digits
        && trim == plain.trim
        && encoding == plain.encoding
        && !options.columns.contains_key(&column.name);
    let may_be = is_plain
        && options.read_mode != ReadMode::Pages
        && options.opaque.takes(&column.name, column_type(column));
    may_be.then(|| PgColumn { pg_type: PgType::Bytea, options: options.types, ..column.clone() })
}

fn column_type(column: &PgColumn) -> ColumnType {
    ColumnType { oid: column.type_oid, modifier: column.type_modifier }
}

/// Refuses choices for columns that do not exist.
pub(crate) fn all_exist<'a>(
    options: &ExportOptions,
    subject: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    Error::all(not_there(options, subject, names)).map_or(Ok(()), Err)
}

/// An error for each choice for a column that does not exist.
pub(crate) fn not_there<'a>(
    options: &ExportOptions,
    subject: &str,
    names: impl Iterator<Item = &'a str>,
) -> Vec<Error> {
    let mut missing: BTreeSet<&str> = options.columns.keys().map(String::as_str).collect();
    let names: Vec<&str> = names.collect();
    for name in &names {
        missing.remove(name);
    }
    let error = |name| {
        let near = meant(name, names.iter().copied());
        let text =
            format!("there is a choice for column {name:?}, but no such column of {subject} is read{near}");
        Error::new(ErrorKind::Options, text)
    };
    missing.into_iter().map(error).collect()
}

/// One column while its choices are applied.
struct Choice<'a> {
    subject: &'a str,
    name: String,
    resolved: ResolvedColumn,
}

impl Choice<'_> {
    fn apply(
        self,
        session: &mut Session,
        of_column: Option<&ColumnOptions>,
        options: &ExportOptions,
    ) -> Result<(PgColumn, Option<String>)> {
        let mut column = self.resolved.column.clone();
        column.options = of_column.map_or(options.types, |of_column| of_column.apply(options.types));
        let is_text = of_column.is_some_and(|of_column| of_column.form == Some(ColumnForm::Text));
        let mut warning = None;
        if is_text {
            column.pg_type = PgType::ServerText { warn: false };
        } else if let Some(note) = &self.resolved.note {
            warning = Some(self.noted(note, column.options.unknown_types)?);
        }
        if let Some(of_column) = of_column {
            if let Some(ColumnForm::Array { element, depth }) = &of_column.form {
                self.check_element(session, element)?;
                column.pg_type = with_depth(&column.pg_type, *depth).ok_or_else(|| {
                    let why = match column.pg_type.structure() {
                        Structure::Array(_) => "has one dimension always",
                        Structure::Plain
                        | Structure::Composite(_)
                        | Structure::Range(_)
                        | Structure::Multirange(_) => "is read as text as a whole",
                    };
                    self.refused(&format!("{why}, so it cannot have {depth}"))
                })?;
            }
            if let Some(NumericForm::Decimal(decimal)) = of_column.numeric {
                let is_numeric = |pg_type: &PgType| pg_type.numeric().is_some();
                let what = match has(&column.pg_type, &is_numeric) {
                    true => "has no numeric in it whose decimal is not declared",
                    false => "is neither numeric nor has any in it",
                };
                column.pg_type = with_decimal(&column.pg_type, decimal).ok_or_else(|| {
                    self.refused(&format!("{what}, so it cannot be {}", NumericForm::Decimal(decimal)))
                })?;
            }
            if of_column.unknown_types.is_some() && (is_text || self.resolved.note.is_none()) {
                let what = if is_text { "is read as text anyway" } else { "is of a type that is decoded" };
                return Err(self.refused(&format!("{what}, so unknown-types means nothing for it")));
            }
            meaning::check(of_column, &column).map_err(|why| self.refused(&why))?;
        }
        Ok((column, warning))
    }

    /// The warning about a column that is not read as its type, or an error if that is not allowed.
    fn noted(&self, note: &TypeNote, unknown_types: UnknownTypes) -> Result<String> {
        let type_name = &self.resolved.column.type_name;
        match note {
            TypeNote::Text { .. } if unknown_types == UnknownTypes::Error => {
                Err(self.undecoded(&format!("cannot be decoded, since {note}")))
            }
            TypeNote::Text { because } => {
                let why = if because == type_name { String::new() } else { format!(", since {note}") };
                Ok(format!("column {:?} ({type_name}) is read as text{why}", self.name))
            }
            _ => Err(self.undecoded(&format!("cannot be decoded: {note}"))),
        }
    }

    fn undecoded(&self, why: &str) -> Error {
        self.refused(why).advice(message![
            "leave the column out, or read it as text (",
            Hint::column(&self.name, "text"),
            ")"
        ])
    }

    /// Checks that the column is an array of this type. The server resolves the name, as in a cast.
    fn check_element(&self, session: &mut Session, element: &str) -> Result<()> {
        let Some(element_oid) = self.resolved.element_oid else {
            return Err(self.refused(&format!("is no array, so it cannot be an array of {element}")));
        };
        let sql = "SELECT pg_catalog.to_regtype($1)::pg_catalog.oid::pg_catalog.text, \
                   pg_catalog.format_type($2::pg_catalog.oid, NULL)";
        let rows = session
            .query(sql, &[Some(element), Some(&element_oid.to_string())])
            .map_err(|error| Error::from(error).context(format!("the choice for column {:?}", self.name)))?;
        let text = |index| rows.first().and_then(|row| row.text(index)).unwrap_or_default();
        match text(0) == element_oid.to_string() {
            true => Ok(()),
            false => Err(self.refused(&format!("is an array of {}, not of {element}", text(1)))),
        }
    }

    /// `public.orders, column "total" of type numeric …`.
    fn refused(&self, why: &str) -> Error {
        let type_name = &self.resolved.column.type_name;
        let text = format!("{}, column {:?} of type {type_name} {why}", self.subject, self.name);
        Error::new(ErrorKind::Options, text)
    }
}

/// The array type, as if it were declared with `depth` dimensions; `None` if it cannot be. Arrays inside its
/// elements keep their own.
fn with_depth(pg_type: &PgType, depth: u8) -> Option<PgType> {
    match pg_type.structure() {
        Structure::Array(array) if !array.is_vector || depth == 1 => {
            Some(PgType::Array(Arc::new(ArrayType {
                element: array.element.clone(),
                element_oid: array.element_oid,
                dimensions: depth,
                is_vector: array.is_vector,
            })))
        }
        Structure::Array(_)
        | Structure::Plain
        | Structure::Composite(_)
        | Structure::Range(_)
        | Structure::Multirange(_) => None,
    }
}

/// The numeric type, or an array of it, as this decimal, whatever its declaration. Numerics inside other
/// types keep their declarations; the choice itself covers those without one. `None` if there is no numeric
/// to change.
fn with_decimal(pg_type: &PgType, decimal: Decimal) -> Option<PgType> {
    let (precision, scale) = (decimal.precision().into(), decimal.scale().into());
    if pg_type.numeric().is_some() {
        return Some(PgType::Numeric(NumericType::Declared { precision, scale }));
    }
    match pg_type.structure() {
        Structure::Array(array) => Some(PgType::Array(Arc::new(ArrayType {
            element: with_decimal(&array.element, decimal)?,
            element_oid: array.element_oid,
            dimensions: array.dimensions,
            is_vector: array.is_vector,
        }))),
        Structure::Plain | Structure::Composite(_) | Structure::Range(_) | Structure::Multirange(_) => {
            has(pg_type, &is_without_decimal).then(|| pg_type.clone())
        }
    }
}

/// Whether it is a numeric whose declaration names no decimal that holds all of its values.
fn is_without_decimal(pg_type: &PgType) -> bool {
    pg_type.numeric().is_some_and(|numeric| numeric.decimal_form() == DecimalForm::Text)
}

/// Whether the column becomes text, or has text inside, only because a numeric has no decimal: it declares no
/// precision, or more than any decimal has, and the user chose nothing for it.
pub(crate) fn is_text_for_want_of_a_decimal(column: &PgColumn) -> bool {
    let form = column.options.numeric;
    let is_text =
        |pg_type: &PgType| pg_type.numeric().is_some_and(|numeric| numeric.form(form) == DecimalForm::Text);
    match form {
        NumericForm::Text => false,
        // The scan reports what it found.
        NumericForm::Scan if column.pg_type.numeric().is_some() => false,
        _ => has(&column.pg_type, &is_text),
    }
}
