//! What driver and server are, as ADBC asks for it.

use std::collections::HashSet;
use std::sync::Arc;

use adbc_core::constants::ADBC_VERSION_1_1_0;
use adbc_core::options::InfoCode;
use adbc_core::schemas::GET_INFO_SCHEMA;
use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array, UnionArray, new_empty_array,
};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, DataType};
use pgarrow_protocol::Session;

use crate::error::Result;

/// The major version of Arrow that batches are made with.
const ARROW_VERSION: &str = "59";

enum Value {
    Text(String),
    Flag(bool),
    Number(i64),
}

/// A row for each code that is asked for and known.
pub(crate) fn info(session: &Session, codes: Option<&HashSet<InfoCode>>) -> Result<RecordBatch> {
    let version = session.parameter("server_version").unwrap_or_default().to_owned();
    let known = [
        (InfoCode::VendorName, Value::Text("PostgreSQL".to_owned())),
        (InfoCode::VendorVersion, Value::Text(version)),
        (InfoCode::VendorSql, Value::Flag(true)),
        (InfoCode::VendorSubstrait, Value::Flag(false)),
        (InfoCode::DriverName, Value::Text("pgarrow ADBC driver".to_owned())),
        (InfoCode::DriverVersion, Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
        (InfoCode::DriverArrowVersion, Value::Text(ARROW_VERSION.to_owned())),
        (InfoCode::DriverAdbcVersion, Value::Number(ADBC_VERSION_1_1_0.into())),
    ];
    let asked = known.into_iter().filter(|(code, _)| codes.is_none_or(|codes| codes.contains(code)));
    Ok(batch(asked)?)
}

fn batch(rows: impl Iterator<Item = (InfoCode, Value)>) -> std::result::Result<RecordBatch, ArrowError> {
    let (mut names, mut types, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let (mut texts, mut flags, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (code, value) in rows {
        names.push(u32::from(&code));
        let (type_id, length) = match value {
            Value::Text(text) => {
                texts.push(text);
                (0_i8, texts.len())
            }
            Value::Flag(flag) => {
                flags.push(flag);
                (1, flags.len())
            }
            Value::Number(number) => {
                numbers.push(number);
                (2, numbers.len())
            }
        };
        types.push(type_id);
        offsets.push(i32::try_from(length - 1).unwrap_or(i32::MAX));
    }
    let schema = GET_INFO_SCHEMA.clone();
    let DataType::Union(fields, _) = schema.field(1).data_type() else {
        return Err(ArrowError::SchemaError("values are a union".to_owned()));
    };
    // The other kinds of values are those of codes that nobody has here.
    let mut children: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts)),
        Arc::new(BooleanArray::from(flags)),
        Arc::new(Int64Array::from(numbers)),
    ];
    children.extend(fields.iter().skip(3).map(|(_, field)| new_empty_array(field.data_type())));
    let values = UnionArray::try_new(
        fields.clone(),
        ScalarBuffer::from(types),
        Some(ScalarBuffer::from(offsets)),
        children,
    )?;
    RecordBatch::try_new(schema, vec![Arc::new(UInt32Array::from(names)), Arc::new(values)])
}
