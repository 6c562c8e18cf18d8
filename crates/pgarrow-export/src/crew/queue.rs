//! Which slice a reader takes next.
//!
//! Slices are numbered in the order of their rows: plan after plan, leaf after leaf, page after page. Each
//! reader has a front of its own: a range of neighbouring slices, which it takes from the beginning. What a
//! reader reads one after another is also together in the table, so rows of one row group are neighbours
//! there.
//!
//! ```text
//!  slices   0 1 2 3 4 5 6 7 8 9 …
//!           └─ reader 0 ──┘└─ reader 1 ──┘ …     at first: as many ranges as readers, of the same weight
//!                ▲ taken so far   ▲
//!  a reader whose front has ended takes a range that no reader has begun, the next one if possible;
//!  if there is none, the far half of the heaviest rest of another reader
//! ```
//!
//! Where the order of slices is kept, there is one front for all.
//!
//! A reader reads its front to the end, or the run fails: a reader that could not connect never had a front.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::plan::Task;

/// What a statement costs apart from its rows, as the bytes that could be read in that time.
const STATEMENT_BYTES: u64 = 256 << 10;
/// A reader takes no less than this from another one in the middle of a table: it would become a small row
/// group.
const FAR_BYTES_MIN: u64 = 4 << 20;

/// The slices that no reader has begun.
#[derive(Debug)]
pub(super) struct Queue {
    tasks: Vec<Task>,
    /// By slice number: the weight of all slices before it. The last entry is the weight of all slices.
    weights: Vec<u64>,
    /// A lighter part stays with its reader, unless a table begins with it.
    far_weight_min: u64,
    is_ordered: bool,
    fronts: Mutex<Fronts>,
}

/// Ranges of slice numbers: together, all slices that no reader has begun.
#[derive(Debug, Default)]
struct Fronts {
    /// Fronts that no reader has taken yet, in order.
    free: Vec<Range<usize>>,
    /// The rest of each reader's front. An empty one ends where its reader stopped.
    own: BTreeMap<usize, Range<usize>>,
}

impl Queue {
    /// All slices in the order of their rows, each with its bytes, for `n_readers` readers.
    pub(super) fn new(slices: impl Iterator<Item = (Task, u64)>, n_readers: usize, is_ordered: bool) -> Self {
        let (mut tasks, mut weights, mut sum) = (Vec::new(), vec![0], 0_u64);
        for (task, bytes) in slices {
            sum = sum.saturating_add(bytes).saturating_add(STATEMENT_BYTES);
            tasks.push(task);
            weights.push(sum);
        }
        let n_fronts = if is_ordered { 1 } else { n_readers.max(1) };
        // A small export has small parts, and a large one is not worth many fronts: the last reader may end
        // later than the others by this much.
        let share = sum / n_fronts as u64;
        let far_weight_min = FAR_BYTES_MIN.min(share / 8).max(share / 64);
        let fronts = Fronts { free: cut(&weights, n_fronts), own: BTreeMap::new() };
        Self { tasks, weights, far_weight_min, is_ordered, fronts: Mutex::new(fronts) }
    }

    /// The next slice for a reader; `None` if the rest stays with the other readers.
    pub(super) fn next(&self, reader: usize) -> Option<Task> {
        let reader = if self.is_ordered { 0 } else { reader };
        let mut fronts = self.fronts();
        let Fronts { free, own } = &mut *fronts;
        let before = own.get(&reader);
        if before.is_none_or(Range::is_empty) {
            let front = match take_free(free, before.map(|front| front.end)) {
                Some(front) => front,
                None => self.take_far_half(own)?,
            };
            own.insert(reader, front);
        }
        let number = own.get_mut(&reader)?.next()?;
        self.tasks.get(number).copied()
    }

    /// Whether there is a slice that no reader has begun.
    pub(super) fn has_rest(&self) -> bool {
        let fronts = self.fronts();
        fronts.free.iter().chain(fronts.own.values()).any(|front| !front.is_empty())
    }

    /// Takes the heaviest far half of all fronts from its reader, if one is heavy enough.
    fn take_far_half(&self, own: &mut BTreeMap<usize, Range<usize>>) -> Option<Range<usize>> {
        let halves = own.values_mut().filter_map(|front| Some((self.far_half(front)?, front)));
        let (half, front) = halves.max_by_key(|(half, _)| self.weight(half))?;
        front.end = half.start;
        Some(half)
    }

