//! Record batches to a Parquet file.
//!
//! ```text
//! part: batches ─▶ row group in progress ─▶ encoded column chunks ─┐ lock: append, nothing else
//! part: batches ─▶ row group in progress ─▶ encoded column chunks ─┴────▶ file ──▶ footer, publish
//! ```
//!
//! Every part encodes whole row groups by itself. That was faster than encoding columns side by side, and
//! than one writer behind all readers. Row groups of several parts are in the file in the order in which they
//! are complete.
//!
//! Start at [`ParquetSink`], then `row_group` for the encoding and `dictionary` for how a column's data
//! choose its encoding; `leaf` encodes columns that are not nested, and the parquet crate all others;
//! `chosen` has what the caller chose for it. `order` checks that rows come as they were declared, `compat`
//! what old readers would take for something else. `cost` adds up the memory. `describe` has the types,
//! `schema` and `geo` what Parquet needs beyond Arrow.
#![forbid(unsafe_code)]

mod chosen;
mod column_options;
mod compat;
mod compression;
mod cost;
mod describe;
mod dictionary;
mod file;
mod geo;
mod leaf;
mod options;
mod order;
mod ours;
mod part;
mod ranges;
mod row_group;
mod schema;
mod sink;
mod size;

pub use column_options::{BloomFilter, Encoding, ParquetColumnOptions, Statistics};
pub use compression::Compression;
pub use describe::{parquet_types, parquet_warnings};
pub use options::ParquetOptions;
pub use order::SortColumn;
pub use ours::is_ours;
pub use sink::ParquetSink;
