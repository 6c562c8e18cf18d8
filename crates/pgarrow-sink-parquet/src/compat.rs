//! Files for readers that know version 1 of the format only: what these may not have.
//!
//! | | version 1 | since version 2 |
//! |---|---|---|
//! | pages | data pages V1 | V2 |
//! | encodings | plain | dictionary as RLE, differences, split bytes |
//! | codecs | none, snappy, gzip | brotli, lz4, zstd |
//! | types | what converted types say | what only logical types say |
//!
//! Version 1 has a dictionary, too, under another name (`PLAIN_DICTIONARY`). The parquet crate writes only
//! the newer one, so these files have none. A uuid has no converted type: such readers get its sixteen bytes.
//!
//! Source: <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use pgarrow_sink::option::TIMESTAMP_UNIT;
use pgarrow_sink::{Hint, Message, SinkError, SinkErrorKind, message};

use crate::column_options::Encoding;
use crate::compression::Compression;

/// How pages are compressed if nothing is chosen.
pub(crate) const COMPRESSION: Compression = Compression::Snappy;

/// Refuses columns that such readers would take for something else.
///
/// # Errors
///
/// [`SinkErrorKind::Unsupported`] for such a column.
pub(crate) fn check(parquet: &SchemaDescriptor) -> Result<(), SinkError> {
    for column in parquet.columns() {
        if let Some(why) = misread(column) {
            let text = why.behind(format!(
                "column {:?} cannot be written for readers that know version 1 of parquet only: ",
                column.path().string()
            ));
            return Err(SinkError::new(SinkErrorKind::Unsupported, text));
        }
    }
    Ok(())
}

/// Whether such readers can decompress it.
pub(crate) fn knows_codec(compression: Compression) -> Result<(), String> {
    match compression {
        Compression::None | Compression::Snappy | Compression::Gzip(_) => Ok(()),
        Compression::Lz4 | Compression::Brotli(_) | Compression::Zstd(_) => Err(format!(
            "compression {compression} is not for readers that know version 1 of parquet only; choose snappy, gzip or none"
        )),
    }
}

/// Whether such readers can decode it.
pub(crate) fn knows_encoding(encoding: Encoding) -> Result<(), String> {
    match encoding {
        Encoding::Plain => Ok(()),
        other => Err(format!(
            "encoding {other} is not for readers that know version 1 of parquet only; choose plain"
        )),
    }
}

fn misread(column: &ColumnDescriptor) -> Option<Message> {
    let name = column.path().parts().first().map_or("", String::as_str);
    let as_text = || Hint::column(name, "text");
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Timestamp(_)), ConvertedType::NONE) => Some(message![
            "they have no timestamps in nanoseconds; choose another unit (",
            TIMESTAMP_UNIT.to("us"),
            ")"
        ]),
        (_, ConvertedType::UINT_32 | ConvertedType::UINT_64) => Some(message![
            "they take its largest numbers for negative ones; read it as text (",
            as_text(),
            ")"
        ]),
        (None | Some(LogicalType::Uuid), _) => None,
        (Some(_), ConvertedType::NONE) => {
            Some(message!["they do not have its type; read it as text (", as_text(), ")"])
        }
        (Some(_), _) => None,
    }
}
