//! What callers may choose about a Parquet file.

use arrow_schema::SchemaRef;
use pgarrow_sink::SinkError;

use crate::column_options::{ByColumn, ParquetColumnOptions};
use crate::compression::Compression;
use crate::order::SortColumn;
use crate::{describe, schema};

/// How a Parquet file is cut and compressed. Every option has a default that suits large exports.
#[derive(Clone, Debug)]
#[must_use]
pub struct ParquetOptions {
    pub(crate) compression: Option<Compression>,
    pub(crate) row_group_rows: usize,
    pub(crate) row_group_bytes: usize,
    pub(crate) data_page_bytes: usize,
    pub(crate) columns: ByColumn,
    pub(crate) compat: bool,
    pub(crate) sorted_by: Vec<SortColumn>,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: None,
            row_group_rows: 1024 * 1024,
            row_group_bytes: 64 * 1024 * 1024,
            data_page_bytes: 2 * 1024 * 1024,
            columns: ByColumn::new(),
            compat: false,
            sorted_by: Vec::new(),
        }
    }
}

impl ParquetOptions {
    /// How pages are compressed. Default: zstd at level 1, and snappy with
    /// [`with_compat`](Self::with_compat).
    pub fn with_compression(self, compression: Compression) -> Self {
        Self { compression: Some(compression), ..self }
    }

    /// Whether files are for readers that know version 1 of the format only. Default: no.
    ///
    /// Such files have plain values in data pages V1, and no dictionaries; compression is snappy unless it is
    /// chosen, and may be gzip or none. Every type but uuid has its converted type. What such readers would
    /// take for something else is refused: timestamps in nanoseconds, unsigned integers of 32 and 64 bits,
    /// half floats.
    pub fn with_compat(self, compat: bool) -> Self {
        Self { compat, ..self }
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

    /// Most bytes of a data page before compression, beside its last value. Default: 2 MiB.
    ///
    /// Smaller pages let readers skip more finely, and compress worse. A page also ends after 32,768 rows,
    /// except if there are so many columns that a row group has less than 512 KiB for each. With row groups
    /// of less than 32 MiB, pages of more than 1 MiB have at most a sixteenth of one.
    pub fn with_data_page_bytes(self, data_page_bytes: usize) -> Self {
        Self { data_page_bytes, ..self }
    }

    /// Declares that rows come in this order, most important column first. Default: in none.
    ///
    /// It is written for each row group (`sorting_columns`), and checked while rows are written: the rows of
    /// a row group that are in another order fail the part. Nothing is sorted. Numbers and moments go by
    /// size, text and bytes by their bytes (for text: `COLLATE "C"`), labels of enums as text. Floats,
    /// geometries and nested columns are refused.
    pub fn with_sorted_by(self, columns: impl IntoIterator<Item = SortColumn>) -> Self {
        Self { sorted_by: columns.into_iter().collect(), ..self }
    }

    /// Whether an order of rows is declared.
    pub fn is_sorted(&self) -> bool {
        !self.sorted_by.is_empty()
    }

    /// Chooses for one column. A column of the file has one name; inside of structs, lists and maps it is the
    /// path as Parquet has it, for example `["address", "city"]` or `["tags", "list", "element"]`. Choices
    /// for a column that has some already take their place.
    pub fn with_column<S: Into<String>>(
        mut self,
        path: impl IntoIterator<Item = S>,
        options: ParquetColumnOptions,
    ) -> Self {
        self.columns.insert(path.into_iter().map(Into::into).collect(), options);
        self
    }

    /// The columns that have choices and are not in a file of this schema. It can be written with
    /// [`without_columns`](Self::without_columns) of them.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Unsupported`](pgarrow_sink::SinkErrorKind::Unsupported) for what Parquet cannot hold.
    pub fn missing_columns(&self, schema: &SchemaRef) -> Result<Vec<Vec<String>>, SinkError> {
        if self.columns.is_empty() {
            return Ok(Vec::new());
        }
        let adapted = schema::adapt(schema)?;
        let parquet = describe::convert(&adapted.schema)?;
        // A path may name something that is made of columns, which is refused with a text of its own.
        let is_missing = |path: &&Vec<String>| {
            !parquet.columns().iter().any(|column| column.path().parts().starts_with(path))
        };
        Ok(self.columns.keys().filter(is_missing).cloned().collect())
    }

    /// The same without the choices for these columns.
    pub fn without_columns(mut self, paths: &[Vec<String>]) -> Self {
        self.columns.retain(|path, _| !paths.contains(path));
        self
    }
}
