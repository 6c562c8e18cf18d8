//! What callers may choose about a Parquet file.

use crate::compression::Compression;

/// How a Parquet file is cut and compressed. Every option has a default that suits large exports.
#[derive(Clone, Debug)]
#[must_use]
pub struct ParquetOptions {
    pub(crate) compression: Compression,
    pub(crate) row_group_rows: usize,
    pub(crate) row_group_bytes: usize,
    pub(crate) data_page_bytes: usize,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            row_group_rows: 1024 * 1024,
            row_group_bytes: 64 * 1024 * 1024,
            data_page_bytes: 1024 * 1024,
        }
    }
}

impl ParquetOptions {
    /// How pages are compressed. Default: zstd at level 1.
    pub fn with_compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Rows per row group. Default: 1,048,576.
    ///
    /// A row group ends at exactly this many rows, unless
    /// [`row_group_bytes`](Self::with_row_group_bytes) ends it sooner or the part has no more. At least 1.
    pub fn with_row_group_rows(self, row_group_rows: usize) -> Self {
        Self { row_group_rows, ..self }
    }

    /// The bytes in the file at which a row group ends. Default: 64 MiB.
    ///
    /// Each part holds one row group at a time, so this limits the memory of a part, beside the fixed memory
    /// of each column. The part checks the size every few thousand rows, so a row group may be larger: by a
    /// quarter, or by one row if that is larger.
    pub fn with_row_group_bytes(self, row_group_bytes: usize) -> Self {
        Self { row_group_bytes, ..self }
    }

    /// Most bytes of a data page before compression. Default: 1 MiB.
    ///
    /// Smaller pages let readers skip more finely, and compress worse. A page also ends after 20,000 rows,
    /// except if there are so many columns that a row group has less than 512 KiB for each.
    pub fn with_data_page_bytes(self, data_page_bytes: usize) -> Self {
        Self { data_page_bytes, ..self }
    }
}
