//! `Progress`: how far an export is, for any thread; and its samples, for the report.
//!
//! ```text
//!  reader ── a buffer received ─▶ rows, bytes of its table ─┐
//!         ── a batch, a slice ──▶ waits, buffers, slices ───┼─▶ Progress ─▶ bars, lines, JSON
//!  Budget ── memory in use ─────────────────────────────────┘      └─ samples ─▶ Report
//! ```
//!
//! Readers only add to counters. Whoever looks pays for sums and words.

mod samples;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use samples::Sample;
use samples::Samples;

use crate::budget::MemoryUse;
use crate::phases::Phases;
use crate::plan::Plan;

/// How far an export is. Read it from any thread.
#[derive(Debug)]
pub struct Progress {
    /// In the order of the plans.
    tables: Vec<TableProgress>,
    /// When the reading began.
    clock: Arc<OnceLock<Instant>>,
    batches: AtomicU64,
    wait_for_server: AtomicU64,
    wait_for_sink: AtomicU64,
    wait_for_memory: AtomicU64,
    buffers_allocated: AtomicU64,
    buffers_reused: AtomicU64,
    memory: OnceLock<Arc<MemoryUse>>,
    /// When the next sample is due, in nanoseconds after the beginning.
    next_sample: AtomicU64,
    samples: Mutex<Samples>,
}

/// How far one table, query or slice of an export is.
#[derive(Debug)]
pub struct TableProgress {
    subject: String,
    estimated_rows: Option<u64>,
    slices_total: u64,
    clock: Arc<OnceLock<Instant>>,
    rows: AtomicU64,
    rows_rejected: AtomicU64,
    wire_bytes: AtomicU64,
    slices: AtomicU64,
    /// When its first slice began, in nanoseconds after the beginning; [`NEVER`] if none has,
    begun: AtomicU64,
    /// and when its last one so far ended.
    ended: AtomicU64,
}

const NEVER: u64 = u64::MAX;

/// What readers waited for so far, in seconds: the sum over all readers. Counted when a batch or a slice is
/// complete.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Waits {
    /// For the server, or the network.
    pub server: f64,
    /// For the consumer of batches, for another reader that appends, or for a slice's turn.
    pub sink: f64,
    /// For memory within the limit.
    pub memory: f64,
}

/// What a reader has added to the counters of a [`Progress`] so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// For the server, the sink and memory, in nanoseconds.
    waits: [u64; 3],
    /// Allocated and reused.
    buffers: [u64; 2],
}

impl Progress {
    pub(crate) fn new(plans: &[Arc<Plan>]) -> Self {
        let clock = Arc::<OnceLock<Instant>>::default();
        let table = |plan: &Arc<Plan>| TableProgress {
            subject: plan.subject().to_owned(),
            estimated_rows: plan.estimated_rows(),
            slices_total: plan.n_slices() as u64,
            clock: Arc::clone(&clock),
            rows: AtomicU64::new(0),
            rows_rejected: AtomicU64::new(0),
            wire_bytes: AtomicU64::new(0),
            slices: AtomicU64::new(0),
            begun: AtomicU64::new(NEVER),
            ended: AtomicU64::new(0),
        };
        Self {
            tables: plans.iter().map(table).collect(),
            clock,
            batches: AtomicU64::new(0),
            wait_for_server: AtomicU64::new(0),
            wait_for_sink: AtomicU64::new(0),
            wait_for_memory: AtomicU64::new(0),
            buffers_allocated: AtomicU64::new(0),
            buffers_reused: AtomicU64::new(0),
            memory: OnceLock::new(),
            next_sample: AtomicU64::new(0),
            samples: Mutex::default(),
        }
    }

    /// Each table, query or slice by itself, in the order of [`Run::plans`](crate::Run::plans).
    pub fn tables(&self) -> &[TableProgress] {
        &self.tables
    }

