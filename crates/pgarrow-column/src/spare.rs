//! Buffers that came back from consumers, and how buffers grow.

use arrow_buffer::{ArrowNativeType, Buffer};

/// A spare is kept if it is at most this many times larger than the need of recent batches.
const LARGER_MAX: usize = 4;
/// Below this size in bytes, a spare may be larger than that.
const SMALL_BYTES: usize = 4 << 10;

/// Where the value buffers of batches came from, since the column was created.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BufferReuse {
    /// Buffers that were allocated for a batch.
    pub allocated: u64,
    /// Buffers of earlier batches that were used again.
    pub reused: u64,
}

impl std::ops::AddAssign for BufferReuse {
    fn add_assign(&mut self, other: Self) {
        self.allocated += other.allocated;
        self.reused += other.reused;
    }
}

/// At most one buffer of an earlier batch, for the next one.
#[derive(Debug)]
pub(crate) struct Spare<T> {
    values: Option<Vec<T>>,
    /// Elements that recent batches needed.
    needed: usize,
    /// Elements of the last room that was made for an expected need.
    foreseen: usize,
    reuse: BufferReuse,
}

impl<T: ArrowNativeType> Spare<T> {
    /// `needed`: the expected number of elements of the first batch.
    pub(crate) fn new(needed: usize) -> Self {
        Self { values: None, needed, foreseen: 0, reuse: BufferReuse::default() }
    }

    /// A buffer for the next batch. A used one still has its values, for callers that overwrite them anyway.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let Some(mut values) = self.values.take() else {
            self.reuse.allocated += 1;
            return Vec::with_capacity(self.needed);
        };
        self.reuse.reused += 1;
        if values.capacity() < self.needed {
            values.reserve_exact(self.needed.saturating_sub(values.len()));
        }
        values
    }

    /// A batch has needed `elements`, so the next may need a little more. After a smaller batch (the last of
    /// a stream), at least half of the earlier need is kept.
    pub(crate) fn learn(&mut self, elements: usize) {
        self.needed = (elements + elements / 32).max(self.needed / 2);
    }

    /// Makes room for the expected number of `elements` of the batch.
    pub(crate) fn foresee(&mut self, values: &mut Vec<T>, elements: usize) {
        // Remembered, so that consecutive streams of less than a batch do not allocate it each time.
        self.foreseen = elements;
        make_room_in_all(values, elements);
    }

    /// Keeps the memory of `buffer` if it is not in use elsewhere.
    pub(crate) fn give(&mut self, buffer: Buffer) {
        let Ok(values) = buffer.into_vec::<T>() else { return };
        let is_useful = self.values.as_ref().is_none_or(|spare| spare.capacity() < values.capacity());
        let is_fitting = is_fitting(capacity_bytes(&values), self.needed.saturating_mul(size_of::<T>()));
        if is_useful && (is_fitting || values.capacity() <= self.foreseen) && values.capacity() > 0 {
            self.values = Some(values);
        }
    }

    pub(crate) fn reuse(&self) -> BufferReuse {
        self.reuse
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        self.values.as_ref().map_or(0, capacity_bytes)
    }
}

/// Whether a buffer is worth keeping for batches with this need.
pub(crate) fn is_fitting(capacity_bytes: usize, needed_bytes: usize) -> bool {
    capacity_bytes <= needed_bytes.saturating_mul(LARGER_MAX).max(SMALL_BYTES)
}

/// Bytes that are allocated for `values`.
pub(crate) fn capacity_bytes<T>(values: &Vec<T>) -> usize {
    values.capacity() * size_of::<T>()
}

/// Makes room for `additional` more elements. Grows by an eighth where `Vec` doubles: allocated bytes count
/// against the memory that the user gave, and after the first batch the size is known anyway.
#[inline]
pub(crate) fn make_room<T>(values: &mut Vec<T>, additional: usize) {
    if values.capacity() - values.len() < additional {
        values.reserve_exact(additional.max(values.len() / 8));
    }
}

/// Makes room for `length` elements in all.
pub(crate) fn make_room_in_all<T>(values: &mut Vec<T>, length: usize) {
    values.reserve_exact(length.saturating_sub(values.len()));
}

/// The need of a batch of `rows`, if `n_rows` needed `used`, and a little more: rows differ.
pub(crate) fn extrapolate(used: usize, n_rows: usize, rows: usize) -> usize {
    let needed = used as u64 * rows as u64 / n_rows.max(1) as u64;
    usize::try_from(needed + needed / 32).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(needed: usize) -> Spare<i32> {
        let mut spare = Spare::new(0);
        spare.needed = needed;
        spare
    }

    #[test]
    fn a_buffer_comes_back_only_once_nobody_holds_it() {
        let mut spare = spare(3);
        let held = Buffer::from_vec(vec![1, 2, 3]);
        spare.give(held.clone());
        assert_eq!(spare.allocated_bytes(), 0);
        assert_eq!(held.typed_data::<i32>(), [1, 2, 3]);
        spare.take();
        assert_eq!(spare.reuse(), BufferReuse { allocated: 1, reused: 0 });
        let address = held.as_ptr();
        spare.give(held);
        let again = spare.take();
        assert_eq!(again.as_ptr().cast(), address);
        assert_eq!(spare.reuse(), BufferReuse { allocated: 1, reused: 1 });
    }

    #[test]
    fn a_much_larger_buffer_is_not_kept() {
        let give = |spare: &mut Spare<i32>, capacity| {
            spare.give(Buffer::from_vec(Vec::<i32>::with_capacity(capacity)));
            spare.allocated_bytes()
        };
        let mut spare = spare(10_000);
        assert_eq!(give(&mut spare, 40_001), 0);
        assert_eq!(give(&mut spare, 40_000), 160_000);
        // The larger of two is kept.
        assert_eq!(give(&mut spare, 20_000), 160_000);
    }

    #[test]
    fn room_that_was_foreseen_is_kept_although_little_of_it_was_needed() {
        let mut spare: Spare<i32> = Spare::new(0);
        let mut values = spare.take();
        spare.foresee(&mut values, 100_000);
        spare.learn(2000);
        let capacity = values.capacity();
        spare.give(Buffer::from_vec(values));
        assert_eq!(spare.take().capacity(), capacity);
        assert_eq!(spare.reuse(), BufferReuse { allocated: 1, reused: 1 });
    }

    #[test]
    fn one_small_batch_does_not_make_it_forget() {
        let mut spare = spare(1000);
        spare.learn(1);
        assert_eq!(spare.take().capacity(), 500);
    }

    #[test]
    fn growing_wastes_an_eighth_at_most() {
        let mut values = Vec::new();
        for _ in 0..1000 {
            make_room(&mut values, 256);
            values.extend([0_u64; 256]);
            assert!(values.capacity() <= (values.len() * 9 / 8).max(values.len() + 256));
        }
    }
}
