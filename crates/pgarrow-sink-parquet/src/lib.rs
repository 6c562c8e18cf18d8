//! Record batches to a Parquet file.
//!
//! ```text
//! part: batches ─▶ row group in progress ─▶ encoded column chunks ─┐ lock: append, nothing else
//! part: batches ─▶ row group in progress ─▶ encoded column chunks ─┴────▶ file ──▶ footer, publish
//! ```
//!
//! Every part encodes whole row groups by itself. That was faster than encoding columns side by side, and
//! than one writer behind all readers. Row groups of several parts land in the order in which they are done.
//!
//! Start at [`ParquetSink`], then `row_group` for the encoding and `dictionary` for how a column's encoding
//! is chosen from its data; `cost` says what it all takes of memory. `describe` has the types, `schema` and `geo` what Parquet asks for beyond Arrow.
#![forbid(unsafe_code)]

mod compression;
mod cost;
mod describe;
mod dictionary;
mod file;
mod geo;
mod options;
mod ours;
mod part;
mod row_group;
mod schema;
mod sink;
mod size;

pub use compression::Compression;
pub use describe::{parquet_types, parquet_warnings};
pub use options::ParquetOptions;
pub use ours::is_ours;
pub use sink::ParquetSink;
