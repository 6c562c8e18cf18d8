//! The queue in front of the sending thread, bounded by bytes. Empty buffers return through it.
//!
//! ```text
//!  lanes ── rows ──▶ two buffers, or one large row ──▶ thread that sends
//!    ▲                                                  │
//!    └────── empty buffers of the usual size ◀──────────┘
//! ```
//!
//! The memory of rows on their way is counted for the lane that they came from.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgarrow_protocol::CopyIn;
use pgarrow_sink::Stop;

/// Bytes of rows in a full buffer.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// The memory of a new buffer: its last row may exceed `BUFFER_BYTES`.
const BUFFER_CAPACITY: usize = BUFFER_BYTES + BUFFER_BYTES / 8;

/// A buffer that large rows have grown beyond this is not reused.
const KEPT_BYTES_MAX: usize = 2 * BUFFER_BYTES;

/// Buffers that wait to be sent.
const QUEUED: usize = 2;

/// Memory of waiting and sent rows for each sending thread, unless single rows are larger.
const QUEUED_BYTES_MAX: usize = (QUEUED + 1) * KEPT_BYTES_MAX;

/// How often a waiting caller checks whether the run was stopped.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// Connects the lanes with one or more sending threads.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// The number of sending threads.
    takers: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self::for_takers(1)
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Rows>,
    /// Memory of rows that wait or are being sent.
    bytes: usize,
    /// How many threads are sending rows.
    sending: usize,
    empty: Vec<Buffer>,
    end: Option<End>,
    /// No thread takes rows any more.
    is_closed: bool,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Finish,
    Abandon,
}

/// Rows of COPY after room for a message header, see [`CopyIn::send_rows`].
pub(crate) struct Buffer(Vec<u8>);

/// Prints no bytes, because they are table data.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// An empty buffer of the usual size.
impl Default for Buffer {
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(BUFFER_CAPACITY);
        bytes.resize(CopyIn::PLACE_BYTES, 0);
        Self(bytes)
    }
}

impl Buffer {
    /// A buffer with a copy of these rows.
    pub(crate) fn of(rows: &[u8]) -> Self {
        Self([&[0; CopyIn::PLACE_BYTES], rows].concat())
    }

    /// The bytes, for appending rows.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(crate) fn rows(&self) -> &[u8] {
        self.0.get(CopyIn::PLACE_BYTES..).unwrap_or_default()
    }

    /// The length in bytes, including the room for the header.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The allocated memory.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// The memory of a lane's rows on their way.
#[derive(Clone, Debug, Default)]
pub(crate) struct OnTheWay(Arc<AtomicUsize>);

impl OnTheWay {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Rows on their way.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) buffer: Buffer,
    /// Its memory.
    bytes: usize,
    of: OnTheWay,
}

/// What the sending thread does next.
#[derive(Debug)]
pub(crate) enum Next {
    Rows(Rows),
    /// All rows are sent.
    Finish,
    /// Nothing may be loaded.
    Abandon,
}

/// Why rows were not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotTaken {
    /// No thread takes rows any more.
    Closed,
    /// The run was stopped during the wait.
    Stopped,
}

