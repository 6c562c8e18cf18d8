//! How far a load is, for whoever looks on.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// How far a load is. Read it from any thread.
#[derive(Debug, Default)]
pub struct LoadProgress {
    rows: AtomicU64,
    wire_bytes: AtomicU64,
    rows_rejected: AtomicU64,
    rows_committed: AtomicU64,
    stage: AtomicU8,
    has_given_up: AtomicBool,
}

/// What a load is doing. What takes long behind the last row is named, since no row is seen to move meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoadStage {
    /// Rows are taken and sent.
    Sending,
    /// One statement of the server brings all rows from the staging table into the table: in an upsert, among others.
    Merging,
    /// The new table takes the old one's place: foreign keys are looked up, locks are waited for.
    Replacing,
    /// The transaction is being committed. Not by a load in a transaction of the caller.
    Committing,
    /// All is committed. Not by a load in a transaction of the caller.
    Committed,
}

impl LoadProgress {
    /// Rows that were given, those that are skipped or rejected among them.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes of rows that were sent.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes.load(Ordering::Relaxed)
    }

    /// Rows that were found bad, and are left out.
    pub fn rows_rejected(&self) -> u64 {
        self.rows_rejected.load(Ordering::Relaxed)
    }

    /// Rows of the data, from the first one on, that stay whatever happens: see
    /// [`Loading::rows_committed`](crate::Loading::rows_committed).
    pub fn rows_committed(&self) -> u64 {
        self.rows_committed.load(Ordering::Relaxed)
    }

    /// Whether the load has ended since each of its first 1,000 rows was bad: those that were handed out as rejected are.
    pub fn has_given_up(&self) -> bool {
        self.has_given_up.load(Ordering::Relaxed)
    }

    /// What is being done now.
    pub fn stage(&self) -> LoadStage {
        match self.stage.load(Ordering::Relaxed) {
            1 => LoadStage::Merging,
            2 => LoadStage::Replacing,
            3 => LoadStage::Committing,
            4 => LoadStage::Committed,
            _ => LoadStage::Sending,
        }
    }

    pub(crate) fn set_rows(&self, rows: u64, wire_bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
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
        };
        self.stage.store(stage, Ordering::Relaxed);
    }
}
