//! A night's run: many tables of one database into one place, under one snapshot, committed together.
//!
//! ```text
//!  JobFile ─▶ Job ─▶ JobRun::begin ─▶ plan ─▶ write ─▶ Committed      verify, garbage
//!             │ layout, format  │ lock   │       │ journal, manifest
//!             │ rules           │        └ prepare: which tables; all rows, or new ones (incremental, growing)
//!             │ partition       └─ pgarrow-store
//!             └ variables
//! ```
//!
//! Data files have names of their run, and nothing refers to them until the run's manifest is created, as the
//! last step. Whoever reads by manifests sees all of a run or nothing.
#![forbid(unsafe_code)]

mod choice;
mod file;
mod file_query;
mod format;
mod gc;
mod growing;
mod identity;
mod incremental;
mod job;
mod journal;
mod keys;
mod layout;
mod lock;
mod manifest;
mod origin;
mod partition;
mod planned_table;
mod prepare;
mod reader;
mod rules;
mod run;
mod starter;
mod subject;
mod texts;
pub mod units;
mod variables;
mod verify;
mod web;
mod written;

pub use choice::{ChosenTables, Opened, TableChoice, open_those_that_can};
pub use file::{FileOption, JobFile, KnownOption, OptionValue};
pub use file_query::{QuerySection, QueryText};
pub use format::{Format, numerics_as_text};
pub use gc::garbage;
pub use job::{Job, RunOptions};
pub use keys::KEYS;
pub use layout::Layout;
pub use lock::LOCK;
pub use manifest::{
    Increment, Manifest, ManifestColumn, ManifestFailure, ManifestFile, ManifestPartition, ManifestServer,
    ManifestTable, TableState,
};
pub use origin::{Origin, schema_with};
pub use partition::{DatePart, PartitionBy, PartitionFiles, PartitionKey, PartitionValues};
pub use rules::{Finding, NullRows, Overlap, SchemaChange, TableRule};
pub use run::{Committed, JobRun, PlannedRun};
pub use starter::starter;
pub use subject::{JobQuery, JobSubject};
pub use verify::{
    AgainstServer, Compared, Difference, ExportCheck, FileRow, NotCompared, ServerDifference, ServerVerified,
    Verified, verify,
};
