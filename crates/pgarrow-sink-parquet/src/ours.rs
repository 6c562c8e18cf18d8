//! Whether a file is one of ours: its footer says who has written it.

use std::fs::File;
use std::path::Path;

use parquet::file::metadata::ParquetMetaDataReader;

/// What every footer says that [`ParquetSink`](crate::ParquetSink) writes, a version behind it.
const CREATED_BY: &str = "pgarrow version ";

/// What is written as `created_by`.
pub(crate) fn created_by() -> String {
    format!("{CREATED_BY}{}", env!("CARGO_PKG_VERSION"))
}

/// Whether a file is Parquet that this crate has written, in any version: `created_by` in its footer says so.
///
/// Metadata that another program has copied from such a file, `pg.table` say, are no sign. A file that cannot be read is
/// none of ours.
pub fn is_ours(path: impl AsRef<Path>) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let Ok(metadata) = ParquetMetaDataReader::new().parse_and_finish(&file) else { return false };
    metadata.file_metadata().created_by().is_some_and(|by| by.starts_with(CREATED_BY))
}
