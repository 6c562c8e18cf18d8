//! `LoadSink`: the table as the output of an export.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use pgarrow_sink::{Chunk, Chunks, MANY_LANES, Part, Sink, SinkError, SinkErrorKind, Stop, Written};

use crate::end::End;
use crate::lane::{Encoded, Give, Lane, LaneContext, LaneTally};
use crate::queue::{BUFFER_BYTES, OnTheWay};
use crate::report::LoadReport;

/// A table as the sink of an export: pass it to `Run::write_to`.
///
/// First tell the load which export feeds it, with [`Load::fed_by`](crate::Load::fed_by).
///
/// Readers encode their own batches, and one thread sends them in one COPY. The load commits once the source
/// has confirmed all of its rows. If it is dropped before, the target stays as it was.
#[derive(Debug)]
pub struct LoadSink {
    shared: Arc<LaneContext>,
    end: Arc<End>,
    report: LoadedReport,
}

/// The report of a load that an export feeds, available after the commit.
#[derive(Clone, Debug, Default)]
pub struct LoadedReport(Arc<Mutex<Option<LoadReport>>>);

impl LoadedReport {
    /// The report; `None` until the load is committed.
    pub fn take(&self) -> Option<LoadReport> {
        lock(&self.0).take()
    }
}

impl LoadSink {
    pub(crate) fn new(shared: Arc<LaneContext>, end: End) -> Self {
        shared.pipe.set_unnumbered();
        Self { shared, end: Arc::new(end), report: LoadedReport::default() }
    }

    /// Where the load's report appears.
    pub fn report(&self) -> LoadedReport {
        self.report.clone()
    }
}

/// What to do with a lane's rows.
enum Step {
    /// Send them.
    Send(Encoded),
    /// Wait until none of the lane's rows are in memory.
    Drain(OnTheWay),
}

impl Sink for LoadSink {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        Ok(Box::new(LoadPart { lane: Lane::new(Arc::clone(&self.shared)), end: Arc::clone(&self.end) }))
    }

    fn append(&self, _lane: usize, chunk: Chunk, stop: &Stop) -> Result<(), SinkError> {
        let started = Instant::now();
        let done = match chunk.into_encoded()? {
            Step::Send(Encoded { buffer, of, .. }) => self.shared.pipe.send(buffer, &of, stop),
            Step::Drain(of) => self.shared.pipe.drain(&of, stop),
        };
        self.end.merge(&LaneTally { wait: started.elapsed(), ..LaneTally::default() });
        done.map_err(sink_error)
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        let Self { shared, end, report: place } = *self;
        // Each part holds a reference; a finished part has dropped it.
        let end = Arc::into_inner(end);
        let end = end.ok_or_else(|| {
            let text = "a part of the load is still there, so that rows may be missing; nothing was loaded";
            SinkError::new(SinkErrorKind::Incomplete, text)
        })?;
        let report = end.commit(&shared).map_err(sink_error)?;
        // Rows that a trigger of the target left out still count as written for the source.
        let written = Written {
            rows: report.rows_sent,
            bytes: report.wire_bytes,
            files: Vec::new(),
            warnings: report.warnings.clone(),
        };
        *lock(&place.0) = Some(report);
        Ok(written)
    }

    fn lanes(&self) -> usize {
        MANY_LANES
    }

    fn is_consumer(&self) -> bool {
        true
    }
}

/// One reader's part of the load.
#[derive(Debug)]
struct LoadPart {
    lane: Lane,
    end: Arc<End>,
}

impl LoadPart {
    /// Runs work of the lane; its encoded rows become chunks.
    fn encode(
        &mut self,
        chunks: &mut Chunks<'_>,
        work: impl FnOnce(&mut Lane, &mut Give<'_>) -> pgarrow_session::Result<()>,
    ) -> Result<(), SinkError> {
        let worked = work(&mut self.lane, &mut |encoded, tally| {
            let started = Instant::now();
            let (rows, bytes) = (encoded.rows, encoded.buffer.capacity());
            let pushed = chunks.push(Chunk::new(rows, bytes, Step::Send(encoded)));
            // The sink counts this wait, too. Here it only keeps the wait out of the encoding time.
            tally.wait += started.elapsed();
            Ok(pushed?)
        });
        let tally = std::mem::take(&mut self.lane.tally);
        self.end.merge(&LaneTally { wait: Duration::ZERO, ..tally });
        worked.map_err(sink_error)
    }
}

impl Part for LoadPart {
    fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        self.encode(chunks, |lane, give| lane.encode(batch, give))
    }

    /// Also waits until none of its rows are in memory.
    fn flush(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        self.finish(chunks)?;
        let of = self.lane.on_the_way().clone();
        chunks.push(Chunk::new(0, 0, Step::Drain(of)))
    }

    fn finish(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        self.encode(chunks, Lane::give)
    }

    /// Includes rows on their way to the server.
    fn held_bytes(&self) -> usize {
        self.lane.held_bytes()
    }

    fn working_bytes(&self, batch_bytes: usize) -> usize {
        // A row is encoded as a whole; numbers as text, for example, may be larger there than in Arrow.
        BUFFER_BYTES + batch_bytes.saturating_mul(2)
    }
}

fn sink_error(error: pgarrow_session::Error) -> SinkError {
    SinkError::of(SinkErrorKind::Io, error)
}

/// Each change under the lock is complete or was not begun, even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
