//! The progress of a load, for other threads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// The progress of a load. Any thread may read it.
#[derive(Debug, Default)]
pub struct LoadProgress {
    rows: AtomicU64,
    wire_bytes: AtomicU64,
    rows_rejected: AtomicU64,
    rows_committed: AtomicU64,
    stage: AtomicU8,
    has_given_up: AtomicBool,
}

/// The current stage of a load. Long stages after the last row have names, because the row count does not
/// move then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoadStage {
    /// Rows are being sent.
    Sending,
    /// One statement inserts all rows from the staging table into the target, for example in an upsert; or
    /// makes the primary key of a new table.
    Merging,
    /// The new table takes the old one's place: the server checks foreign keys, and the load waits for
    /// locks.
    Replacing,
    /// The transaction is being committed. Not in a transaction of the caller.
    Committing,
    /// Everything is committed. Not in a transaction of the caller.
    Committed,
    /// Everything is committed, and VACUUM or ANALYZE runs.
    Tending,
}

impl LoadStage {
    /// Whether everything is committed.
    pub fn is_committed(self) -> bool {
        match self {
            Self::Committed | Self::Tending => true,
            Self::Sending | Self::Merging | Self::Replacing | Self::Committing => false,
        }
    }
}

impl LoadProgress {
    /// Rows given so far, including skipped and rejected rows.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes of rows sent so far.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes.load(Ordering::Relaxed)
    }

    /// Rows that were rejected.
    pub fn rows_rejected(&self) -> u64 {
        self.rows_rejected.load(Ordering::Relaxed)
    }

    /// Rows from the start of the data that stay whatever happens: see
    /// [`Loading::rows_committed`](crate::Loading::rows_committed).
    pub fn rows_committed(&self) -> u64 {
        self.rows_committed.load(Ordering::Relaxed)
    }

    /// Whether the load gave up because each of its first 1,000 rows was bad. These rows were handed out as
    /// rejected.
    pub fn has_given_up(&self) -> bool {
        self.has_given_up.load(Ordering::Relaxed)
    }

    /// The current stage.
    pub fn stage(&self) -> LoadStage {
        match self.stage.load(Ordering::Relaxed) {
            1 => LoadStage::Merging,
            2 => LoadStage::Replacing,
            3 => LoadStage::Committing,
            4 => LoadStage::Committed,
            5 => LoadStage::Tending,
            _ => LoadStage::Sending,
        }
    }

    pub(crate) fn set_rows(&self, rows: u64, wire_bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.wire_bytes.store(wire_bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_wire_bytes(&self, wire_bytes: u64) {
        self.wire_bytes.store(wire_bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_rejected(&self, rows: u64) {
        self.rows_rejected.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn set_committed(&self, rows: u64) {
        self.rows_committed.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn give_up(&self) {
        self.has_given_up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn enter(&self, stage: LoadStage) {
        let stage = match stage {
            LoadStage::Sending => 0,
            LoadStage::Merging => 1,
            LoadStage::Replacing => 2,
            LoadStage::Committing => 3,
            LoadStage::Committed => 4,
            LoadStage::Tending => 5,
        };
        self.stage.store(stage, Ordering::Relaxed);
    }
}
