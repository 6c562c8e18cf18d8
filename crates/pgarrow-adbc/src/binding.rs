//! Bound values: Arrow batches as parameters of statements.
//!
//! Texts go to the server as texts, and it reads them as it reads literals in quotes: `'2026-01-01'` is a
//! date where a date is needed. All other values go in the binary form of the parameter's type, by the
//! encoders of loads, which check what does not fit.

use adbc_core::error::{Error, Status};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use pgarrow_catalog::ResolvedColumn;
use pgarrow_encode::{Bound, Conversions, EncodeTarget, Encoder};
use pgarrow_protocol::Parameter;
use pgarrow_types::{PgType, oid};

use crate::error::{Result, invalid_argument, invalid_state};

/// What was bound to a statement.
#[derive(Default)]
pub(crate) enum Values {
    #[default]
    None,
    /// Stays bound, for this statement: whether an execution has had it.
    Batch(RecordBatch, bool),
    /// Is used up by one execution.
    Stream(Box<dyn RecordBatchReader + Send>),
}

impl Values {
    /// All batches; what can be read once is taken away.
    pub(crate) fn take(&mut self) -> Option<Box<dyn RecordBatchReader + Send>> {
        match std::mem::take(self) {
            Self::None => None,
            Self::Batch(batch, _) => {
                *self = Self::Batch(batch.clone(), true);
                let schema = batch.schema();
                Some(Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
            }
            Self::Stream(reader) => Some(reader),
        }
    }

    /// Another statement follows: what the one before was executed with is not for it.
    pub(crate) fn forget_used(&mut self) {
        if matches!(self, Self::Batch(_, true)) {
            *self = Self::None;
        }
    }

    pub(crate) fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The schema of what is bound.
    pub(crate) fn schema(&self) -> Option<SchemaRef> {
        match self {
            Self::None => None,
            Self::Batch(batch, _) => Some(batch.schema()),
            Self::Stream(reader) => Some(reader.schema()),
        }
    }
}

/// How one parameter's values are written.
#[derive(Debug)]
enum Form {
    Text,
    Binary(Box<dyn Encoder>),
}

/// The rows of bound values, one after the other.
pub(crate) struct Rows {
    reader: Box<dyn RecordBatchReader + Send>,
    forms: Vec<Form>,
    batch: Option<RecordBatch>,
    row: usize,
    /// Rows before the present batch.
    rows_before: u64,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("forms", &self.forms).finish_non_exhaustive()
    }
}

/// The types that must be asked for where the server has inferred text, by the bound values' Arrow types; 0
/// where it decides. Empty if it decides all.
pub(crate) fn wanted_types(inferred: &[u32], schema: &SchemaRef) -> Vec<u32> {
    let wanted = |(oid, field): (&u32, &arrow_schema::FieldRef)| match *oid {
        oid::TEXT => natural_oid(field.data_type()),
        _ => 0,
    };
    let wanted: Vec<u32> = inferred.iter().zip(schema.fields()).map(wanted).collect();
    if wanted.iter().any(|oid| *oid != 0) { wanted } else { Vec::new() }
}

/// The built-in type that holds an Arrow type's values; 0 for texts, and where there is none.
fn natural_oid(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Boolean => oid::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => oid::INT2,
        DataType::Int32 | DataType::UInt16 => oid::INT4,
        DataType::Int64 | DataType::UInt32 => oid::INT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => oid::NUMERIC,
        DataType::Float16 | DataType::Float32 => oid::FLOAT4,
        DataType::Float64 => oid::FLOAT8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            oid::BYTEA
        }
        DataType::Date32 | DataType::Date64 => oid::DATE,
        DataType::Time32(_) | DataType::Time64(_) => oid::TIME,
        DataType::Timestamp(_, None) => oid::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => oid::TIMESTAMPTZ,
        DataType::Duration(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
        )
        | DataType::Interval(_) => oid::INTERVAL,
        DataType::Dictionary(_, values) => natural_oid(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            array_oid(item.data_type())
        }
        _ => 0,
    }
}

