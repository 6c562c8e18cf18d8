//! `LoadSink`: the table as the output of an export.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use pgarrow_sink::{Part, Sink, SinkError, SinkErrorKind, SinkTimes, Stop, Written};

use crate::end::End;
use crate::lane::{Lane, Shared};
use crate::queue::BUFFER_BYTES;
use crate::report::LoadReport;

/// A table as the output of an export: `Run::write_to` takes it.
///
/// The load is to know which export it is of, by [`Load::fed_by`](crate::Load::fed_by).
///
/// Readers encode their own batches; one thread sends them, in one COPY. It is committed when the source has confirmed
/// all of its rows; dropped before, the target stays as it was.
#[derive(Debug)]
pub struct LoadSink {
    shared: Arc<Shared>,
    end: Arc<Mutex<Option<End>>>,
    open_parts: Arc<Mutex<OpenParts>>,
    report: LoadedReport,
}

#[derive(Debug, Default)]
struct OpenParts {
    opened: usize,
    finished: usize,
}

/// The report of a load that an export has made, once it is committed.
#[derive(Clone, Debug, Default)]
pub struct LoadedReport(Arc<Mutex<Option<LoadReport>>>);

impl LoadedReport {
    /// The report; `None` as long as the load is not committed.
    pub fn take(&self) -> Option<LoadReport> {
        lock(&self.0).take()
    }
}

impl LoadSink {
    pub(crate) fn new(shared: Arc<Shared>, end: End) -> Self {
        shared.pipe.set_unnumbered();
        Self {
            shared,
            end: Arc::new(Mutex::new(Some(end))),
            open_parts: Arc::default(),
            report: LoadedReport::default(),
        }
    }

    /// Where the load's report will be.
    pub fn report(&self) -> LoadedReport {
        self.report.clone()
    }
}

impl Sink for LoadSink {
    fn open_part(&self, _index: usize) -> Result<Box<dyn Part>, SinkError> {
        lock(&self.open_parts).opened += 1;
        Ok(Box::new(LoadPart {
            lane: Lane::new(Arc::clone(&self.shared)),
            end: Arc::clone(&self.end),
            open_parts: Arc::clone(&self.open_parts),
        }))
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        {
            let parts = lock(&self.open_parts);
            if parts.opened != parts.finished {
                let text =
                    "a part of the load was not finished, so that rows may be missing; nothing was loaded";
                return Err(SinkError::new(SinkErrorKind::Incomplete, text));
            }
        }
        let end = lock(&self.end).take();
        let end =
            end.ok_or_else(|| SinkError::new(SinkErrorKind::Incomplete, "the load has ended before"))?;
        let report = end.commit(&self.shared).map_err(sink_error)?;
        // What a trigger of the target left out was written as far as the source is concerned.
        let written = Written {
            rows: report.rows_sent,
            bytes: report.wire_bytes,
            files: Vec::new(),
            warnings: report.warnings.clone(),
        };
        *lock(&self.report.0) = Some(report);
        Ok(written)
    }
}

/// One reader's share.
#[derive(Debug)]
struct LoadPart {
    lane: Lane,
    end: Arc<Mutex<Option<End>>>,
    open_parts: Arc<Mutex<OpenParts>>,
}

impl Part for LoadPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.lane.write(batch).map_err(sink_error)
    }

    fn held_bytes(&self) -> usize {
        self.lane.held_bytes()
    }

    fn working_bytes(&self, batch_bytes: usize) -> usize {
        // A row is encoded whole; text of numbers and the like may be larger there than in Arrow.
        BUFFER_BYTES + batch_bytes.saturating_mul(2)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        match self.lane.is_holding() {
            true => Ok(()),
            false => self.lane.drain().map_err(sink_error),
        }
    }

    fn set_turn(&mut self, is_turn: bool) -> Result<(), SinkError> {
        // In an export that keeps its order, rows wait in their lane for those before.
        let was_holding = self.lane.is_holding();
        self.lane.set_holding(!is_turn);
        match is_turn && was_holding {
            true => self.lane.send().map_err(sink_error),
            false => Ok(()),
        }
    }

    fn watch(&mut self, stop: Stop) {
        self.lane.watch(stop);
    }

    fn times(&self) -> SinkTimes {
        SinkTimes { encode: self.lane.tally.encode, wait: self.lane.tally.wait, ..SinkTimes::default() }
    }

    fn finish(mut self: Box<Self>) -> Result<u64, SinkError> {
        if self.lane.is_holding() {
            let text = "a part ended before the rows before it were loaded";
            return Err(SinkError::new(SinkErrorKind::Incomplete, text));
        }
        self.lane.send().map_err(sink_error)?;
        if let Some(end) = lock(&self.end).as_ref() {
            end.merge(&self.lane.tally);
        }
        lock(&self.open_parts).finished += 1;
        Ok(self.lane.tally.rows)
    }
}

fn sink_error(error: pgarrow_session::Error) -> SinkError {
    SinkError::of(SinkErrorKind::Io, error)
}

/// What is behind a lock is complete or was not begun, also after a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
