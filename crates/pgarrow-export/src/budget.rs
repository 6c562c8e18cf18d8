//! The memory of one run: bytes that all its readers share.
//!
//! ```text
//!  reader ── Lease ──┐  receive buffer, batch under construction, what its part holds
//!  reader ── Lease ──┼──▶ Budget: used, peak, level
//!  batch in a queue ─┘
//! ```
//!
//! The budget counts memory that exists, not requests: each reader regularly states how much it has. Pressure
//! has levels: first, batches and row groups end early; then a reader passes on what it holds and waits, so
//! its socket waits too, until others have given memory back. A reader that needs much at once (a large row)
//! asks before it receives it. [`memory_policy`](crate::memory_policy) defines the levels.
//!
//! The bytes are a [`Reservation`] of a memory that other runs may share. A large row makes it larger, as
//! long as that memory has free bytes. No reader waits for other runs: they may wait for this one, or for a
//! caller that reads them in turn.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgarrow_session::{Cancel, Reservation};

use crate::memory_policy::Level;

/// How often a reader that waits for memory checks for a cancel.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// The memory of one run.
#[derive(Debug)]
pub(crate) struct Budget {
    reservation: Reservation,
    /// The limit without large rows,
    limit: usize,
    /// the most it may become,
    limit_max: usize,
    /// and the most it has been.
    limit_peak: AtomicUsize,
    /// What others may look at when the budget is gone.
    in_use: Arc<MemoryUse>,
    n_level_changes: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

/// The memory in use. It holds none, so it may outlive its [`Budget`].
#[derive(Debug, Default)]
pub(crate) struct MemoryUse {
    used: AtomicUsize,
    peak: AtomicUsize,
    n_waits: AtomicU64,
}

impl MemoryUse {
    /// Bytes in use now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that was used at once.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// How often a reader had to wait for memory.
    pub(crate) fn waits(&self) -> u64 {
        self.n_waits.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Leases of readers at work.
    n_readers: usize,
    /// Readers that cannot continue: they wait for room, or for their turn.
    n_waiting: usize,
    /// Readers that could continue, but wait to reduce the pressure.
    n_patient: usize,
    /// Bytes in queues: their consumers will give them back.
    queued: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoRoom {
    /// There will never be enough.
    TooLarge,
    /// The run was stopped while it waited.
    Cancelled,
}

impl Budget {
    /// `limit_max`: the largest limit for large rows.
    pub(crate) fn new(reservation: Reservation, limit_max: usize) -> Arc<Self> {
        let limit = reservation.bytes();
        Arc::new(Self {
            reservation,
            limit,
            limit_max: limit_max.max(limit),
            limit_peak: AtomicUsize::new(limit),
            in_use: Arc::default(),
            n_level_changes: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// The current limit.
    pub(crate) fn limit(&self) -> usize {
        self.reservation.bytes()
    }

    /// The largest limit, if other runs leave that much.
    pub(crate) fn limit_max(&self) -> usize {
        self.limit_max
    }

    /// The highest limit so far.
    pub(crate) fn limit_peak(&self) -> usize {
        self.limit_peak.load(Ordering::Relaxed)
    }

    /// The most that was used at once.
    pub(crate) fn peak(&self) -> usize {
        self.in_use.peak()
    }

    /// The counters, to look at from elsewhere.
    pub(crate) fn memory_use(&self) -> Arc<MemoryUse> {
        Arc::clone(&self.in_use)
    }

    /// How often the level went up or down.
    pub(crate) fn level_changes(&self) -> u64 {
        self.n_level_changes.load(Ordering::Relaxed)
    }

    /// How often a reader had to wait for memory.
    pub(crate) fn waits(&self) -> u64 {
        self.in_use.waits()
    }

    pub(crate) fn level(&self) -> Level {
        self.level_of(self.in_use.used())
    }

    /// Whether `bytes` bytes are free.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        self.in_use.used().saturating_add(bytes) <= self.limit()
    }

    fn level_of(&self, used: usize) -> Level {
        Level::of(used, self.limit())
    }

    /// An empty lease for a reader.
    pub(crate) fn reader(self: &Arc<Self>) -> Lease {
        self.state().n_readers += 1;
        Lease { budget: Arc::clone(self), bytes: 0, of: Holder::Reader }
    }

    /// The lease of a batch that leaves its reader for a queue.
    pub(crate) fn queued(self: &Arc<Self>, bytes: usize) -> Lease {
        self.state().queued += bytes;
        self.change(0, bytes);
        Lease { budget: Arc::clone(self), bytes, of: Holder::Queue }
    }

    /// While the guard lives, a reader waits for its turn, not for memory.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.state().n_waiting += 1;
        self.changed.notify_all();
        Waiting(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, before: usize, after: usize) {
        self.count(before, after);
        if after < before {
            // Under the lock, so that a reader that is about to wait does not miss the notification.
            let state = self.state();
            self.give_back();
            drop(state);
            self.changed.notify_all();
        }
    }

    fn count(&self, before: usize, after: usize) {
        let used_before = if after >= before {
            self.in_use.used.fetch_add(after - before, Ordering::Relaxed)
        } else {
            self.in_use.used.fetch_sub(before - after, Ordering::Relaxed)
        };
        self.reservation.note(before, after);
        let used = (used_before + after).saturating_sub(before);
        self.in_use.peak.fetch_max(used, Ordering::Relaxed);
        if self.level_of(used_before) != self.level_of(used) {
            self.n_level_changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Raises the limit to `bytes`, if that is allowed and free now. The caller holds the lock of [`State`].
    fn extend(&self, bytes: usize) -> bool {
        let has_grown = bytes > self.limit() && bytes <= self.limit_max && self.reservation.resize(bytes);
        if has_grown {
            self.limit_peak.fetch_max(bytes, Ordering::Relaxed);
        }
        has_grown
    }

    /// Gives back what a large row no longer uses. The caller holds the lock of [`State`].
    fn give_back(&self) {
        let needed = self.in_use.used().max(self.limit);
        if needed < self.limit() {
            self.reservation.resize(needed);
        }
    }
}

/// See [`Budget::waiting`].
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Budget);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().n_waiting -= 1;
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Holder {
    Reader,
    Queue,
}

/// Some bytes of the [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
    of: Holder,
}

impl Lease {
    /// States how much memory there is now. Never waits.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            let before = std::mem::replace(&mut self.bytes, bytes);
            self.budget.change(before, bytes);
        }
    }

    /// Whether there is room to have `bytes` in all.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        let others = self.budget.in_use.used().saturating_sub(self.bytes);
        others.saturating_add(bytes) <= self.budget.limit()
    }

    /// Grows the lease to `bytes` in all, if there is room or the limit can rise. The caller holds the lock
    /// of [`State`], so that two readers do not take the same room and nobody gives it back meanwhile.
    fn try_grow(&mut self, bytes: usize) -> bool {
        let budget = &self.budget;
        let others = budget.in_use.used().saturating_sub(self.bytes);
        if !self.fits(bytes) && !budget.extend(others.saturating_add(bytes)) {
            return false;
        }
        budget.count(std::mem::replace(&mut self.bytes, bytes), bytes);
        true
    }

    /// Waits until there is room for `bytes` in all, and takes them.
    pub(crate) fn grow(&mut self, bytes: usize, cancel: &Cancel) -> Result<(), NoRoom> {
        if bytes <= self.bytes {
            self.set(bytes);
            return Ok(());
        }
        let budget = Arc::clone(&self.budget);
        let mut state = budget.state();
        if self.try_grow(bytes) {
            return Ok(());
        }
        budget.in_use.n_waits.fetch_add(1, Ordering::Relaxed);
        state.n_waiting += 1;
        budget.changed.notify_all();
        let result = loop {
            if self.try_grow(bytes) {
                break Ok(());
            }
            if cancel.is_requested() {
                break Err(NoRoom::Cancelled);
            }
            // All readers wait, and no batch is in a queue.
            if bytes > budget.limit_max || (state.n_waiting >= state.n_readers && state.queued == 0) {
                break Err(NoRoom::TooLarge);
            }
            state = budget
                .changed
                .wait_timeout(state, CANCEL_INTERVAL)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        };
        state.n_waiting -= 1;
        result
    }

    /// Waits until the level is below [`Level::Stop`], as long as another reader or a queue can free memory.
    pub(crate) fn wait_for_calm(&mut self, cancel: &Cancel) -> bool {
        let budget = Arc::clone(&self.budget);
        if budget.level() < Level::Stop {
            return false;
        }
        budget.in_use.n_waits.fetch_add(1, Ordering::Relaxed);
        let mut state = budget.state();
        state.n_patient += 1;
        budget.changed.notify_all();
        while budget.level() == Level::Stop
            && !cancel.is_requested()
            && (state.n_waiting + state.n_patient < state.n_readers || state.queued > 0)
        {
            state = budget
                .changed
                .wait_timeout(state, CANCEL_INTERVAL)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
        state.n_patient -= 1;
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.change(self.bytes, 0);
        let mut state = self.budget.state();
        match self.of {
            Holder::Reader => state.n_readers -= 1,
            Holder::Queue => state.queued -= self.bytes,
        }
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use pgarrow_session::Memory;

    use super::*;

    const MIB: usize = 1 << 20;

    fn of(memory: &Memory, bytes: usize, bytes_max: usize) -> Arc<Budget> {
        Budget::new(memory.reserve(|_| Some(bytes)).unwrap(), bytes_max)
    }

    fn alone(bytes: usize) -> Arc<Budget> {
        of(&Memory::new(bytes), bytes, bytes)
    }

    #[test]
    fn a_large_row_has_what_other_runs_leave_free() {
        let memory = Memory::new(100 * MIB);
        let (one, two) = (of(&memory, 30 * MIB, 80 * MIB), of(&memory, 30 * MIB, 100 * MIB));
        let (mut of_one, mut of_two) = (one.reader(), two.reader());
        of_two.set(20 * MIB);
        assert_eq!(of_one.grow(81 * MIB, &Cancel::new()), Err(NoRoom::TooLarge), "more than it may have");
        assert_eq!(of_one.grow(71 * MIB, &Cancel::new()), Err(NoRoom::TooLarge), "more than is free");
        assert_eq!(of_one.grow(70 * MIB, &Cancel::new()), Ok(()));
        assert_eq!((memory.free(), memory.used(), one.limit()), (0, 90 * MIB, 70 * MIB));
        // No reader waits for another run.
        assert_eq!(of_two.grow(31 * MIB, &Cancel::new()), Err(NoRoom::TooLarge));
        of_one.set(10 * MIB);
        assert_eq!((memory.free(), one.limit(), one.limit_peak()), (40 * MIB, 30 * MIB, 70 * MIB));
        assert_eq!(of_two.grow(70 * MIB, &Cancel::new()), Ok(()));
        drop((of_one, of_two, one, two));
        assert_eq!((memory.free(), memory.used(), memory.peak()), (100 * MIB, 0, 90 * MIB));
    }

    #[test]
    fn levels_and_peak() {
        let budget = alone(1000);
        let mut lease = budget.reader();
        assert_eq!(budget.level(), Level::Calm);
        lease.set(500);
        assert_eq!(budget.level(), Level::Early);
        lease.set(800);
        assert_eq!(budget.level(), Level::Stop);
        lease.set(100);
        drop(lease);
        assert_eq!((budget.peak(), budget.level_changes(), budget.level()), (800, 3, Level::Calm));
    }

    #[test]
    fn what_is_more_than_the_limit_is_refused_and_not_waited_for() {
        let budget = alone(1000);
        let mut lease = budget.reader();
        assert_eq!(lease.grow(1001, &Cancel::new()), Err(NoRoom::TooLarge));
        assert_eq!(lease.grow(1000, &Cancel::new()), Ok(()));
    }

    #[test]
    fn who_waits_gets_what_another_gives_back() {
        let budget = alone(1000);
        let (mut one, mut two) = (budget.reader(), budget.reader());
        one.set(600);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || two.grow(500, &Cancel::new()).map(|()| two));
            while budget.state().n_waiting == 0 {
                std::thread::yield_now();
            }
            one.set(500);
            assert_eq!(waiting.join().unwrap().unwrap().bytes, 500);
        });
        assert_eq!((budget.waits(), budget.peak()), (1, 1000));
    }