impl Queue {
    /// A queue for this many sending threads. Each takes rows whenever it can.
    pub(crate) fn for_takers(takers: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), takers }
    }

    /// An empty buffer: a returned one, if there is any.
    pub(crate) fn empty_buffer(&self) -> Buffer {
        let empty = self.state().empty.pop();
        empty.unwrap_or_default()
    }

    /// Hands rows over.
    pub(crate) fn push(&self, buffer: Buffer, of: &OnTheWay, stop: &Stop) -> Result<(), NotTaken> {
        let bytes = buffer.capacity();
        let mut state = self.wait(stop, |state| state.has_room(bytes, self.takers))?;
        state.bytes += bytes;
        of.0.fetch_add(bytes, Ordering::Relaxed);
        state.waiting.push_back(Rows { buffer, bytes, of: of.clone() });
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until no rows of this lane are on their way.
    pub(crate) fn drain(&self, of: &OnTheWay, stop: &Stop) -> Result<(), NotTaken> {
        self.wait(stop, |_| of.bytes() == 0).map(drop)
    }

    /// Marks the end of the rows. Returns whether a thread still takes them.
    pub(crate) fn finish(&self) -> bool {
        let mut state = self.state();
        state.end.get_or_insert(End::Finish);
        self.changed.notify_all();
        !state.is_closed
    }

    /// Tells the threads to load nothing. Returns whether the queue was closed within this time.
    pub(crate) fn abandon(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        state.end = Some(End::Abandon);
        self.changed.notify_all();
        while !state.is_closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wait_for(state, left);
        }
        true
    }

    /// The next task of a sending thread. Blocks until there is one.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state();
        loop {
            if let Some(End::Abandon) = state.end {
                return Next::Abandon;
            }
            if let Some(rows) = state.waiting.pop_front() {
                state.sending += 1;
                drop(state);
                self.changed.notify_all();
                return Next::Rows(rows);
            }
            if let Some(End::Finish) = state.end {
                return Next::Finish;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reports these rows as sent.
    pub(crate) fn sent(&self, rows: Rows) {
        let Rows { mut buffer, bytes, of } = rows;
        buffer.0.truncate(CopyIn::PLACE_BYTES);
        let mut state = self.state();
        state.bytes -= bytes;
        state.sending -= 1;
        of.0.fetch_sub(bytes, Ordering::Relaxed);
        if buffer.capacity() <= KEPT_BYTES_MAX && state.empty.len() <= QUEUED * self.takers {
            state.empty.push(buffer);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Closes the queue: no thread takes rows any more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let State { waiting, empty, .. } = &mut *state;
        for rows in waiting.drain(..) {
            rows.of.0.fetch_sub(rows.bytes, Ordering::Relaxed);
        }
        empty.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the condition holds.
    fn wait(&self, stop: &Stop, is_so: impl Fn(&State) -> bool) -> Result<MutexGuard<'_, State>, NotTaken> {
        let mut state = self.state();
        loop {
            if state.is_closed || state.end.is_some() {
                return Err(NotTaken::Closed);
            }
            if is_so(&state) {
                return Ok(state);
            }
            if stop.is_requested() {
                return Err(NotTaken::Stopped);
            }
            state = self.wait_for(state, STOP_INTERVAL);
        }
    }

    fn wait_for<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Each change under the lock is complete or was not begun, even after a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A free thread takes rows of any size: it must not depend on another thread, which the server may
    /// block until all rows are sent. So each thread has at most one buffer larger than its share.
    fn has_room(&self, bytes: usize, takers: usize) -> bool {
        let is_anybody_free = self.waiting.is_empty() && self.sending < takers;
        let fits = self.bytes + bytes <= QUEUED_BYTES_MAX * takers;
        is_anybody_free || (fits && self.waiting.len() < QUEUED * takers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    fn rows(bytes: usize) -> Buffer {
        Buffer::of(&vec![1; bytes])
    }

    fn take(queue: &Queue) -> Rows {
        match queue.next() {
            Next::Rows(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_come_in_their_order_and_then_the_end() {
        let (queue, lane, stop) = (Queue::default(), OnTheWay::default(), Stop::default());
        for bytes in [1, 2] {
            queue.push(rows(bytes), &lane, &stop).unwrap();
        }
        assert!(queue.finish());
        for bytes in [1, 2] {
            let taken = take(&queue);
            assert_eq!(taken.buffer.rows().len(), bytes);
            queue.sent(taken);
        }
        assert!(matches!(queue.next(), Next::Finish));
        assert_eq!(lane.bytes(), 0);
    }

    /// Regression: large rows left every buffer with a large capacity, and queued memory was not counted. A
    /// few rows, each a third of the memory limit, exceeded it, although one alone did not.
    #[test]
    fn a_large_row_goes_alone_and_its_memory_is_given_back() {
        let (queue, lane, stop) = (Queue::default(), OnTheWay::default(), Stop::default());
        let large = 8 << 20;
        queue.push(rows(large), &lane, &stop).unwrap();
        assert!(lane.bytes() > large);
        assert!(!queue.state().has_room(1, 1));
        let taken = take(&queue);
        assert!(!queue.state().has_room(1, 1), "it is being sent, and still there");
        assert!(lane.bytes() > large);
        queue.sent(taken);
        assert_eq!(lane.bytes(), 0);
        queue.push(rows(1), &lane, &stop).unwrap();
        let next = queue.empty_buffer();
        assert!(next.capacity() <= KEPT_BYTES_MAX, "{}", next.capacity());
        assert!(!queue.state().has_room(large, 1));
        assert!(queue.state().has_room(1, 1));
    }

    /// Regression: a row larger than the whole memory was taken only when nothing was on its way. If the
    /// server blocked one thread until another one ended, no thread got rows, and all waited for ever.
    #[test]
    fn a_large_row_waits_for_no_thread_but_a_free_one() {
        let (queue, lane, stop) = (Queue::for_takers(2), OnTheWay::default(), Stop::default());
        let large = 8 << 20;
        queue.push(rows(large), &lane, &stop).unwrap();
        let stuck = take(&queue);
        for _ in 0..3 {
            assert!(queue.state().has_room(large, 2));
            queue.push(rows(large), &lane, &stop).unwrap();
            assert!(!queue.state().has_room(1, 2), "one waits, which may be as large");
            let taken = take(&queue);
            assert!(!queue.state().has_room(1, 2), "nobody is free");
            queue.sent(taken);
        }
        assert!(queue.finish());
        queue.sent(stuck);
        assert_eq!(lane.bytes(), 0);
    }

    #[test]
    fn who_waits_sees_that_the_run_was_stopped_and_that_nobody_takes_more() {
        let queue = Queue::default();
        let (lane, other) = (OnTheWay::default(), OnTheWay::default());
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = {
            let is_stopped = Arc::clone(&is_stopped);
            Stop::new(move || is_stopped.load(Ordering::Relaxed))
        };
        queue.push(rows(8 << 20), &lane, &stop).unwrap();
        assert!(queue.drain(&other, &stop).is_ok());
        thread::scope(|scope| {
            let pushing = scope.spawn(|| queue.push(rows(1), &other, &stop).err());
            let draining = scope.spawn(|| queue.drain(&lane, &stop).err());
            is_stopped.store(true, Ordering::Relaxed);
            assert_eq!(pushing.join().unwrap(), Some(NotTaken::Stopped));
            assert_eq!(draining.join().unwrap(), Some(NotTaken::Stopped));
        });
        let forever = Stop::default();
        thread::scope(|scope| {
            let pushing = scope.spawn(|| queue.push(rows(1), &other, &forever).err());
            let draining = scope.spawn(|| queue.drain(&lane, &forever).err());
            queue.close();
            assert_eq!(pushing.join().unwrap(), Some(NotTaken::Closed));
            assert_eq!(draining.join().unwrap(), Some(NotTaken::Closed));
        });
    }

    #[test]
    fn abandoned_is_abandoned() {
        let (queue, lane, stop) = (Queue::default(), OnTheWay::default(), Stop::default());
        queue.push(rows(1), &lane, &stop).unwrap();
        assert!(!queue.abandon(Duration::ZERO));
        assert!(matches!(queue.next(), Next::Abandon));
        assert_eq!(queue.push(rows(1), &lane, &stop).err(), Some(NotTaken::Closed));
        queue.close();
        assert!(queue.abandon(Duration::ZERO));
        assert!(!queue.finish());
        assert_eq!(lane.bytes(), 0);
    }
}
