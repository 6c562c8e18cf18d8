//! What all files and streams of a sink share.

use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{DataType, SchemaRef};
use pgarrow_sink::SinkError;

use crate::options::{IpcCompression, IpcOptions};

/// What all files of a sink share.
pub(crate) struct Format {
    pub(crate) schema: SchemaRef,
    pub(crate) write_options: IpcWriteOptions,
    pub(crate) has_dictionaries: bool,
    pub(crate) options: IpcOptions,
}

impl Format {
    pub(crate) fn new(schema: SchemaRef, options: IpcOptions) -> Result<Self, SinkError> {
        let has_dictionaries = schema.fields().iter().any(|field| has_dictionary(field.data_type()));
        Ok(Self { write_options: options.write_options()?, has_dictionaries, schema, options })
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.options.compression != IpcCompression::None
    }
}

/// Whether a type is an enum, or an array, composite or range with an enum inside.
pub(crate) fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_dictionary(field.data_type()),
        _ => false,
    }
}
