//! One reader's way into the table: batches become rows, and rows go to the sending thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pgarrow_encode::{EncodeError, ValueError};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_sink::{Stop, check_batch};
use pgarrow_types::message;
use pgarrow_types::option::CONVERSIONS;

use crate::plan::LoadPlan;
use crate::queue::{BUFFER_BYTES, Buffer, OnTheWay};
use crate::report::Times;
use crate::transaction::{outcome, place_in};
use crate::writers::Senders;

/// What all lanes of a load share.
#[derive(Debug)]
pub(crate) struct LaneContext {
    pub(crate) plan: Arc<LoadPlan>,
    pub(crate) schema: SchemaRef,
    pub(crate) pipe: Senders,
    /// Schema and name of the table.
    pub(crate) target: String,
    /// Rows of the data that earlier transactions committed.
    pub(crate) committed: u64,
}

/// Only one thread at a time encodes in a lane.
#[derive(Debug)]
pub(crate) struct Lane {
    shared: Arc<LaneContext>,
    /// None before the first batch.
    buffer: Option<Buffer>,
    /// Rows in the buffer.
    buffer_rows: u64,
    on_the_way: OnTheWay,
    /// The first error. Rows are missing, so no others may follow.
    failed: Option<Error>,
    pub(crate) tally: LaneTally,
}

/// Encoded whole rows that leave a lane.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) buffer: Buffer,
    pub(crate) rows: u64,
    pub(crate) of: OnTheWay,
}

/// Counts and times of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneTally {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) encode: Duration,
    pub(crate) wait: Duration,
    pub(crate) times: Times,
}

/// Takes rows that a lane has encoded, and adds the lane's waiting time to the tally.
pub(crate) type Give<'a> = dyn FnMut(Encoded, &mut LaneTally) -> Result<()> + 'a;

impl LaneContext {
    /// Sends whole rows to the server.
    fn send(&self, encoded: Encoded, stop: &Stop, tally: &mut LaneTally) -> Result<()> {
        let started = Instant::now();
        let sent = self.pipe.send(encoded.buffer, &encoded.of, stop);
        tally.wait += started.elapsed();
        sent
    }
}

impl LaneTally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.encode += other.encode;
        self.wait += other.wait;
        self.times.merge(&other.times);
    }
}

impl Lane {
    pub(crate) fn new(shared: Arc<LaneContext>) -> Self {
        Self {
            shared,
            buffer: None,
            buffer_rows: 0,
            on_the_way: OnTheWay::default(),
            failed: None,
            tally: LaneTally::default(),
        }
    }

    /// Encodes the batch, and sends each buffer that is full.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.encode(batch, &mut |encoded, tally| shared.send(encoded, &Stop::default(), tally))
    }

    /// Sends the gathered rows.
    pub(crate) fn send(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.give(&mut |encoded, tally| shared.send(encoded, &Stop::default(), tally))
    }

    /// Encodes the batch, and passes each full buffer to `give`.
    pub(crate) fn encode(&mut self, batch: &RecordBatch, give: &mut Give<'_>) -> Result<()> {
        self.unless_failed(|lane| lane.encode_rows(batch, give))
    }

    /// Passes the gathered rows to `give`.
    pub(crate) fn give(&mut self, give: &mut Give<'_>) -> Result<()> {
        self.unless_failed(|lane| lane.give_rows(give))
    }

    /// The memory of this lane's rows on their way to the server.
    pub(crate) fn on_the_way(&self) -> &OnTheWay {
        &self.on_the_way
    }

    /// Memory of rows that are not sent yet.
    pub(crate) fn held_bytes(&self) -> usize {
        self.buffer.as_ref().map_or(0, Buffer::capacity) + self.on_the_way.bytes()
    }

    /// After a failure every call fails: rows are missing, so no later rows may be loaded.
    fn unless_failed(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.duplicate());
        }
        work(self).inspect_err(|error| self.failed = Some(error.duplicate()))
    }

    fn encode_rows(&mut self, batch: &RecordBatch, give: &mut Give<'_>) -> Result<()> {
        let started = Instant::now();
        let waited_before = self.tally.wait;
        check_batch(&self.shared.schema, batch)?;
        let shared = Arc::clone(&self.shared);
        let bound = shared.plan.encoder.bind(batch).map_err(|error| self.refuse(error))?;
        let mut row = 0;
        while row < bound.rows() {
            let mut buffer = self.buffer.take().unwrap_or_else(|| shared.pipe.empty_buffer());
            let written = bound.write_rows(row, BUFFER_BYTES, buffer.bytes_mut());
            let is_full = buffer.len() >= BUFFER_BYTES;
            self.buffer = Some(buffer);
            let next = written.map_err(|error| self.refuse(error))?;
            self.buffer_rows += (next - row) as u64;
            row = next;
            if is_full {
                self.give_rows(give)?;
            }
        }
        self.tally.rows += bound.rows() as u64;
        let took = started.elapsed();
        self.tally.encode += took.saturating_sub(self.tally.wait.saturating_sub(waited_before));
        self.tally.times.add(took);
        Ok(())
    }

    fn give_rows(&mut self, give: &mut Give<'_>) -> Result<()> {
        match self.buffer.take() {
            Some(buffer) if buffer.rows().is_empty() => self.buffer = Some(buffer),
            Some(buffer) => {
                self.tally.bytes += buffer.rows().len() as u64;
                let (rows, of) = (std::mem::take(&mut self.buffer_rows), self.on_the_way.clone());
                give(Encoded { buffer, rows, of }, &mut self.tally)?;
            }
            None => {}
        }
        Ok(())
    }

    fn refuse(&self, error: EncodeError) -> Error {
        let LaneContext { plan, pipe, target, committed, .. } = self.shared.as_ref();
        let mut place = format!("{target}, {}", plan.place(&error));
        let mut at = place_in(target);
        at.column = plan.names.get(error.column).map(|(name, _)| name.clone());
        if !pipe.is_unnumbered() {
            let row = committed + self.tally.rows + error.row as u64 + 1;
            place.push_str(&format!(", row {row} of the data"));
            at = at.with_row(row);
        }
        let cause = error.cause;
        let error = Error::new(ErrorKind::Value, format!("{place}: {cause}")).at(at).caused_by(cause);
        match cause {
            ValueError::LostDigits => error.advice(message![CONVERSIONS.to("round"), " rounds them away"]),
            ValueError::LostBlanks => error.advice(message![CONVERSIONS.to("round"), " lets it"]),
            _ => error,
        }
        .advice(outcome(*committed))
    }
}
