//! [`SinkWriter`]: a sink at work, with everything that is the same for every format.
//!
//! ```text
//!  reader 0 ─▶ PartWriter ─ Part encodes ─▶ chunk ─┐      lock of the lane
//!  reader 1 ─▶ PartWriter ─ Part encodes ─▶ chunk ─┼─ its turn? ────────▶ Sink::append ─▶ … ─▶ Sink::commit
//!  reader 2 ─▶ PartWriter ─ Part encodes ─▶ chunk ─┘   └ no: it waits here, and its bytes count as held
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_array::RecordBatch;

use crate::chunk::{Chunk, Chunks, Push};
use crate::error::{SinkError, SinkErrorKind};
use crate::sink::{Part, Sink, SinkTimes, Stop, Written};

/// A sink at work, and the counts of its parts.
pub struct SinkWriter<'a>(Arc<Shared<'a>>);

struct Shared<'a> {
    sink: Box<dyn Sink + 'a>,
    /// Held while a chunk is appended to the lane of that index.
    lanes: Vec<Mutex<()>>,
    counts: Mutex<Counts>,
    stop: Stop,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    opened: usize,
    finished: usize,
}

impl<'a> SinkWriter<'a> {
    /// Puts a sink to work. `stop` says when the run was stopped, for a sink that waits.
    pub fn new(sink: Box<dyn Sink + 'a>, stop: Stop) -> Self {
        let lanes = (0..sink.lanes().max(1)).map(|_| Mutex::default()).collect();
        Self(Arc::new(Shared { sink, lanes, counts: Mutex::default(), stop }))
    }

    /// See [`Sink::part_bytes`].
    pub fn part_bytes(&self) -> usize {
        self.0.sink.part_bytes()
    }

    /// Opens the part of one reader, or of one slice of an export that keeps its order. `index` decides the
    /// lane that it appends to.
    ///
    /// Every part that was opened has to be [finished](PartWriter::finish) before the commit. If a part was
    /// dropped instead, the commit fails, because it is unknown which of its rows are missing.
    ///
    /// # Errors
    ///
    /// As for [`Sink::open_part`].
    pub fn open_part(&self, index: usize) -> Result<PartWriter<'a>, SinkError> {
        let part = self.0.sink.open_part()?;
        self.0.count(|counts| counts.opened += 1);
        let queue = Queue {
            of: Arc::clone(&self.0),
            lane: index % self.0.lanes.len(),
            is_turn: true,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            rows: 0,
            times: SinkTimes::default(),
        };
        Ok(PartWriter { part, queue, rows: 0 })
    }

    /// Parts that were opened and not finished.
    pub fn open_parts(&self) -> usize {
        self.0.count(|counts| counts.opened - counts.finished)
    }

    /// Commits the sink.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Incomplete`] if a part was not finished; otherwise as for [`Sink::commit`].
    pub fn commit(self) -> Result<Written, SinkError> {
        let Counts { opened, finished } = self.0.count(|counts| *counts);
        let unfinished = opened - finished;
        if unfinished > 0 {
            return Err(incomplete(format!(
                "{unfinished} of {opened} parts of the output were not finished; nothing was published"
            )));
        }
        // Parts that were finished are gone.
        match Arc::into_inner(self.0) {
            Some(shared) => shared.sink.commit(),
            None => Err(incomplete("a part of the output is still there; nothing was published")),
        }
    }
}

impl Shared<'_> {
    fn count<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        // Each change is complete or was not begun, so counts behind a poisoned lock are still right; a part
        // that panicked stays unfinished and fails the commit.
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One part at work: its chunks are appended when it is its turn.
///
/// After an error it is of no further use: drop it, and drop the sink.
pub struct PartWriter<'a> {
    part: Box<dyn Part>,
    queue: Queue<'a>,
    rows: u64,
}

/// The totals of a part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartTotals {
    /// Rows that it was given. The sink has them all.
    pub rows: u64,
    /// How it spent its time.
    pub times: SinkTimes,
}

