//! How the values of a column are compared: which bytes of it are hashed, on the server and here.
//!
//! ```text
//!  strings    the server's text: what its output function prints, and what the file has
//!  others     the bytes of the type's send function, which the encoder of loads makes from Arrow's values
//! ```

use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use pgarrow_encode::{Bound, Conversions, Encoder, TypeTarget, make_encoder};
use pgarrow_export::{ArrayForm, IntervalForm, PgColumn, TypeOptions, quote_identifier};
use pgarrow_types::{ArrayType, DeclaredType, PgType, Structure, oid};

use super::digest::{Digest, Hash};
use super::numbers::NumberForm;
use crate::manifest::ManifestColumn;
use crate::texts::Texts;

/// A column of a table, in the files and on the server.
#[derive(Debug)]
pub(super) struct ComparedColumn {
    pub(super) name: String,
    /// Its index in the files.
    pub(super) index: usize,
    /// How its values are compared; or why they are not.
    pub(super) form: Result<Form, String>,
    /// Values that a choice about types made NULL, at most.
    pub(super) n_nulled: u64,
    /// How smallest, largest and sum are compared, if they are.
    pub(super) numbers: Option<NumberForm>,
}

/// Which bytes of a value are hashed.
#[derive(Debug)]
pub(super) struct Form {
    bytes: BytesOf,
    /// The same on the server: SQL of type bytea, NULL for NULL.
    pub(super) sql: String,
}

#[derive(Debug)]
enum BytesOf {
    /// The text, without the blanks at its end for `char(n)`, where they mean nothing and may be left out.
    Text { trim: bool },
    /// What the send function makes; of an array, without its mark of NULLs.
    Sent { encoder: Box<dyn Encoder>, is_array: bool },
}

impl ComparedColumn {
    /// A column of the server with this send function, as a field of the files.
    pub(super) fn new(
        column: &PgColumn,
        send: Option<&str>,
        (index, field): (usize, &Field),
        known: Option<&ManifestColumn>,
    ) -> Self {
        let name = column.name.clone();
        let changed = known.and_then(|known| changed(known, column, field));
        let form = match &changed {
            Some(why) => Err(why.clone()),
            None => Form::new(column, send, field),
        };
        let numbers = match changed {
            Some(_) => None,
            None => number_form(&column.pg_type, field.data_type()),
        };
        let nulled = |known: &ManifestColumn| {
            let nulled = known.effects.iter().filter(|(effect, _)| effect.ends_with("_nulled"));
            nulled.map(|(_, count)| *count).sum()
        };
        Self { name, index, form, n_nulled: known.map_or(0, nulled), numbers }
    }

    /// The column in SQL.
    pub(super) fn quoted(&self) -> String {
        quote_identifier(&self.name)
    }
}

/// Why values are not those of the server: a choice about types changed some.
fn changed(known: &ManifestColumn, column: &PgColumn, field: &Field) -> Option<String> {
    let is_list = is_plain_list(&column.pg_type, field.data_type());
    let harmless = |effect: &str| {
        effect == "end_of_day"
            || (effect == "trimmed" && column.pg_type == PgType::Bpchar)
            || (effect == "lower_bound_dropped" && is_list)
    };
    let n_changed: u64 =
        known.effects.iter().filter(|(effect, _)| !harmless(effect)).map(|(_, count)| *count).sum();
    (n_changed > 0).then(|| format!("a choice about types has changed {n_changed} of its values"))
}