    #[test]
    fn nobody_waits_when_everybody_would() {
        let budget = alone(1000);
        let (mut one, mut two) = (budget.reader(), budget.reader());
        one.set(600);
        two.set(300);
        let results = std::thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                let result = two.grow(500, &Cancel::new());
                (two, result)
            });
            while budget.state().n_waiting == 0 {
                std::thread::yield_now();
            }
            let second = one.grow(900, &Cancel::new());
            drop(one);
            (second, waiting.join().unwrap().1)
        });
        // The second reader to wait gets the error; the first then gets what the second gave back.
        assert_eq!(results.0, Err(NoRoom::TooLarge));
        assert_eq!(results.1, Ok(()));
    }

    #[test]
    fn a_batch_in_a_queue_is_waited_for() {
        let budget = alone(1000);
        let mut reader = budget.reader();
        let queued = budget.queued(900);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || reader.grow(200, &Cancel::new()));
            while budget.state().n_waiting == 0 {
                std::thread::yield_now();
            }
            drop(queued);
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn a_cancel_ends_the_waiting() {
        let budget = alone(1000);
        let (mut one, mut two, cancel) = (budget.reader(), budget.reader(), Cancel::new());
        one.set(900);
        cancel.cancel();
        assert_eq!(two.grow(200, &cancel), Err(NoRoom::Cancelled));
    }
}
