//! What callers may choose about one column of a Parquet file, and its form as text:
//! `encoding=delta-byte-array,compression=zstd:9,bloom=0.01`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use parquet::basic::{Encoding as Code, Type as PhysicalType};
use parquet::file::properties::EnabledStatistics;
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::compression::Compression;

/// The choices for one column. A choice that is `None` is the file's, or what the column's data suggest.
///
/// As text: keys and values, as in `encoding=delta-byte-array,compression=zstd:9`. The keys are `encoding`,
/// `dictionary` (`true` or `false`), `compression`, `statistics`, `bloom` (the share of false positives) and
/// `bloom-values`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[must_use]
pub struct ParquetColumnOptions {
    pub(crate) encoding: Option<Encoding>,
    pub(crate) dictionary: Option<bool>,
    pub(crate) compression: Option<Compression>,
    pub(crate) statistics: Option<Statistics>,
    pub(crate) bloom: Option<BloomFilter>,
}

impl ParquetColumnOptions {
    /// How values are encoded. By default a column's first rows decide about a dictionary; values outside of
    /// it are [`DeltaBinaryPacked`](Encoding::DeltaBinaryPacked) if they are integers and
    /// [`DeltaLengthByteArray`](Encoding::DeltaLengthByteArray) if they are text or bytes.
    ///
    /// An encoding other than [`Dictionary`](Encoding::Dictionary) means that there is no dictionary, unless
    /// [`with_dictionary`](Self::with_dictionary) asks for one.
    pub fn with_encoding(self, encoding: Encoding) -> Self {
        Self { encoding: Some(encoding), ..self }
    }

    /// Whether there is a dictionary. Once it is full, the other values have the column's encoding.
    pub fn with_dictionary(self, dictionary: bool) -> Self {
        Self { dictionary: Some(dictionary), ..self }
    }

    /// How pages are compressed.
    pub fn with_compression(self, compression: Compression) -> Self {
        Self { compression: Some(compression), ..self }
    }

    /// Which statistics are written. By default [`Page`](Statistics::Page), and none for values so large that
    /// statistics would be copies of some.
    pub fn with_statistics(self, statistics: Statistics) -> Self {
        Self { statistics: Some(statistics), ..self }
    }

    /// Writes a bloom filter for each row group. By default there is none.
    pub fn with_bloom_filter(self, bloom: BloomFilter) -> Self {
        Self { bloom: Some(bloom), ..self }
    }
}

/// How values of a column are encoded.
///
/// Source: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Encoding {
    /// `plain`: values one after the other. For all types.
    Plain,
    /// `dictionary`: each value once, and its number wherever it occurs. Not for booleans and not for values
    /// of a fixed length.
    Dictionary,
    /// `delta-binary-packed`: the differences of neighbours. For integers, and what is written as integers:
    /// dates, times, decimals up to 18 digits.
    DeltaBinaryPacked,
    /// `delta-length-byte-array`: lengths apart from the bytes. For text and bytes.
    DeltaLengthByteArray,
    /// `delta-byte-array`: what differs from the value before. For text, bytes and values of a fixed length,
    /// such as uuids and large decimals.
    DeltaByteArray,
    /// `byte-stream-split`: the first bytes of all values, then the second ones. For numbers and values of a
    /// fixed length; those of a fixed length DuckDB 2.0 does not read.
    ByteStreamSplit,
}