impl Form {
    fn new(column: &PgColumn, send: Option<&str>, field: &Field) -> Result<Self, String> {
        let (pg_type, name) = (&column.pg_type, quote_identifier(&column.name));
        let in_arrow = plain(field.data_type());
        if in_arrow == DataType::Utf8 {
            let trim = *pg_type == PgType::Bpchar;
            // As an export asks for text; see `Form::Printed` in pgarrow-export.
            let printed = format!("pg_catalog.concat({name})");
            let printed = if trim { format!("pg_catalog.rtrim({printed}, ' ')") } else { printed };
            let sql =
                format!("CASE WHEN {name} IS DISTINCT FROM NULL THEN pg_catalog.textsend({printed}) END");
            return Ok(Self { bytes: BytesOf::Text { trim }, sql });
        }
        if !arrow_types(pg_type, &column.options).contains(&in_arrow) {
            return Err(format!("as {in_arrow} its values may not be exactly those of {}", column.type_name));
        }
        let (sent, expression, send) = match (pg_type, pg_type.server_cast()) {
            (PgType::Array(array), Some(cast)) => {
                (as_texts(array), format!("{name}::{cast}"), "pg_catalog.array_send")
            }
            _ => (pg_type.clone(), name, send.ok_or("its type has no binary form")?),
        };
        let (is_array, is_list) = (is_array(&sent), is_plain_list(&sent, &in_arrow));
        let bytes = format!("{send}({expression})");
        let sql = if is_array { without_mark(&bytes) } else { bytes };
        let sql = if is_list { from_one(&expression, &sql) } else { sql };
        let declared = DeclaredType::new(0, -1);
        let target = TypeTarget { pg_type: &sent, declared: &declared, conversions: Conversions::Check };
        let encoder = make_encoder(field, target).map_err(|refusal| refusal.to_string())?;
        Ok(Self { bytes: BytesOf::Sent { encoder, is_array }, sql })
    }