    /// The far half of a front's rest: the heavier half, since the front's reader has a slice to end first.
    /// The whole rest, if the half is too light.
    fn far_half(&self, front: &Range<usize>) -> Option<Range<usize>> {
        if front.is_empty() {
            return None;
        }
        let weight_before = self.weights.get(front.end)?.saturating_sub(self.weight(front).div_ceil(2));
        let from = self.weights.partition_point(|weight| *weight <= weight_before).saturating_sub(1);
        let half = from.clamp(front.start, front.end - 1)..front.end;
        [half, front.clone()].into_iter().find(|part| {
            self.weight(part) >= self.far_weight_min
                || self.tasks.get(part.start).is_some_and(|task| task.slice_index == 0)
        })
    }

    fn weight(&self, range: &Range<usize>) -> u64 {
        let before = |number: usize| self.weights.get(number).copied().unwrap_or_default();
        before(range.end).saturating_sub(before(range.start))
    }

    fn fronts(&self) -> MutexGuard<'_, Fronts> {
        // Each change under the lock is complete or was not begun.
        self.fronts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The range that begins where the reader stopped, or else the first.
fn take_free(free: &mut Vec<Range<usize>>, end: Option<usize>) -> Option<Range<usize>> {
    let next = free.iter().position(|front| Some(front.start) == end);
    (!free.is_empty()).then(|| free.remove(next.unwrap_or(0)))
}

/// Neighbouring ranges of about the same weight that together are all slices; none is empty. `weights`: for
/// each border, the weight of all slices before it.
fn cut(weights: &[u64], n_fronts: usize) -> Vec<Range<usize>> {
    let n_slices = weights.len().saturating_sub(1);
    let sum = u128::from(weights.last().copied().unwrap_or_default());
    let distance = |border: usize, wanted: u64| weights.get(border).map_or(u64::MAX, |w| w.abs_diff(wanted));
    let mut from = 0;
    let fronts = (1..=n_fronts).map(|number| {
        let wanted = u64::try_from(sum * number as u128 / n_fronts as u128).unwrap_or(u64::MAX);
        let border = weights.partition_point(|weight| *weight < wanted);
        let before = border.saturating_sub(1);
        let nearest = if distance(before, wanted) < distance(border, wanted) { before } else { border };
        let to = if number == n_fronts { n_slices } else { nearest.clamp(from, n_slices) };
        std::mem::replace(&mut from, to)..to
    });
    fronts.filter(|front| !front.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Tables with slices of these sizes.
    fn queue(tables: &[Vec<u64>], n_readers: usize, is_ordered: bool) -> Queue {
        let tasks = tables.iter().enumerate().flat_map(|(plan_index, slices)| {
            let task = move |(slice_index, bytes): (usize, &u64)| (Task { plan_index, slice_index }, *bytes);
            slices.iter().enumerate().map(task)
        });
        Queue::new(tasks, n_readers, is_ordered)
    }

    /// Lets a reader take `n_slices` slices.
    fn take(queue: &Queue, reader: usize, n_slices: usize) {
        assert_eq!((0..n_slices).map_while(|_| queue.next(reader)).count(), n_slices);
    }

    fn follows(before: Task, task: Task) -> bool {
        before.plan_index == task.plan_index && before.slice_index + 1 == task.slice_index
    }

    proptest! {
        /// In any order of readers, however long each takes.
        #[test]
        fn every_slice_is_taken_once_and_fronts_are_few(
            tables in prop::collection::vec(prop::collection::vec(0_u64..70 * MIB, 1..40), 1..6),
            n_readers in 1_usize..10,
            is_ordered: bool,
            turns in prop::collection::vec(0_usize..10, 0..400),
        ) {
            let queue = queue(&tables, n_readers, is_ordered);
            let n_slices: usize = tables.iter().map(Vec::len).sum();
            let mut seen = BTreeSet::new();
            let mut last: Vec<Option<Task>> = vec![None; n_readers];
            let mut n_jumps = 0;
            let mut at_work: BTreeSet<usize> = (0..n_readers).collect();
            // Then all readers in turn, until nothing is left.
            let rest = (0..n_readers).cycle().take(n_readers * (n_slices + 1));
            for reader in turns.iter().map(|turn| turn % n_readers).chain(rest) {
                if !at_work.contains(&reader) {
                    continue;
                }
                let had_rest = queue.has_rest();
                let Some(task) = queue.next(reader) else {
                    at_work.remove(&reader);
                    continue;
                };
                prop_assert!(had_rest);
                prop_assert!(seen.insert((task.plan_index, task.slice_index)), "{task:?} twice");
                let is_new_table = last[reader].is_some_and(|before| before.plan_index != task.plan_index);
                if !is_new_table && !last[reader].is_some_and(|before| follows(before, task)) {
                    n_jumps += 1;
                }
                last[reader] = Some(task);
            }
            prop_assert_eq!(seen.len(), n_slices);
            prop_assert!(!queue.has_rest());
            if is_ordered {
                return Ok(());
            }
            // Each half that is taken is half of what was left, and has at least `far_weight_min`.
            prop_assert!(n_jumps <= n_readers * 12, "{n_jumps} jumps of {n_readers} readers");
        }
    }

    #[test]
    fn one_reader_takes_all_in_order_also_what_was_meant_for_others() {
        for (n_readers, reader) in [(1, 0), (4, 4)] {
            let queue = queue(&[vec![3 * MIB; 20], vec![MIB; 3]], n_readers, false);
            let taken: Vec<Task> = std::iter::from_fn(|| queue.next(reader)).collect();
            let expected = (0..20).map(|index| (0, index)).chain((0..3).map(|index| (1, index)));
            let expected: Vec<Task> =
                expected.map(|(plan_index, slice_index)| Task { plan_index, slice_index }).collect();
            assert_eq!(taken, expected);
        }
    }

    #[test]
    fn readers_of_the_same_speed_have_a_front_each() {
        let queue = queue(&[vec![4 * MIB; 64]], 8, false);
        let mut taken = vec![Vec::new(); 8];
        for _ in 0..8 {
            for (reader, taken) in taken.iter_mut().enumerate() {
                taken.push(queue.next(reader).unwrap());
            }
        }
        assert!(!queue.has_rest() && queue.next(0).is_none());
        for of_reader in taken {
            assert!(of_reader.windows(2).all(|pair| follows(pair[0], pair[1])), "{of_reader:?}");
        }
    }

    #[test]
    fn who_is_done_takes_the_far_half_of_the_heaviest_rest() {
        let queue = queue(&[vec![8 * MIB; 16]], 2, false);
        let slices = |reader: usize, n: usize| -> Vec<usize> {
            (0..n).map_while(|_| queue.next(reader)).map(|task| task.slice_index).collect()
        };
        assert_eq!(slices(0, 1), [0]);
        assert_eq!(slices(1, 8), [8, 9, 10, 11, 12, 13, 14, 15]);
        // Seven are left: the reader without a slice gets four.
        assert_eq!(slices(1, 4), [4, 5, 6, 7]);
        assert_eq!(slices(1, 2), [2, 3]);
        assert_eq!(slices(0, 9), [1]);
    }

    #[test]
    fn a_small_rest_is_left_to_its_reader_but_a_small_table_is_not() {
        let sizes = |n: usize| vec![MIB; n];
        // A hundred MiB for two readers; one slice of a MiB is left of the first reader's.
        let one = queue(&[sizes(100)], 2, false);
        take(&one, 0, 49);
        take(&one, 1, 50);
        assert!(one.next(1).is_none() && one.has_rest());
        assert_eq!(one.next(0).unwrap().slice_index, 49);
        let many = queue(&vec![sizes(1); 100], 2, false);
        take(&many, 0, 49);
        take(&many, 1, 50);
        assert_eq!(many.next(1).unwrap().plan_index, 49);
    }

    #[test]
    fn a_range_that_nobody_came_for_is_taken_by_who_stands_before_it() {
        let queue = queue(&[vec![4 * MIB; 30]], 3, false);
        // The reader of the last range never comes.
        take(&queue, 0, 10);
        take(&queue, 1, 10);
        assert_eq!(queue.next(1).unwrap().slice_index, 20);
        assert_eq!(queue.next(0).unwrap().slice_index, 25);
    }
}
