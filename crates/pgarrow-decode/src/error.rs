//! What stopped the decoder, and where.

use std::fmt;

use pgarrow_column::ValueError;

/// What stopped the decoder, and where. Holds no data from the table, since errors go into logs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The stream is not a COPY stream of the planned columns.
    Framing {
        /// The row at this place of the stream; counts from 1.
        row: u64,
        /// What is broken.
        cause: FramingError,
    },
    /// One value could not be decoded.
    Value {
        /// The column's position in the schema.
        column_index: usize,
        /// The column's name.
        column: String,
        /// The row in the stream; counts from 1.
        row: u64,
        /// What is wrong with the value.
        cause: ValueError,
    },
    /// A NULL in a column that has none according to the catalog.
    UnexpectedNull {
        /// The column's position in the schema.
        column_index: usize,
        /// The column's name.
        column: String,
        /// The row in the stream; counts from 1.
        row: u64,
    },
    /// Arrow refused the arrays: a bug of ours. Holds Arrow's text.
    Arrow(String),
}

/// How a stream violates the format of COPY.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FramingError {
    /// The stream does not begin with COPY's signature.
    Signature,
    /// A flag that readers must not ignore; bit 16 once meant that OIDs are included.
    CriticalFlags(u32),
    /// A header extension longer than a megabyte.
    Extension(u32),
    /// A tuple with another number of values than the plan has columns.
    ValueCount {
        /// Columns of the plan.
        expected: usize,
        /// Values of the tuple.
        found: i16,
    },
    /// A value's length below -1.
    ValueLength(i32),
    /// Bytes behind the trailer.
    AfterTrailer,
    /// A message that should be exactly one row and is less or more.
    RowMessage,
    /// A message whose length is below the four bytes of the length itself.
    MessageLength(u32),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Framing { row, cause } => write!(f, "the COPY stream is broken at row {row}: {cause}"),
            Self::Value { column, row, cause, .. } => write!(f, "column {column:?}, row {row}: {cause}"),
            Self::UnexpectedNull { column, row, .. } => {
                write!(f, "column {column:?}, row {row}: a NULL in a column that is declared NOT NULL")
            }
            Self::Arrow(text) => write!(f, "arrow refused a decoded batch: {text}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => f.write_str("it does not begin with the signature of binary COPY"),
            Self::CriticalFlags(flags) => write!(f, "unknown critical flags {flags:#010x} in its header"),
            Self::Extension(bytes) => write!(f, "a header extension of {bytes} bytes"),
            Self::ValueCount { expected, found } => {
                write!(f, "a row of {found} values where {expected} columns were planned")
            }
            Self::ValueLength(length) => write!(f, "a value of length {length}"),
            Self::RowMessage => f.write_str("a message that is not exactly one row"),
            Self::AfterTrailer => f.write_str("data behind its trailer"),
            Self::MessageLength(length) => write!(f, "a message of length {length}"),
        }
    }
}

/// A chunk was not decoded: see [`CopyDecoder::decode_chunk`](crate::CopyDecoder::decode_chunk).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChunkRefused;

impl fmt::Display for ChunkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the chunk was refused")
    }
}

impl std::error::Error for ChunkRefused {}
