//! Data out of PostgreSQL into Arrow: a table or a query in, record batches out.
//!
//! ```text
//!  Source ──table(), query()──▶ Extract ──open()──▶ Run ──write_to(sink)──▶ Report
//!                                  │                 └──for_each(batch)───▶ Report
//!                                  ├──stream()──▶ BatchStream   (async, any runtime)
//!                                  └──reader()──▶ BatchReader   (blocking)
//! ```
//!
//! An export runs in one read-only transaction with one snapshot, and it has succeeded only when the server has
//! confirmed the number of rows that were decoded. No value changes silently: what Arrow cannot hold stops the
//! export with an error that names table, column and row.
//!
//! A table as a stream of batches (`examples/stream_table.rs`; `examples/read_table.rs` does without async):
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/stream_table.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

mod background;
mod backoff;
mod budget;
mod cancel;
mod choose;
mod crew;
mod engine;
mod error;
mod extract;
mod fewer;
mod field_ids;
mod holders;
mod idle;
mod inspect;
mod keeper;
mod locks;
mod open;
mod options;
mod outlet;
mod pages;
mod pages_status;
mod phases;
mod plan;
mod planner;
mod pooler;
mod proof;
mod reader;
mod refusal;
mod report;
mod run;
mod scan;
mod settings;
mod slice;
mod source;
mod sql;
mod statement;
mod stream;
mod tables;
mod usage;

pub use cancel::{AttachedSession, Cancel};
pub use error::{Error, ErrorKind, Result, permission_advice};
pub use extract::{Extract, Tables};
pub use holders::Holders;
pub use idle::IdleSession;
pub use inspect::{Note, NoteKind, arrow_type, notes};
pub use locks::without_read_timeout;
pub use options::{ExportOptions, ReadMode};
pub use pages::{install_pages_sql, remove_pages_sql};
pub use pages_status::{PagesStatus, TablePages};
pub use pgarrow_catalog::{parse_column_list, quote_identifier};
pub use pgarrow_protocol::{Config, SslMode, escape_control};
pub use pgarrow_types::{
    ArrayForm, ChoiceError, ColumnForm, ColumnOptions, ColumnType, Decimal, EncodingPolicy, EnumForm,
    GeometryForm, InfinityPolicy, IntervalForm, LostDigitsPolicy, NanPolicy, NumericForm, OpaqueColumns,
    OutOfRangePolicy, PgColumn, PgType, StringForm, TimestampUnit, TypeOptions, UnknownTypes,
};
pub use phases::{Limit, Phases};
pub use plan::{Plan, PlanReport, PlanSlice};
pub use reader::Progress;
pub use report::{
    ColumnReport, FileReport, MemoryReport, PagesReport, ReaderReport, Report, ServerReport, TableReport,
    per_second,
};
pub use run::{Run, TablesRun};
pub use settings::{server_timeout, session_settings};
pub use slice::{
    KeyType, Slice, SliceRange, SliceRead, SliceRelation, SliceRelationKind, SliceSnapshot, SliceSource,
    SliceSubject,
};
pub use source::Source;
pub use stream::{BatchReader, BatchStream};
pub use usage::ProcessUsage;
