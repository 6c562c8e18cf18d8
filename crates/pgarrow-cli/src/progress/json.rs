//! `--progress json`: one object on a line. The book has the fields: docs/src/report.md.

use pgarrow_load::LoadStage;
use serde::Serialize;

use super::tables::{TableLine, being_read};
use super::work::{Work, seconds_left};
use crate::units;

/// Most tables in `reading`.
const TABLES_MAX: usize = 64;

/// What exports and loads have in common.
#[derive(Serialize)]
struct Common {
    event: &'static str,
    is_last: bool,
    seconds: f64,
    rows: u64,
    rows_expected: Option<u64>,
    wire_bytes: u64,
    rows_per_second: u64,
    seconds_left: Option<f64>,
    stage: Option<&'static str>,
}

#[derive(Serialize)]
struct OfExport {
    #[serde(flatten)]
    common: Common,
    rows_rejected: u64,
    batches: u64,
    slices: u64,
    slices_total: u64,
    tables: usize,
    tables_total: usize,
    reading: Vec<TableLine>,
    memory_bytes: u64,
    memory_peak_bytes: u64,
    memory_waits: u64,
    waits: OfWaits,
    buffers_allocated: u64,
    buffers_reused: u64,
}

#[derive(Serialize)]
struct OfWaits {
    server: f64,
    sink: f64,
    memory: f64,
}

#[derive(Serialize)]
struct OfLoad {
    #[serde(flatten)]
    common: Common,
    rows_rejected: u64,
    rows_committed: u64,
}

/// How far the work is, after `seconds`.
pub(super) fn line(work: &Work, seconds: f64, is_last: bool) -> Option<String> {
    let counts = work.counts();
    let rows_expected = work.total().rows();
    let common = Common {
        event: "progress",
        is_last,
        seconds,
        rows: counts.rows,
        rows_expected,
        wire_bytes: counts.bytes,
        rows_per_second: units::per_second(counts.rows, seconds),
        seconds_left: seconds_left(counts.rows, rows_expected, seconds).filter(|_| !is_last),
        stage: counts.stage.and_then(stage),
    };
    let line = match work {
        Work::Export { progress, .. } => {
            let (waits, tables) = (progress.waits(), progress.tables());
            let mut reading = being_read(progress);
            reading.truncate(TABLES_MAX);
            serde_json::to_string(&OfExport {
                common,
                rows_rejected: progress.rows_rejected(),
                batches: progress.batches(),
                slices: counts.slices,
                slices_total: counts.n_slices,
                tables: tables.iter().filter(|table| table.is_complete()).count(),
                tables_total: tables.len(),
                reading,
                memory_bytes: progress.memory_bytes(),
                memory_peak_bytes: progress.memory_peak_bytes(),
                memory_waits: progress.memory_waits(),
                waits: OfWaits { server: waits.server, sink: waits.sink, memory: waits.memory },
                buffers_allocated: progress.buffers_allocated(),
                buffers_reused: progress.buffers_reused(),
            })
        }
        Work::Load { progress, .. } => serde_json::to_string(&OfLoad {
            common,
            rows_rejected: progress.rows_rejected(),
            rows_committed: progress.rows_committed(),
        }),
        Work::Loads { .. } => serde_json::to_string(&OfLoad {
            common,
            rows_rejected: counts.rejected,
            rows_committed: counts.committed,
        }),
        Work::Made { .. } => serde_json::to_string(&common),
    };
    line.ok()
}

fn stage(stage: LoadStage) -> Option<&'static str> {
    Some(match stage {
        LoadStage::Sending => "sending",
        LoadStage::Merging => "merging",
        LoadStage::Replacing => "replacing",
        LoadStage::Committing => "committing",
        LoadStage::Committed => "committed",
        LoadStage::Tending => "tending",
        _ => return None,
    })
}