impl Encoding {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Plain,
        Self::Dictionary,
        Self::DeltaBinaryPacked,
        Self::DeltaLengthByteArray,
        Self::DeltaByteArray,
        Self::ByteStreamSplit,
    ];

    /// Its name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Dictionary => "dictionary",
            Self::DeltaBinaryPacked => "delta-binary-packed",
            Self::DeltaLengthByteArray => "delta-length-byte-array",
            Self::DeltaByteArray => "delta-byte-array",
            Self::ByteStreamSplit => "byte-stream-split",
        }
    }

    /// The encoding of the parquet crate; a dictionary is an option of its own there.
    pub(crate) fn code(self) -> Option<Code> {
        match self {
            Self::Plain => Some(Code::PLAIN),
            Self::Dictionary => None,
            Self::DeltaBinaryPacked => Some(Code::DELTA_BINARY_PACKED),
            Self::DeltaLengthByteArray => Some(Code::DELTA_LENGTH_BYTE_ARRAY),
            Self::DeltaByteArray => Some(Code::DELTA_BYTE_ARRAY),
            Self::ByteStreamSplit => Some(Code::BYTE_STREAM_SPLIT),
        }
    }

    /// The encodings that values of this type may have. (The parquet crate has no dictionary of values of a
    /// fixed length in files of version 1, which these are.)
    pub(crate) fn of(physical: PhysicalType) -> &'static [Self] {
        match physical {
            PhysicalType::BOOLEAN | PhysicalType::INT96 => &[Self::Plain],
            PhysicalType::INT32 | PhysicalType::INT64 => {
                &[Self::Plain, Self::Dictionary, Self::DeltaBinaryPacked, Self::ByteStreamSplit]
            }
            PhysicalType::FLOAT | PhysicalType::DOUBLE => {
                &[Self::Plain, Self::Dictionary, Self::ByteStreamSplit]
            }
            PhysicalType::BYTE_ARRAY => {
                &[Self::Plain, Self::Dictionary, Self::DeltaLengthByteArray, Self::DeltaByteArray]
            }
            PhysicalType::FIXED_LEN_BYTE_ARRAY => &[Self::Plain, Self::DeltaByteArray, Self::ByteStreamSplit],
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which statistics of a column are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Statistics {
    /// `none`.
    None,
    /// `chunk`: for each row group.
    Chunk,
    /// `page`: for each row group, and for each page in the column index.
    Page,
}

impl Statistics {
    /// All of them.
    pub const ALL: &[Self] = &[Self::None, Self::Chunk, Self::Page];

    /// Its name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Chunk => "chunk",
            Self::Page => "page",
        }
    }

    pub(crate) fn level(self) -> EnabledStatistics {
        match self {
            Self::None => EnabledStatistics::None,
            Self::Chunk => EnabledStatistics::Chunk,
            Self::Page => EnabledStatistics::Page,
        }
    }
}

/// A bloom filter for each row group of a column: readers ask it whether a value may be there.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct BloomFilter {
    pub(crate) fpp: f64,
    pub(crate) values: Option<u64>,
}

impl BloomFilter {
    /// A filter that says yes of this share of the values that are not there: between 0 and 1, as in 0.01.
    pub fn new(false_positives: f64) -> Self {
        Self { fpp: false_positives, values: None }
    }

    /// The most different values of a row group. By default the most rows that a row group may have.
    ///
    /// This decides the memory that the filter takes while a row group is written: 1.2 bytes for each value
    /// at 0.01, rounded up to a power of two. In the file it is as small as its values allow.
    pub fn with_values(self, values: u64) -> Self {
        Self { values: Some(values), ..self }
    }
}

/// The choices by the path of a leaf.
pub(crate) type ByColumn = BTreeMap<Vec<String>, ParquetColumnOptions>;

const KEYS: &str = "encoding, dictionary, compression, statistics, bloom and bloom-values";

impl FromStr for ParquetColumnOptions {
    type Err = SinkError;

    /// Reads a list of choices, separated by commas.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Unsupported`] for a key or a value that does not exist, and for a key that occurs
    /// twice.
    fn from_str(list: &str) -> Result<Self, SinkError> {
        let mut options = Self::default();
        let mut values = None;
        for part in list.split(',') {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                unsupported(format!("{:?} is no choice for a column; write KEY=VALUE: {KEYS}", part.trim()))
            })?;
            let (key, value) = (key.trim(), value.trim());
            match key {
                "encoding" => put(&mut options.encoding, key, word(Encoding::ALL, Encoding::as_str, value))?,
                "dictionary" => put(&mut options.dictionary, key, boolean(value))?,
                "compression" => put(&mut options.compression, key, value.parse::<Compression>())?,
                "statistics" => {
                    put(&mut options.statistics, key, word(Statistics::ALL, Statistics::as_str, value))?;
                }
                "bloom" => put(&mut options.bloom, key, share(value).map(BloomFilter::new))?,
                "bloom-values" => put(&mut values, key, count(value))?,
                _ => return Err(unsupported(format!("there is no choice {key:?}; there are {KEYS}"))),
            }
        }
        match (values, &mut options.bloom) {
            (None, _) => {}
            (Some(values), Some(bloom)) => *bloom = bloom.with_values(values),
            (Some(_), None) => return Err(unsupported("bloom-values: write bloom, too, as in bloom=0.01")),
        }
        Ok(options)
    }
}

