//! The export engine: a table or a query of PostgreSQL in, record batches out. Embedders name it as
//! `pgarrow`.
//!
//! ```text
//!  Source ──table(), query()──▶ Extract ──open()──▶ Run ──write_to(sink)──▶ Report
//!                                  │                 └──for_each(batch)───▶ Report
//!                                  ├──stream()──▶ BatchStream   (async, any runtime)
//!                                  └──reader()──▶ BatchReader   (blocking)
//! ```
//!
//! An export runs in one read-only transaction with one snapshot, and it has succeeded only when the server
//! has confirmed the number of rows that were decoded. No value changes silently: what Arrow cannot hold
//! stops the export with an error that names table, column and row.
#![forbid(unsafe_code)]

mod ahead;
mod answer;
mod budget;
mod channel;
mod choose;
mod column_report;
mod complete;
mod crew;
mod description;
mod engine;
mod facts;
mod fewer;
mod field_ids;
mod file_report;
mod held;
mod keeper;
mod locks;
mod memory_policy;
mod open;
mod opened;
mod options;
mod order;
mod outlet;
mod outline;
mod pages;
mod pages_status;
mod pages_tally;
mod phases;
mod plan;
mod planner;
mod progress;
mod proof;
mod reader;
mod reader_session;
mod refusal;
mod reject;
mod report;
mod run;
mod scan;
mod session_rows;
mod settings;
mod sink_set;
mod slice;
mod source;
mod sql;
mod statement;
mod stream;
mod token;
mod under;

pub use answer::TextRows;
pub use column_report::ColumnReport;
pub use description::Description;
pub use file_report::FileReport;
pub use held::HeldSnapshot;
pub use options::{ExportOptions, ReadMode};
pub use pages::{install_pages_sql, remove_pages_sql};
pub use pages_status::{PagesStatus, TablePages};
pub use pages_tally::PagesReport;
pub use pgarrow_catalog::{Relation, RelationKind, parse_column_list, parse_column_path, quote_identifier};
pub use pgarrow_protocol::{Config, SslMode, escape_control};
pub use pgarrow_session::{
    Cancel, Error, ErrorKind, Holders, Limit, Memory, Place, PoolOptions, ProcessUsage, Result, ServerReport,
    per_second,
};
pub use pgarrow_types::{
    ArrayForm, CallName, ChoiceError, ColumnForm, ColumnOptions, ColumnType, Decimal, EncodingPolicy,
    EnumForm, GeometryForm, Hint, InfinityPolicy, IntervalForm, LostDigitsPolicy, Message, NanPolicy, Note,
    NoteKind, NumericForm, OpaqueColumns, OptionName, OutOfRangePolicy, PgColumn, StringForm, TimestampUnit,
    TypeOptions, UnknownTypes, arrow_type, call, message, notes, option,
};
pub use phases::Phases;
pub use plan::{Plan, PlanReport, PlanSlice};
pub use progress::{Progress, Sample, TableProgress, Waits};
pub use reject::reject_schema;
pub use report::{FailedTable, MemoryReport, ReaderReport, Report, TableReport};
pub use run::Run;
pub use slice::{KeyType, Slice, SliceRange, SliceRead, SliceRelation, SliceRelationKind, SliceSubject};
pub use source::{Extract, NamedQuery, Source, TableSelection, Tables};
pub use stream::{BatchReader, BatchStream};
pub use under::{SharedSnapshot, SliceSnapshot, SliceSource};

/// For drivers, which run a caller's own statements: they know the protocol's sessions, as embedders do not.
#[doc(hidden)]
pub mod driver {
    pub use crate::outline::{Outline, TableRead};
    pub use crate::session_rows::{ResultColumns, SessionRows, relation_schema};
}