    /// Rows decoded.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(TableProgress::rows).sum()
    }

    /// Rows that were left out ([`ExportOptions::with_reject`](crate::ExportOptions::with_reject)).
    pub fn rows_rejected(&self) -> u64 {
        self.tables.iter().map(TableProgress::rows_rejected).sum()
    }

    /// Bytes received for rows, message headers included.
    pub fn wire_bytes(&self) -> u64 {
        self.tables.iter().map(TableProgress::wire_bytes).sum()
    }

    /// Batches handed out.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Slices completed.
    pub fn slices(&self) -> u64 {
        self.tables.iter().map(TableProgress::slices).sum()
    }

    /// Slices in all.
    pub fn slices_total(&self) -> u64 {
        self.tables.iter().map(TableProgress::slices_total).sum()
    }

    /// Seconds since the reading began; 0 before.
    pub fn seconds(&self) -> f64 {
        seconds(elapsed(&self.clock))
    }

    /// Bytes of memory that the run holds now, of those that count against its limit.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.get().map_or(0, |memory| memory.used() as u64)
    }

    /// The most that it has held at once.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.memory.get().map_or(0, |memory| memory.peak() as u64)
    }

    /// How often a reader waited for memory.
    pub fn memory_waits(&self) -> u64 {
        self.memory.get().map_or(0, |memory| memory.waits())
    }

    /// What readers waited for.
    pub fn waits(&self) -> Waits {
        let of = |waited: &AtomicU64| seconds(waited.load(Ordering::Relaxed));
        Waits {
            server: of(&self.wait_for_server),
            sink: of(&self.wait_for_sink),
            memory: of(&self.wait_for_memory),
        }
    }

    /// Value buffers that were allocated for batches. Counted when a batch or a slice is complete.
    pub fn buffers_allocated(&self) -> u64 {
        self.buffers_allocated.load(Ordering::Relaxed)
    }

    /// Value buffers that were used again. Counted when a batch or a slice is complete.
    pub fn buffers_reused(&self) -> u64 {
        self.buffers_reused.load(Ordering::Relaxed)
    }

    /// The reading begins. A second call changes nothing: a run is read once.
    pub(crate) fn begin(&self, at: Instant, memory: Arc<MemoryUse>) {
        let _ = self.clock.set(at);
        let _ = self.memory.set(memory);
    }

    pub(crate) fn slice_began(&self, plan_index: usize) {
        if let Some(table) = self.tables.get(plan_index) {
            table.begun.fetch_min(elapsed(&self.clock), Ordering::Relaxed);
        }
    }

    pub(crate) fn slice_ended(&self, plan_index: usize) {
        if let Some(table) = self.tables.get(plan_index) {
            table.ended.fetch_max(elapsed(&self.clock), Ordering::Relaxed);
            table.slices.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds what arrived for a table, and takes a sample if one is due.
    pub(crate) fn add(&self, plan_index: usize, rows: u64, wire_bytes: u64) {
        let Some(table) = self.tables.get(plan_index) else { return };
        table.rows.fetch_add(rows, Ordering::Relaxed);
        table.wire_bytes.fetch_add(wire_bytes, Ordering::Relaxed);
        let now = elapsed(&self.clock);
        if now >= self.next_sample.load(Ordering::Relaxed) {
            // Another reader may be taking this very sample.
            if let Ok(mut samples) = self.samples.try_lock() {
                let next = samples.take(self.sample(now));
                self.next_sample.store(next, Ordering::Relaxed);
            }
        }
    }

    /// Takes back what a failed attempt has added.
    pub(crate) fn take_back(&self, plan_index: usize, rows: u64, rejected: u64, wire_bytes: u64) {
        if let Some(table) = self.tables.get(plan_index) {
            table.rows_rejected.fetch_sub(rejected, Ordering::SeqCst);
            table.rows.fetch_sub(rows, Ordering::Relaxed);
            table.wire_bytes.fetch_sub(wire_bytes, Ordering::Relaxed);
        }
    }

    /// A reader has left a row out. Returns how many that are, of this table.
    pub(crate) fn add_rejected(&self, plan_index: usize) -> u64 {
        // In one order for all readers: the limit is one of all tables.
        self.tables.get(plan_index).map_or(0, |table| table.rows_rejected.fetch_add(1, Ordering::SeqCst) + 1)
    }

    pub(crate) fn batch_handed_out(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what a reader has waited, and its buffers, since it told last.
    pub(crate) fn tell(&self, told: &mut Told, phases: &Phases, (allocated, reused): (u64, u64)) {
        let waits = [phases.wait_for_server, phases.wait_for_sink, phases.wait_for_memory];
        let now = Told { waits: waits.map(nanos), buffers: [allocated, reused] };
        let sums = [
            (&self.wait_for_server, now.waits[0], told.waits[0]),
            (&self.wait_for_sink, now.waits[1], told.waits[1]),
            (&self.wait_for_memory, now.waits[2], told.waits[2]),
            (&self.buffers_allocated, now.buffers[0], told.buffers[0]),
            (&self.buffers_reused, now.buffers[1], told.buffers[1]),
        ];
        for (sum, now, before) in sums {
            sum.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        }
        *told = now;
    }

    /// The samples so far, and one of the end.
    pub(crate) fn samples(&self, end: Duration) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.and_last(self.sample(end.as_nanos().try_into().unwrap_or(NEVER)))
    }

    fn sample(&self, nanos: u64) -> Sample {
        Sample {
            seconds: seconds(nanos),
            rows: self.rows(),
            wire_bytes: self.wire_bytes(),
            memory_bytes: self.memory_bytes(),
        }
    }
}

impl TableProgress {
    /// What is read: `public.orders`, or `the query`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its rows, as the server estimates them.
    pub fn estimated_rows(&self) -> Option<u64> {
        self.estimated_rows
    }

    /// Rows decoded.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Rows that were left out.
    pub fn rows_rejected(&self) -> u64 {
        self.rows_rejected.load(Ordering::SeqCst)
    }

    /// Bytes received for rows, message headers included.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes.load(Ordering::Relaxed)
    }

    /// Slices completed.
    pub fn slices(&self) -> u64 {
        self.slices.load(Ordering::Relaxed)
    }

    /// Slices in all.
    pub fn slices_total(&self) -> u64 {
        self.slices_total
    }

    /// Seconds since its first slice began, until now or until its last one ended; 0 before.
    pub fn seconds(&self) -> f64 {
        let begun = self.begun.load(Ordering::Relaxed);
        if begun == NEVER {
            return 0.0;
        }
        let ended = match self.is_complete() {
            true => self.ended.load(Ordering::Relaxed),
            false => elapsed(&self.clock),
        };
        seconds(ended.saturating_sub(begun))
    }

    /// Whether its first slice has begun, and its last one has not ended.
    pub fn is_being_read(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != NEVER && !self.is_complete()
    }

    /// Whether all its slices are completed.
    pub fn is_complete(&self) -> bool {
        self.slices() >= self.slices_total
    }
}

fn elapsed(clock: &OnceLock<Instant>) -> u64 {
    clock.get().map_or(0, |at| at.elapsed().as_nanos().try_into().unwrap_or(NEVER - 1))
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_tells_only_what_is_new() {
        let (progress, mut one, mut two) = (Progress::new(&[]), Told::default(), Told::default());
        let phases =
            |server, sink| Phases { wait_for_server: server, wait_for_sink: sink, ..Phases::default() };
        progress.tell(&mut one, &phases(1.5, 0.0), (4, 0));
        progress.tell(&mut one, &phases(1.5, 0.25), (4, 8));
        progress.tell(&mut two, &phases(2.0, 0.5), (4, 1));
        assert_eq!(progress.waits(), Waits { server: 3.5, sink: 0.75, memory: 0.0 });
        assert_eq!((progress.buffers_allocated(), progress.buffers_reused()), (8, 9));
    }
}
