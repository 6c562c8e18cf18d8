//! `Memory`: bytes that several runs of one process share.
//!
//! ```text
//!  Memory ── Reservation of run 1 ── what its readers hold
//!     │  └── Reservation of run 2 ── what its readers hold
//!     └── free: for later runs, and for large rows
//! ```
//!
//! A run reserves bytes when it begins to read, and keeps them until it ends. No run ever waits for the
//! bytes of another one: two runs that wait for each other, or for a caller that reads them in turn, would
//! never end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of memory that several runs share. Clones share the same memory.
///
/// A run reserves its share when it begins to read, and returns it when it ends or is dropped. It never
/// waits for another run's share.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    /// The reserved bytes; never more than the limit.
    reserved: Mutex<usize>,
    /// The used bytes.
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl Memory {
    /// The smallest limit, in bytes: a run may have to manage with this.
    pub const MIN_BYTES: usize = 16 << 20;

    /// A limit of this many bytes, at least [`MIN_BYTES`](Self::MIN_BYTES).
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Inner {
            limit: bytes.max(Self::MIN_BYTES),
            reserved: Mutex::new(0),
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }))
    }

    /// The limit, in bytes.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes that no run has reserved.
    pub fn free(&self) -> usize {
        self.0.limit.saturating_sub(*self.reserved())
    }

    /// Bytes that runs use now: receive buffers, batches under construction, queues and row groups.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The most bytes that all runs together used at once.
    pub fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// Reserves as many of the free bytes as `choose` returns. Never waits.
    ///
    /// # Errors
    ///
    /// The number of free bytes, if `choose` returns `None` or more than is free.
    pub fn reserve(&self, choose: impl FnOnce(usize) -> Option<usize>) -> Result<Reservation, usize> {
        let mut reserved = self.reserved();
        let free = self.0.limit.saturating_sub(*reserved);
        let bytes = choose(free).filter(|bytes| *bytes <= free).ok_or(free)?;
        *reserved += bytes;
        drop(reserved);
        Ok(Reservation { memory: self.clone(), bytes: AtomicUsize::new(bytes) })
    }

    fn reserved(&self) -> MutexGuard<'_, usize> {
        // Each change is complete or was not begun, even after a panic.
        self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reserved bytes of a [`Memory`], returned on drop.
#[derive(Debug)]
pub struct Reservation {
    memory: Memory,
    bytes: AtomicUsize,
}

impl Reservation {
    /// The number of reserved bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Changes the reservation to `bytes`. Never waits. Returns false if too few are free; shrinking always
    /// succeeds.
    pub fn resize(&self, bytes: usize) -> bool {
        let mut reserved = self.memory.reserved();
        let others = reserved.saturating_sub(self.bytes());
        if bytes > self.bytes() && others.saturating_add(bytes) > self.memory.0.limit {
            return false;
        }
        *reserved = others + bytes;
        self.bytes.store(bytes, Ordering::Relaxed);
        true
    }

    /// Records that the run used `before` bytes, and now uses `after`.
    pub fn note(&self, before: usize, after: usize) {
        let Inner { used, peak, .. } = &*self.memory.0;
        if after >= before {
            let now = used.fetch_add(after - before, Ordering::Relaxed) + (after - before);
            peak.fetch_max(now, Ordering::Relaxed);
        } else {
            used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *self.memory.reserved() -= *self.bytes.get_mut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn half(free: usize) -> Option<usize> {
        Some(free / 2)
    }

    #[test]
    fn reservations_come_back_when_they_are_dropped() {
        let memory = Memory::new(64 * MIB);
        let first = memory.reserve(half).unwrap();
        let second = memory.clone().reserve(half).unwrap();
        assert_eq!((first.bytes(), second.bytes(), memory.free()), (32 * MIB, 16 * MIB, 16 * MIB));
        drop(first);
        assert_eq!(memory.free(), 48 * MIB);
        drop(second);
        assert_eq!(memory.free(), memory.limit());
    }

    #[test]
    fn more_than_is_free_is_refused_and_changes_nothing() {
        let memory = Memory::new(32 * MIB);
        let kept = memory.reserve(|_| Some(20 * MIB)).unwrap();
        assert_eq!(memory.reserve(|_| Some(12 * MIB + 1)).unwrap_err(), 12 * MIB);
        assert_eq!(memory.reserve(|_| None).unwrap_err(), 12 * MIB);
        assert!(!kept.resize(32 * MIB + 1));
        assert_eq!((kept.bytes(), memory.free()), (20 * MIB, 12 * MIB));
        assert!(kept.resize(32 * MIB));
        assert_eq!((kept.bytes(), memory.free()), (32 * MIB, 0));
        assert!(kept.resize(MIB));
        assert_eq!(memory.free(), 31 * MIB);
    }

    #[test]
    fn the_peak_is_that_of_all_together() {
        let memory = Memory::new(0);
        assert_eq!(memory.limit(), Memory::MIN_BYTES);
        let (one, two) = (memory.reserve(|_| Some(MIB)).unwrap(), memory.reserve(|_| Some(MIB)).unwrap());
        one.note(0, 300);
        two.note(0, 200);
        one.note(300, 0);
        two.note(200, 400);
        assert_eq!((memory.used(), memory.peak()), (400, 500));
    }
}
