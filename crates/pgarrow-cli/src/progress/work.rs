//! What a watch looks at: an export, a load, or rows that are made.

use std::sync::{Arc, OnceLock, PoisonError};

use pgarrow::{Plan, Progress};
use pgarrow_load::{LoadProgress, LoadStage};

use super::tables::{TableLine, being_read};
use crate::signals::Loads;

/// What is watched.
pub(crate) enum Work {
    /// An export. Once its rows go into a table, `loading` has that load.
    Export { progress: Arc<Progress>, total: Total, loading: Arc<OnceLock<Arc<LoadProgress>>> },
    /// A load of files.
    Load { progress: Arc<LoadProgress>, total: Total },
    /// Loads of files into several tables, one after another. `whole` is that of the transaction that all are
    /// part of, if they are.
    Loads { loads: Loads, whole: Option<Arc<LoadProgress>>, total: Total },
    /// Rows that this process makes.
    Made { counts: Box<dyn Fn() -> Counts + Send>, total: Total },
}

impl Work {
    /// An export of the `plans`. `loading` is set once its rows go into a table, if they do.
    pub(crate) fn export(
        progress: &Arc<Progress>,
        plans: &[Arc<Plan>],
        loading: &Arc<OnceLock<Arc<LoadProgress>>>,
    ) -> Self {
        // If one table was never analysed, there is no total.
        let estimated_rows: Option<u64> = plans.iter().map(|plan| plan.estimated_rows()).sum();
        let total = estimated_rows.filter(|rows| *rows > 0).map_or(Total::Unknown, Total::Estimated);
        Self::Export { progress: Arc::clone(progress), total, loading: Arc::clone(loading) }
    }

    pub(super) fn total(&self) -> Total {
        match self {
            Self::Export { total, .. }
            | Self::Load { total, .. }
            | Self::Loads { total, .. }
            | Self::Made { total, .. } => *total,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        match self {
            Self::Export { progress, loading, .. } => Counts {
                rows: progress.rows(),
                bytes: progress.wire_bytes(),
                slices: progress.slices(),
                n_slices: progress.slices_total(),
                rejected: progress.rows_rejected(),
                given: progress.rows() + progress.rows_rejected(),
                committed: 0,
                stage: loading.get().map(|load| load.stage()),
            },
            Self::Load { progress, .. } => Counts {
                rows: progress.rows(),
                bytes: progress.wire_bytes(),
                rejected: progress.rows_rejected(),
                given: progress.rows(),
                stage: Some(progress.stage()),
                ..Counts::default()
            },
            Self::Loads { loads, whole, .. } => {
                let loads = loads.lock().unwrap_or_else(PoisonError::into_inner);
                let stage = match whole.as_ref().map(|whole| whole.stage()) {
                    None | Some(LoadStage::Sending) => loads.last().map(|load| load.stage()),
                    of_whole => of_whole,
                };
                let is_committed =
                    |load: &Arc<LoadProgress>| whole.as_ref().unwrap_or(load).stage().is_committed();
                Counts {
                    rows: loads.iter().map(|load| load.rows()).sum(),
                    committed: loads.iter().filter(|load| is_committed(load)).map(|load| load.rows()).sum(),
                    bytes: loads.iter().map(|load| load.wire_bytes()).sum(),
                    // Between two tables, the next one is about to begin.
                    stage: stage.filter(|stage| whole.is_some() || *stage != LoadStage::Committed),
                    ..Counts::default()
                }
            }
            Self::Made { counts, .. } => counts(),
        }
    }

    /// The tables that are being read now. Empty if the whole is one table.
    pub(super) fn tables(&self) -> Vec<TableLine> {
        match self {
            Self::Export { progress, .. } if progress.tables().len() > 1 => being_read(progress),
            Self::Export { .. } | Self::Load { .. } | Self::Loads { .. } | Self::Made { .. } => Vec::new(),
        }
    }

    /// How many tables are read, of how many; nothing if the whole is one.
    pub(super) fn n_tables(&self) -> Option<(u64, u64)> {
        let Self::Export { progress, .. } = self else { return None };
        let tables = progress.tables();
        let n_complete = tables.iter().filter(|table| table.is_complete()).count();
        (tables.len() > 1).then_some((n_complete as u64, tables.len() as u64))
    }
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Slices that are done.
    pub(crate) slices: u64,
    /// All slices; 0 if nothing is cut.
    pub(crate) n_slices: u64,
    /// Rows that are left out,
    pub(crate) rejected: u64,
    /// of so many.
    pub(crate) given: u64,
    /// Rows of several loads that are committed.
    pub(crate) committed: u64,
    /// The stage of a load.
    pub(crate) stage: Option<LoadStage>,
}

/// How many rows there will be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Total {
    Unknown,
    /// The server's estimate. Rows may pass it: then it grows.
    Estimated(u64),
    Exact(u64),
}

impl Total {
    /// The denominator at this number of rows: never less than `rows`. An estimate that is reached gets some
    /// room.
    pub(super) fn at(self, rows: u64) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Estimated(estimate) if rows >= estimate => Some(rows + rows / 50 + 1),
            Self::Estimated(total) | Self::Exact(total) => Some(total),
        }
    }

    /// The number as it was given.
    pub(super) fn rows(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Estimated(rows) | Self::Exact(rows) => Some(rows),
        }
    }
}

/// The seconds that the rest takes, at the rate so far; none if that is not known.
pub(super) fn seconds_left(rows: u64, expected: Option<u64>, seconds: f64) -> Option<f64> {
    let rest = expected?.checked_sub(rows)?;
    (rows > 0).then(|| seconds * rest as f64 / rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_that_is_passed_grows() {
        for rows in [0, 1, 99, 100, 101, 150, 1_000_000] {
            let total = Total::Estimated(100).at(rows).unwrap();
            assert!(total > rows && rows * 100 / total < 100, "{rows} of {total}");
        }
        assert_eq!((Total::Unknown.at(5), Total::Exact(5).at(5)), (None, Some(5)));
    }

    #[test]
    fn what_is_left_is_known_once_there_are_rows_and_an_end() {
        assert_eq!(seconds_left(25, Some(100), 2.0), Some(6.0));
        for (rows, expected) in [(0, Some(100)), (25, None), (101, Some(100))] {
            assert_eq!(seconds_left(rows, expected, 2.0), None);
        }
    }
}