/// The built-in array types of those types.
///
/// Source: `array_type_oid` in PostgreSQL's `src/include/catalog/pg_type.dat`.
fn array_oid(item: &DataType) -> u32 {
    match natural_oid(item) {
        oid::BOOL => 1000,
        oid::BYTEA => 1001,
        oid::INT2 => 1005,
        oid::INT4 => 1007,
        oid::INT8 => 1016,
        oid::FLOAT4 => 1021,
        oid::FLOAT8 => 1022,
        oid::NUMERIC => 1231,
        oid::DATE => 1182,
        oid::TIME => 1183,
        oid::TIMESTAMP => 1115,
        oid::TIMESTAMPTZ => 1185,
        oid::INTERVAL => 1187,
        _ if is_text(item) => 1009,
        _ => 0,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

impl Rows {
    /// The values of `reader` for parameters of these types.
    ///
    /// # Errors
    ///
    /// Another number of values than of parameters; an Arrow type that has no meaning for its parameter.
    pub(crate) fn new(
        reader: Box<dyn RecordBatchReader + Send>,
        parameters: &[ResolvedColumn],
    ) -> Result<Self> {
        let schema = reader.schema();
        check_number(schema.fields().len(), parameters.len())?;
        let mut forms = Vec::new();
        for (index, (field, parameter)) in schema.fields().iter().zip(parameters).enumerate() {
            forms.push(match is_text(field.data_type()) {
                true => Form::Text,
                false => Form::Binary(encoder(field, parameter).map_err(|why| {
                    let (data_type, of_server) = (field.data_type(), &parameter.column.type_name);
                    invalid_argument(format!(
                        "${} is of type {of_server}, and a value of type {data_type} is bound to it: {why}; cast one of \
                         both, as in ${}::bigint",
                        index + 1,
                        index + 1
                    ))
                })?),
            });
        }
        Ok(Self { reader, forms, batch: None, row: 0, rows_before: 0 })
    }

    /// Which parameters are texts.
    pub(crate) fn are_texts(&self) -> Vec<bool> {
        self.forms.iter().map(|form| matches!(form, Form::Text)).collect()
    }

    /// Appends the next row's values, each with its length; false after the last row.
    ///
    /// # Errors
    ///
    /// A value that its parameter's type cannot hold; the bound stream fails.
    pub(crate) fn write_next(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        loop {
            match &self.batch {
                Some(batch) if self.row < batch.num_rows() => break,
                _ => {}
            }
            self.rows_before += self.batch.take().map_or(0, |batch| batch.num_rows() as u64);
            match self.reader.next() {
                None => return Ok(false),
                Some(Ok(batch)) => (self.batch, self.row) = (Some(batch), 0),
                Some(Err(error)) => {
                    let text = format!("the bound stream cannot be read: {error}");
                    return Err(Error::with_message_and_status(text, Status::IO));
                }
            }
        }
        let Some(batch) = &self.batch else { return Ok(false) };
        for (index, form) in self.forms.iter().enumerate() {
            let array = batch.column(index).as_ref();
            let written = match form {
                Form::Text => {
                    write_text(array, self.row, out);
                    Ok(())
                }
                Form::Binary(encoder) => {
                    Bound::new(encoder.as_ref(), array).and_then(|bound| bound.write(self.row, out))
                }
            };
            written.map_err(|why| {
                let row = self.rows_before + self.row as u64 + 1;
                let text =
                    format!("the value that is bound to ${} in row {row} does not fit: {why}", index + 1);
                Error::with_message_and_status(text, Status::InvalidData)
            })?;
        }
        self.row += 1;
        Ok(true)
    }

    /// The next row's values as parameters that point into `out`.
    ///
    /// # Errors
    ///
    /// As for [`write_next`](Self::write_next).
    pub(crate) fn next<'a>(&mut self, out: &'a mut Vec<u8>) -> Result<Option<Vec<Parameter<'a>>>> {
        out.clear();
        if !self.write_next(out)? {
            return Ok(None);
        }
        let mut rest = out.as_slice();
        let parameters = self.forms.iter().map(|form| {
            let value = rest.split_first_chunk().and_then(|(length, tail)| {
                rest = tail;
                let n_bytes = usize::try_from(i32::from_be_bytes(*length)).ok()?;
                let (value, tail) = rest.split_at_checked(n_bytes)?;
                rest = tail;
                Some(value)
            });
            Parameter { value, is_binary: matches!(form, Form::Binary(_)) }
        });
        Ok(Some(parameters.collect()))
    }
}

fn check_number(bound: usize, parameters: usize) -> Result<()> {
    match bound == parameters {
        true => Ok(()),
        false => Err(invalid_argument(format!(
            "the statement has {parameters} parameters, and {bound} values are bound to it"
        ))),
    }
}

/// An error for a statement with parameters to which nothing is bound.
pub(crate) fn nothing_bound(parameters: usize) -> Error {
    invalid_state(format!("the statement has {parameters} parameters, and no values are bound to it"))
}

fn encoder(
    field: &arrow_schema::Field,
    parameter: &ResolvedColumn,
) -> std::result::Result<Box<dyn Encoder>, String> {
    let column = &parameter.column;
    if matches!(column.pg_type, PgType::ServerText { .. }) && *field.data_type() != DataType::Null {
        return Err("only the server reads values of that type, from text".to_owned());
    }
    let target = EncodeTarget {
        name: column.name.clone(),
        pg_type: column.pg_type.clone(),
        declared: parameter.declared.clone(),
        type_name: column.type_name.clone(),
    };
    target.encoder(field, Conversions::Check).map_err(|refusal| refusal.to_string())
}

/// The text with its length, or -1 for NULL.
fn write_text(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let text = match array.data_type() {
        _ if array.is_null(row) => None,
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => array.as_string_opt::<i32>().map(|texts| texts.value(row)),
    };
    match text {
        // Arrow's own limit on a text is above the server's on a message, which refuses it.
        Some(text) => {
            out.extend_from_slice(&i32::try_from(text.len()).unwrap_or(i32::MAX).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}