    /// Prepares the hashes of an array's values.
    ///
    /// # Errors
    ///
    /// A type that the form is not for.
    pub(super) fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Values<'a>, String> {
        match &self.bytes {
            BytesOf::Text { trim } => Texts::new(array).map(|texts| Values::Texts(texts, *trim)),
            BytesOf::Sent { encoder, is_array } => match Bound::new(encoder.as_ref(), array) {
                Ok(bound) => Ok(Values::Sent(bound, *is_array)),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// The values of one array.
#[derive(Debug)]
pub(super) enum Values<'a> {
    Texts(Texts<'a>, bool),
    Sent(Bound<'a>, bool),
}

impl Values<'_> {
    /// The hash of a row's value; `None` for NULL. `scratch` is overwritten.
    ///
    /// # Errors
    ///
    /// A value that its type does not have.
    pub(super) fn hash(
        &self,
        row: usize,
        digest: Digest,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Hash>, String> {
        match self {
            Self::Texts(texts, trim) => Ok(texts.value(row).map(|text| {
                let text = if *trim { text.trim_end_matches(' ') } else { text };
                digest.of(text.as_bytes())
            })),
            Self::Sent(bound, _) if bound.is_null(row) => Ok(None),
            Self::Sent(bound, is_array) => {
                scratch.clear();
                bound.write(row, scratch).map_err(|error| error.to_string())?;
                if let (true, Some(mark)) = (is_array, scratch.get_mut(8..12)) {
                    mark.fill(0);
                }
                // Before the value stands its length.
                Ok(Some(digest.of(scratch.get(4..).unwrap_or_default())))
            }
        }
    }
}

/// The Arrow types that have exactly the values of a type, each as [`plain`] makes it.
fn arrow_types(pg_type: &PgType, options: &TypeOptions) -> Vec<DataType> {
    let mut types = Vec::new();
    for interval in [IntervalForm::MonthDayNano, IntervalForm::Struct] {
        for arrays in [ArrayForm::List, ArrayForm::Nested, ArrayForm::Shaped] {
            types.push(plain(&pg_type.data_type(&TypeOptions { interval, arrays, ..*options })));
        }
    }
    types
}

/// An Arrow type without what does not change its values: layouts of strings and bytes, dictionaries, names
/// inside lists, nullability.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other types of Arrow have no parts and one layout")]
pub(super) fn plain(data_type: &DataType) -> DataType {
    let item = |field: &FieldRef| Arc::new(Field::new("item", plain(field.data_type()), true));
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::List(field) | DataType::LargeList(field) => DataType::List(item(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(item(field), *size),
        DataType::Map(entries, _) => DataType::Map(plain_entries(entries), false),
        DataType::Struct(fields) => {
            let part = |field: &FieldRef| Field::new(field.name(), plain(field.data_type()), true);
            DataType::Struct(fields.iter().map(part).collect())
        }
        other => other.clone(),
    }
}

/// The entries of a map, whose parts have several names.
fn plain_entries(entries: &FieldRef) -> FieldRef {
    let entries = plain(entries.data_type());
    let DataType::Struct(parts) = &entries else { return Arc::new(Field::new("entries", entries, false)) };
    let part = |(part, name): (&FieldRef, &str)| Field::new(name, part.data_type().clone(), true);
    let parts = parts.iter().zip(["key", "value"]).map(part).collect();
    Arc::new(Field::new("entries", DataType::Struct(parts), false))
}

/// Whether an array became a list of one dimension, which has no lower bound.
fn is_plain_list(pg_type: &PgType, data_type: &DataType) -> bool {
    let Structure::Array(array) = pg_type.structure() else { return false };
    let DataType::List(item) = plain(data_type) else { return false };
    !array.is_vector && arrow_types(&array.element, &TypeOptions::default()).contains(item.data_type())
}

/// Whether its values are sent by `array_send`, with a mark of NULLs.
fn is_array(pg_type: &PgType) -> bool {
    matches!(pg_type.structure(), Structure::Array(array) if !array.is_vector)
}

/// What `array_send` makes, without its second field. It says whether the array has a bitmap of NULLs, which
/// stays when the last NULL has gone.
///
/// ```text
/// dimensions  mark  OID of the elements  (length  lower bound) of each dimension   4 bytes each
/// ```
///
/// Source: `array_send` in PostgreSQL's `src/backend/utils/adt/arrayfuncs.c`.
fn without_mark(bytes: &str) -> String {
    format!("pg_catalog.overlay({bytes}, '\\x00000000'::pg_catalog.bytea, 5, 4)")
}

/// The same of an array that became a list: counted from 1, if it has one dimension. No list has more.
fn from_one(array: &str, bytes: &str) -> String {
    format!(
        "CASE WHEN pg_catalog.array_ndims({array}) OPERATOR(pg_catalog.=) 1 \
         THEN pg_catalog.overlay({bytes}, '\\x00000001'::pg_catalog.bytea, 17, 4) ELSE {bytes} END"
    )
}

/// The array that the server makes of one whose elements only it can print.
fn as_texts(array: &ArrayType) -> PgType {
    let ArrayType { dimensions, is_vector, .. } = *array;
    PgType::Array(Arc::new(ArrayType {
        element: PgType::Text,
        element_oid: oid::TEXT,
        dimensions,
        is_vector,
    }))
}

/// How the numbers of a column are compared, if it has any.
fn number_form(pg_type: &PgType, data_type: &DataType) -> Option<NumberForm> {
    let is_plain = match data_type {
        DataType::Int16 => *pg_type == PgType::Int2,
        DataType::Int32 => *pg_type == PgType::Int4,
        DataType::Int64 => *pg_type == PgType::Int8,
        DataType::Decimal128(..) | DataType::Decimal256(..) => pg_type.numeric().is_some(),
        _ => false,
    };
    match (pg_type, data_type) {
        _ if is_plain => Some(NumberForm::Exact),
        (PgType::Date, DataType::Date32) => Some(NumberForm::Date),
        (PgType::Timestamp, DataType::Timestamp(TimeUnit::Microsecond, _)) => Some(NumberForm::Timestamp),
        (PgType::Timestamptz, DataType::Timestamp(TimeUnit::Microsecond, _)) => Some(NumberForm::Timestamptz),
        _ => None,
    }
}
