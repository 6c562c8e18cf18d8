//! Arrow into PostgreSQL: record batches become binary `COPY … FROM STDIN`.
//!
//! ```text
//!  Load ──open(schema)──▶ Loading ──write(batch)…──▶ finish() ──▶ LoadReport
//!      └fed_by(holders)       └──into_sink()──▶ LoadSink, for Run::write_to of an export: from server to server
//!  input::Input::open(files): schema, batches
//!  Load ──load_reader(reader), load_stream(schema, stream)──▶ LoadReport
//!  Connection ──begin()──▶ Load::in_transaction ──▶ … as above … ──▶ commit()
//! ```
//!
//! Tables and servers that COPY cannot load are loaded by INSERT of many rows at once.
//!
//! What columns the target has is read from its catalog, and how each of them is made from Arrow is decided
//! before the first byte is sent. All of a load is one transaction: what fails, or is killed, leaves the
//! target as it was. If it is wanted, it is committed in parts, each with a mark that a second start goes on
//! from; and rows that cannot be loaded are left out, one by one. Or it is a part of a transaction that the
//! caller begins and ends ([`Load::in_transaction`]).
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/load_batches.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

mod arrival;
mod batches;
mod batchwise;
mod choice;
mod conflict;
mod copied;
mod create;
mod end;
mod exact;
mod hidden;
pub mod input;
mod insert;
mod lane;
mod load;
mod loading;
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
mod sink;
mod staged_form;
mod target;
mod transaction;
mod trouble;
mod writers;

pub use load::Load;
pub use loading::Loading;
pub use options::{IdentityValues, LoadMethod, LoadMode, LoadOptions, OnConflict, TypesFrom};
pub use pgarrow_encode::Conversions;
pub use pgarrow_session::{Connection, Limit, ServerReport};
pub use progress::{LoadProgress, LoadStage};
pub use report::{BatchTimes, LoadColumnReport, LoadPhases, LoadReport, WriterReport};
pub use sink::{LoadSink, LoadedReport};