/// Encoded chunks on their way to the sink.
struct Queue<'a> {
    of: Arc<Shared<'a>>,
    lane: usize,
    is_turn: bool,
    /// Chunks whose turn has not come.
    waiting: VecDeque<Chunk>,
    waiting_bytes: usize,
    /// Rows of all chunks.
    rows: u64,
    times: SinkTimes,
}

impl Push for Queue<'_> {
    fn push(&mut self, chunk: Chunk) -> Result<(), SinkError> {
        self.rows += chunk.rows();
        if self.is_turn {
            return self.append(chunk);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(chunk.bytes());
        self.waiting.push_back(chunk);
        Ok(())
    }
}

impl Queue<'_> {
    fn append(&mut self, chunk: Chunk) -> Result<(), SinkError> {
        let begun = Instant::now();
        let lane = self.of.lanes.get(self.lane).map(Mutex::lock);
        let Some(Ok(_lane)) = lane else {
            return Err(incomplete("the output was given up after another part had panicked"));
        };
        let locked = Instant::now();
        self.times.wait += locked - begun;
        let appended = self.of.sink.append(self.lane, chunk, &self.of.stop);
        match self.of.sink.is_consumer() {
            true => self.times.wait += locked.elapsed(),
            false => self.times.write += locked.elapsed(),
        }
        appended
    }

    fn append_waiting(&mut self) -> Result<(), SinkError> {
        while let Some(chunk) = self.waiting.pop_front() {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(chunk.bytes());
            self.append(chunk)?;
        }
        Ok(())
    }
}

impl PartWriter<'_> {
    /// Encodes one batch.
    ///
    /// # Errors
    ///
    /// As for [`Part::write`] and [`Sink::append`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.rows += batch.num_rows() as u64;
        self.encode(|part, chunks| part.write(batch, chunks))
    }

    /// See [`Part::flush`].
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn flush(&mut self) -> Result<(), SinkError> {
        self.encode(|part, chunks| part.flush(chunks))
    }

    /// See [`Part::jump`].
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub fn jump(&mut self) -> Result<(), SinkError> {
        self.encode(|part, chunks| part.jump(chunks))
    }

    /// Sets whether it is this part's turn to append to the output. At the start it is.
    ///
    /// An export that keeps its order has one part for each slice, several of them at work at once; those
    /// whose turn has not come encode, and hold their chunks. Getting the turn appends them.
    ///
    /// # Errors
    ///
    /// As for [`Sink::append`].
    pub fn set_turn(&mut self, is_turn: bool) -> Result<(), SinkError> {
        self.queue.is_turn = is_turn;
        if is_turn { self.queue.append_waiting() } else { Ok(()) }
    }

    /// See [`Part::set_share`].
    pub fn set_share(&mut self, bytes: usize) {
        self.part.set_share(bytes);
    }

    /// Bytes held in memory: what the part holds, and chunks that wait for their turn.
    pub fn held_bytes(&self) -> usize {
        self.part.held_bytes().saturating_add(self.queue.waiting_bytes)
    }

    /// See [`Part::working_bytes`].
    pub fn working_bytes(&self, batch_bytes: usize) -> usize {
        self.part.working_bytes(batch_bytes)
    }

    /// How this part spent its time so far.
    pub fn times(&self) -> SinkTimes {
        self.queue.times
    }

    /// Appends the chunks that are still held, and returns the part's totals.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and [`SinkErrorKind::Incomplete`] while it is not this part's turn, or
    /// if its chunks have another number of rows than its batches had.
    pub fn finish(mut self) -> Result<PartTotals, SinkError> {
        if !self.queue.is_turn {
            return Err(incomplete("a part of the output was finished before its turn"));
        }
        self.encode(|part, chunks| part.finish(chunks))?;
        let (rows, encoded) = (self.rows, self.queue.rows);
        if rows != encoded {
            return Err(incomplete(format!(
                "a part was given {rows} rows, and has encoded {encoded}; nothing was published"
            )));
        }
        self.queue.of.count(|counts| counts.finished += 1);
        Ok(PartTotals { rows, times: self.times() })
    }

    /// Lets the part work, and takes the time that it does not spend on appending.
    fn encode(
        &mut self,
        work: impl FnOnce(&mut dyn Part, &mut Chunks<'_>) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let (begun, before) = (Instant::now(), self.queue.times);
        let worked = work(self.part.as_mut(), &mut Chunks::new(&mut self.queue));
        let times = &mut self.queue.times;
        let appending = times.wait + times.write - before.wait - before.write;
        times.encode += begun.elapsed().saturating_sub(appending);
        worked
    }
}

