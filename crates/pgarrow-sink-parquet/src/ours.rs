//! Whether this crate wrote a file: the footer says so.

use std::fs::File;
use std::path::Path;

use parquet::file::metadata::ParquetMetaDataReader;

/// The beginning of `created_by` in every footer that [`ParquetSink`](crate::ParquetSink) writes; a version
/// follows.
const CREATED_BY: &str = "pgarrow version ";

/// The value of `created_by`.
pub(crate) fn created_by() -> String {
    format!("{CREATED_BY}{}", env!("CARGO_PKG_VERSION"))
}

/// Whether this crate wrote a Parquet file, in any version: `created_by` in its footer says so.
///
/// Metadata that another program copied from such a file, for example `pg.table`, do not count. A file that
/// cannot be read does not count either.
pub fn is_ours(path: impl AsRef<Path>) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let Ok(metadata) = ParquetMetaDataReader::new().parse_and_finish(&file) else { return false };
    metadata.file_metadata().created_by().is_some_and(|by| by.starts_with(CREATED_BY))
}
