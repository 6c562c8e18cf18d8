//! One reader's way into the table: batches become rows, rows go to the thread that sends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pgarrow_encode::{EncodeError, ValueError};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_sink::{Stop, check_batch};
use pgarrow_types::message;
use pgarrow_types::option::CONVERSIONS;

use crate::plan::Plan;
use crate::queue::{BUFFER_BYTES, Buffer, OnTheWay};
use crate::report::Times;
use crate::transaction::{outcome, place_in};
use crate::writers::Outlet;

/// What all lanes of a load share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) schema: SchemaRef,
    pub(crate) pipe: Outlet,
    /// Schema and name of the table.
    pub(crate) target: String,
    /// Rows of the data that were committed before.
    pub(crate) committed: u64,
}

/// One after the other: no two threads encode in one lane.
#[derive(Debug)]
pub(crate) struct Lane {
    shared: Arc<Shared>,
    /// None before the first batch.
    buffer: Option<Buffer>,
    /// Full ones: others come before them.
    held: Vec<Buffer>,
    held_bytes: usize,
    is_holding: bool,
    on_the_way: OnTheWay,
    stop: Stop,
    /// Rows are missing: nothing can follow.
    failed: Option<Error>,
    pub(crate) tally: LaneTally,
}

/// What a lane has done.
#[derive(Debug, Default)]
pub(crate) struct LaneTally {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) encode: Duration,
    pub(crate) wait: Duration,
    pub(crate) times: Times,
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
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            buffer: None,
            held: Vec::new(),
            held_bytes: 0,
            is_holding: false,
            on_the_way: OnTheWay::default(),
            stop: Stop::default(),
            failed: None,
            tally: LaneTally::default(),
        }
    }

    /// What says that waiting has no sense any more.
    pub(crate) fn watch(&mut self, stop: Stop) {
        self.stop = stop;
    }

    /// Encodes the batch and sends what fills a buffer.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.unless_failed(|lane| lane.encode(batch))
    }

    /// Sends what is gathered.
    pub(crate) fn send(&mut self) -> Result<()> {
        self.unless_failed(Self::send_all)
    }

    /// The same, and waits until nothing of it is in memory.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.unless_failed(|lane| {
            lane.send_all()?;
            let started = Instant::now();
            let drained = lane.shared.pipe.drain(&lane.on_the_way, &lane.stop);
            lane.tally.wait += started.elapsed();
            drained
        })
    }

    /// Whether rows are to stay in the lane until others were sent.
    pub(crate) fn set_holding(&mut self, is_holding: bool) {
        self.is_holding = is_holding;
    }

    /// Whether they are.
    pub(crate) fn is_holding(&self) -> bool {
        self.is_holding
    }

    /// Memory of rows that were not sent yet.
    pub(crate) fn held_bytes(&self) -> usize {
        let gathered = self.buffer.as_ref().map_or(0, Buffer::capacity);
        gathered + self.held_bytes + self.on_the_way.bytes()
    }

    /// What has failed once stays so: behind rows that are missing, no others may be loaded.
    fn unless_failed(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.again());
        }
        work(self).inspect_err(|error| self.failed = Some(error.again()))
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        let started = Instant::now();
        let waited_before = self.tally.wait;
        check_batch(&self.shared.schema, batch)?;
        let shared = Arc::clone(&self.shared);
        let bound = shared.plan.encoder.bind(batch).map_err(|error| self.refuse(error))?;
        let mut row = 0;
        while row < bound.rows() {
            let mut buffer = self.buffer.take().unwrap_or_default();
            let written = bound.write_rows(row, BUFFER_BYTES, buffer.bytes_mut());
            let is_full = buffer.len() >= BUFFER_BYTES;
            self.buffer = Some(buffer);
            row = written.map_err(|error| self.refuse(error))?;
            if is_full {
                self.pass_on()?;
            }
        }
        self.tally.rows += bound.rows() as u64;
        let took = started.elapsed();
        self.tally.encode += took.saturating_sub(self.tally.wait.saturating_sub(waited_before));
        self.tally.times.add(took);
        Ok(())
    }

    /// A full buffer goes on its way, or waits for the lane's turn.
    fn pass_on(&mut self) -> Result<()> {
        if !self.is_holding {
            return self.send_all();
        }
        if let Some(buffer) = self.buffer.take() {
            self.held_bytes += buffer.capacity();
            self.held.push(buffer);
        }
        Ok(())
    }

    fn send_all(&mut self) -> Result<()> {
        for buffer in std::mem::take(&mut self.held) {
            self.held_bytes -= buffer.capacity();
            self.send_one(buffer)?;
        }
        match self.buffer.take() {
            Some(buffer) if buffer.rows().is_empty() => self.buffer = Some(buffer),
            Some(buffer) => self.buffer = Some(self.send_one(buffer)?),
            None => {}
        }
        Ok(())
    }

    /// Gives back an empty one.
    fn send_one(&mut self, buffer: Buffer) -> Result<Buffer> {
        self.tally.bytes += buffer.rows().len() as u64;
        let started = Instant::now();
        let sent = self.shared.pipe.send(buffer, &self.on_the_way, &self.stop);
        self.tally.wait += started.elapsed();
        sent
    }

    fn refuse(&self, error: EncodeError) -> Error {
        let Shared { plan, pipe, target, committed, .. } = self.shared.as_ref();
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