fn put<T>(place: &mut Option<T>, key: &str, value: Result<T, impl fmt::Display>) -> Result<(), SinkError> {
    if place.is_some() {
        return Err(unsupported(format!("{key} is said twice")));
    }
    *place = Some(value.map_err(|why| unsupported(format!("{key}: {why}")))?);
    Ok(())
}

fn word<T: Copy>(all: &[T], word: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    all.iter().copied().find(|choice| word(*choice) == text).ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|choice| word(*choice)).collect();
        format!("write one of {}", words.join(", "))
    })
}

fn boolean(text: &str) -> Result<bool, &'static str> {
    text.parse().map_err(|_| "write true or false")
}

fn share(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| is_share(*share)).ok_or("write a number between 0 and 1, as in 0.01")
}

pub(crate) fn is_share(share: f64) -> bool {
    share > 0.0 && share < 1.0
}

fn count(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|count| *count > 0).ok_or("write a whole number from 1 on")
}

fn unsupported(text: impl Into<String>) -> SinkError {
    SinkError::new(SinkErrorKind::Unsupported, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key() {
        let none = ParquetColumnOptions::default();
        for (text, expected) in [
            ("encoding=plain", none.with_encoding(Encoding::Plain)),
            (
                " encoding = delta-byte-array , dictionary=true",
                none.with_encoding(Encoding::DeltaByteArray).with_dictionary(true),
            ),
            (
                "dictionary=false,compression=zstd:9",
                none.with_dictionary(false).with_compression(Compression::Zstd(9)),
            ),
            ("statistics=chunk", none.with_statistics(Statistics::Chunk)),
            ("bloom=0.01", none.with_bloom_filter(BloomFilter::new(0.01))),
            ("bloom-values=5,bloom=1e-3", none.with_bloom_filter(BloomFilter::new(0.001).with_values(5))),
        ] {
            assert_eq!(text.parse::<ParquetColumnOptions>().unwrap(), expected, "{text}");
        }
        for encoding in Encoding::ALL {
            let options: ParquetColumnOptions = format!("encoding={encoding}").parse().unwrap();
            assert_eq!(options.encoding, Some(*encoding));
        }
    }

    #[test]
    fn what_is_no_choice() {
        for (text, says) in [
            ("", "write KEY=VALUE"),
            ("plain", "write KEY=VALUE"),
            ("encoding=plain,", "write KEY=VALUE"),
            ("colour=red", "there is no choice \"colour\"; there are encoding"),
            ("encoding=Plain", "encoding: write one of plain, dictionary, delta-binary-packed"),
            ("encoding=", "encoding: write one of"),
            ("encoding=plain,encoding=plain", "encoding is said twice"),
            ("dictionary=on", "dictionary: write true or false"),
            (
                "compression=zstd:23",
                "compression: compression zstd:23: no such level; zstd has levels 1 to 22",
            ),
            ("statistics=all", "statistics: write one of none, chunk, page"),
            ("bloom=0", "between 0 and 1"),
            ("bloom=1", "between 0 and 1"),
            ("bloom=-0.1", "between 0 and 1"),
            ("bloom=NaN", "between 0 and 1"),
            ("bloom=inf", "between 0 and 1"),
            ("bloom=true", "between 0 and 1"),
            ("bloom=0.1,bloom-values=0", "from 1 on"),
            ("bloom=0.1,bloom-values=-1", "from 1 on"),
            ("bloom=0.1,bloom-values=18446744073709551616", "from 1 on"),
            ("bloom-values=10", "write bloom, too"),
        ] {
            let error = text.parse::<ParquetColumnOptions>().unwrap_err();
            assert_eq!(error.kind(), SinkErrorKind::Unsupported);
            assert!(error.to_string().contains(says), "{text:?}: {error}");
        }
    }
}
