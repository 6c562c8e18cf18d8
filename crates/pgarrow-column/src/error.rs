//! Why a value could not become Arrow. Says what is wrong, not where: the caller knows.

use std::fmt;

/// Why one value could not be decoded. Holds no data from the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ValueError {
    /// A value has another width than its type's send function writes. Sizes in bytes.
    Width {
        /// The width that the type's send function writes.
        expected: usize,
        /// The width that arrived.
        found: usize,
    },
    /// A length below -1, or one that runs past the bytes of its tuple.
    Length,
    /// The bytes contradict the type's wire format; the text says how.
    Malformed(&'static str),
    /// `infinity` or `-infinity` where the Arrow type has none.
    Infinite,
    /// `NaN`, `Infinity` or `-Infinity` in a `numeric` that becomes a decimal.
    NotANumber,
    /// A legal PostgreSQL value outside the range of the Arrow type.
    OutOfRange,
    /// A legal value with more digits behind the point than the Arrow type has.
    LostDigits,
    /// An array of another number of dimensions than its Arrow type has.
    Dimensions {
        /// The number in the Arrow type.
        expected: u8,
        /// The number that arrived.
        found: u8,
    },
    /// A geometry of another SRID than its column declares.
    Srid,
    /// Text that is not UTF-8.
    Utf8,
    /// More than 2 GiB of text or bytes in one batch: its offsets have 32 bits.
    BatchTooLarge,
    /// The value is valid. But values up to here are so much larger than on the wire that the rows behind it
    /// belong into another chunk.
    ChunkFull,
}

impl ValueError {
    /// Whether the value is a legal one of its type that has no place in Arrow. All else means that bytes are
    /// broken, or that a batch is too large.
    pub fn is_of_legal_value(self) -> bool {
        match self {
            Self::Infinite
            | Self::NotANumber
            | Self::OutOfRange
            | Self::LostDigits
            | Self::Dimensions { .. }
            | Self::Srid
            | Self::Utf8 => true,
            Self::Width { .. }
            | Self::Length
            | Self::Malformed(_)
            | Self::BatchTooLarge
            | Self::ChunkFull => false,
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Width { expected, found } => {
                write!(f, "a value of {found} bytes where the type has {expected}")
            }
            Self::Length => f.write_str("a value's length runs past the end of its row"),
            Self::Malformed(what) => write!(f, "malformed value: {what}"),
            Self::Infinite => f.write_str("an infinite value, which the Arrow type cannot hold"),
            Self::NotANumber => f.write_str("NaN or an infinity, which a decimal cannot hold"),
            Self::OutOfRange => f.write_str("a value outside the range of the Arrow type"),
            Self::LostDigits => f.write_str("a value with more fractional digits than the Arrow type has"),
            Self::Dimensions { expected: 1, found } => {
                write!(f, "an array of {found} dimensions, which a list cannot hold")
            }
            Self::Dimensions { expected, found } => {
                write!(f, "an array of {found} dimensions where lists are {expected} deep")
            }
            Self::Srid => f.write_str("a geometry of another SRID than the column declares"),
            Self::Utf8 => f.write_str("text that is not valid UTF-8"),
            Self::ChunkFull => f.write_str("a chunk whose values take too much room"),
            Self::BatchTooLarge => f.write_str("a batch with more than 2 GiB in one column"),
        }
    }
}

impl std::error::Error for ValueError {}

/// A [`ValueError`] and its row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RowError {
    /// Counts from 0: in the chunk for [`Column::decode`](crate::Column::decode), in the batch for
    /// [`Column::finish`](crate::Column::finish).
    pub row: usize,
    /// What is wrong with the value.
    pub cause: ValueError,
}
