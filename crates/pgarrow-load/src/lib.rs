//! Arrow into PostgreSQL: record batches become binary `COPY … FROM STDIN`.
//!
//! ```text
//!  Load ──open(schema)──▶ Loading ──write(batch)…──▶ finish() ──▶ LoadReport
//!      └fed_by(holders)       └──into_sink()──▶ LoadSink, for Run::write_to of an export: server to server
//!  input::Input::open(files): schema, batches
//!  Load ──load_reader(reader), load_stream(schema, stream)──▶ LoadReport
//!  Connection ──begin()──▶ Load::in_transaction ──▶ … as above … ──▶ commit()
//! ```
//!
//! Tables and servers that COPY cannot load get INSERTs of many rows each.
//!
//! The target's catalog says which columns it has. The load decides how each column is made from Arrow
//! before it sends the first byte. A load is one transaction: if it fails or is killed, the target is as it
//! was. On request, it commits in parts, each with a mark from which a second start continues; and it can
//! leave out single rows that cannot be loaded. Or it is part of a transaction that the caller begins and
//! ends ([`Load::in_transaction`]).
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/load_batches.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

mod ahead;
mod arrival;
mod batches;
mod batchwise;
mod choice;
mod conflict;
mod copied;
mod create;
mod definition;
mod end;
mod exact;
mod fresh;
mod hidden;
pub mod input;
mod insert;
mod kept;
mod lane;
mod load;
mod loading;
mod look_ahead;
mod marks;
mod names;
mod options;
mod own_locks;
mod owner;
mod pipe;
mod plan;
mod progress;
mod queue;
mod reject;
mod replace;
mod report;
mod set;
mod sink;
mod staged_form;
mod target;
mod transaction;
mod trouble;
mod upkeep;
mod writers;

pub use definition::{Ask, NeededTypes, PrimaryKey};
pub use load::Load;
pub use loading::Loading;
pub use look_ahead::LookAhead;
pub use options::{IdentityValues, LoadMethod, LoadMode, LoadOptions, OnConflict, TypesFrom};
pub use pgarrow_catalog::{NAME_BYTES_MAX, RelationName};
pub use pgarrow_encode::Conversions;
pub use pgarrow_session::{Connection, Limit, ServerReport};
pub use progress::{LoadProgress, LoadStage};
pub use report::{BatchTimes, LoadColumnReport, LoadPhases, LoadReport, WriterReport};
pub use set::{LoadSet, LookedAt};
pub use sink::{LoadSink, LoadedReport};
pub use upkeep::UpkeepReport;