fn incomplete(text: impl Into<pgarrow_types::Message>) -> SinkError {
    SinkError::new(SinkErrorKind::Incomplete, text)
}

impl fmt::Debug for SinkWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { opened, finished } = self.0.count(|counts| *counts);
        f.debug_struct("SinkWriter")
            .field("opened", &opened)
            .field("finished", &finished)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PartWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartWriter")
            .field("rows", &self.rows)
            .field("is_turn", &self.queue.is_turn)
            .field("held_bytes", &self.held_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::RecordBatchOptions;

    use super::*;

    /// Pushes a chunk for each batch of at least two rows, and forgets smaller batches.
    struct Forgetful;

    struct Numbers(Mutex<Vec<u64>>);

    impl Part for Forgetful {
        fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
            let rows = batch.num_rows() as u64;
            if rows < 2 { Ok(()) } else { chunks.push(Chunk::new(rows, 8, rows)) }
        }
    }

    impl Sink for Numbers {
        fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
            Ok(Box::new(Forgetful))
        }

        fn append(&self, lane: usize, chunk: Chunk, stop: &Stop) -> Result<(), SinkError> {
            assert!(lane == 0 && !stop.is_requested());
            self.0.lock().unwrap().push(chunk.into_encoded()?);
            Ok(())
        }

        fn commit(self: Box<Self>) -> Result<Written, SinkError> {
            let rows = self.0.into_inner().unwrap().into_iter().fold(0, |number, rows| number * 10 + rows);
            Ok(Written { rows, ..Written::default() })
        }
    }

    fn numbers() -> SinkWriter<'static> {
        SinkWriter::new(Box::new(Numbers(Mutex::default())), Stop::default())
    }

    fn batch(rows: usize) -> RecordBatch {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = std::sync::Arc::new(arrow_schema::Schema::empty());
        RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap()
    }

    #[test]
    fn chunks_wait_for_their_turn_and_count_meanwhile() {
        let writer = numbers();
        let (mut one, mut two) = (writer.open_part(0).unwrap(), writer.open_part(1).unwrap());
        two.set_turn(false).unwrap();
        for rows in [4, 5] {
            two.write(&batch(rows)).unwrap();
        }
        assert_eq!(two.held_bytes(), 16);
        one.write(&batch(3)).unwrap();
        assert_eq!((one.held_bytes(), one.finish().unwrap().rows), (0, 3));
        assert_eq!(writer.open_parts(), 1);
        two.set_turn(true).unwrap();
        assert_eq!((two.held_bytes(), two.finish().unwrap().rows), (0, 9));
        assert_eq!(writer.open_parts(), 0);
        assert_eq!(writer.commit().unwrap().rows, 345);
    }

    #[test]
    fn rows_that_a_part_forgets_are_missed() {
        let writer = numbers();
        let mut part = writer.open_part(0).unwrap();
        for rows in [2, 1] {
            part.write(&batch(rows)).unwrap();
        }
        let error = part.finish().unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Incomplete);
        assert_eq!(error.to_string(), "a part was given 3 rows, and has encoded 2; nothing was published");
        assert_eq!(writer.commit().unwrap_err().kind(), SinkErrorKind::Incomplete);
    }

    #[test]
    fn a_chunk_of_another_sink_is_refused() {
        let error = Chunk::new(1, 1, "text").into_encoded::<u64>().unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Encode);
    }
}
