//! How the memory of a run is shared out: pure arithmetic. [`budget`](crate::budget) counts it.
//!
//! ```text
//!  shared memory ─▶ limit of the run ─▶ readers ─▶ of each: its part of the output, and its batches
//!  used of the limit:   0 % ─ Calm ─ 50 % ─ Early ─ 80 % ─ Stop ─ 100 %
//! ```

use pgarrow_session::Memory;

/// The least memory for each reader: with less, there are fewer readers.
const READER_MIN: usize = 8 << 20;

/// What a reader needs apart from its columns.
const READER_BYTES: usize = 4 << 20;

/// What a part of an output with columns of its own needs in addition: a page in the compressor, and what the
/// allocator keeps from earlier pages.
const PART_BYTES: usize = 3 << 20;

/// What each column needs during decoding: the fewest rows that a batch can have, and buffers for the next
/// batch.
const COLUMN_BYTES: usize = 8 << 10;

/// The most readers by default; fewer if the machine has fewer cores.
const READERS_MAX: usize = 8;

/// The limit that a user chose, but not below the minimum.
pub(crate) fn chosen_limit(bytes: usize) -> usize {
    bytes.max(Memory::MIN_BYTES)
}

/// The default limit: a quarter of what the process may use, at most 1 GiB.
pub(crate) fn default_limit(machine_bytes: usize) -> usize {
    (machine_bytes / 4).clamp(Memory::MIN_BYTES, 1 << 30)
}

/// How much a run takes of the `free` bytes of a shared memory: the amount chosen for it, as far as it is
/// free, or half of what is free, so that the next run finds some. Between `least` and `most`; `None` if less
/// than `least` is free.
pub(crate) fn share_of_free(free: usize, least: usize, most: usize, is_chosen: bool) -> Option<usize> {
    let share = if is_chosen { free } else { free / 2 };
    let bytes = share.max(least).min(most);
    (bytes >= least && bytes <= free).then_some(bytes)
}

/// Readers before the number of slices is known: the `asked` number, or one for each core, up to
/// [`READERS_MAX`].
pub(crate) fn readers_before_planning(asked: Option<usize>, cores: usize, limit: usize) -> usize {
    let wanted = asked.unwrap_or_else(|| cores.min(READERS_MAX));
    wanted.clamp(1, (limit / READER_MIN).max(1))
}

/// The limit that allows `n_readers` readers before it is known what they read.
pub(crate) fn limit_for_readers(n_readers: usize) -> usize {
    READER_MIN.saturating_mul(n_readers)
}

/// How full the memory is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    /// Everything at its usual size.
    Calm,
    /// Batches and row groups end early.
    Early,
    /// Readers that can wait do so.
    Stop,
}

impl Level {
    pub(crate) fn of(used: usize, limit: usize) -> Self {
        if used >= limit / 5 * 4 {
            Self::Stop
        } else if used >= limit / 2 {
            Self::Early
        } else {
            Self::Calm
        }
    }
}

/// What a run would like to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// The number of readers, at most the number of slices.
    pub(crate) n_readers: usize,
    /// The columns of the widest table.
    pub(crate) n_columns: usize,
    /// What each reader's part of the output should have; 0 if it has no columns to itself.
    pub(crate) part_bytes: usize,
    /// From here on a batch is full.
    pub(crate) batch_bytes: usize,
    /// The output keeps the order, so it must not depend on the number of readers.
    pub(crate) is_ordered: bool,
}

impl Wish {
    /// The memory that even a single reader needs to begin.
    pub(crate) fn least(&self) -> usize {
        if self.part_bytes == 0 {
            return 0;
        }
        // With less, the columns alone would fill a part.
        let of_part = self.part_bytes / 8 * 3;
        READER_MIN.saturating_add(self.n_columns.saturating_mul(COLUMN_BYTES)).saturating_add(of_part)
    }

    /// The limit that is enough for all readers.
    pub(crate) fn limit_for_all(&self) -> usize {
        self.reader_bytes().saturating_mul(self.n_readers)
    }

    /// How many readers this limit allows: fewer than wanted if each would get too little.
    pub(crate) fn readers_within(&self, limit: usize) -> usize {
        self.n_readers.min(limit / self.reader_bytes()).max(1)
    }

    /// The least memory for a reader.
    fn reader_bytes(&self) -> usize {
        // Above four fifths of the limit, readers pass on what they hold.
        let pages = if self.part_bytes > 0 { PART_BYTES } else { 0 };
        let of_part = self.part_bytes.saturating_add(self.part_bytes / 4).saturating_add(pages);
        let of_columns = self.n_columns.saturating_mul(COLUMN_BYTES);
        of_columns.saturating_add(READER_BYTES).saturating_add(of_part).max(READER_MIN)
    }

    /// Shares the limit out among as many readers as it is enough for.
    pub(crate) fn cut(&self, limit: usize) -> Shares {
        let n_readers = self.readers_within(limit);
        let of_reader = limit / n_readers;
        // The rest is for batches.
        let part_min = self.part_bytes.min(of_reader / 10 * 7);
        let of_batch = if self.is_ordered { limit / 16 } else { (of_reader - part_min) / 8 };
        let batch_bytes = self.batch_bytes.min(of_batch.max(READER_MIN / 32));
        Shares {
            n_readers,
            batch_bytes,
            part_bytes: part_min.max(of_reader / 2),
            part_bytes_min: part_min / 2,
            turn_reserve: turn_reserve(n_readers, batch_bytes),
        }
    }
}

/// How the memory of a run is shared out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Shares {
    /// The number of readers.
    pub(crate) n_readers: usize,
    /// From here on a batch is full.
    pub(crate) batch_bytes: usize,
    /// If row groups may end early, a part holds at most this much once memory is half used.
    pub(crate) part_bytes: usize,
    /// A part that holds less than this does not end a row group early when memory is full: that would free
    /// little.
    part_bytes_min: usize,
    /// What has to stay free while readers continue whose turn it is not.
    pub(crate) turn_reserve: usize,
}

impl Shares {
    /// The size of a full batch at this level, if batches may differ in size.
    pub(crate) fn batch_bytes_at(&self, level: Level) -> usize {
        if level == Level::Calm { self.batch_bytes } else { self.batch_bytes / 4 }
    }

    /// Whether a part that holds `held_bytes` passes them on at a level above calm.
    pub(crate) fn ends_early(&self, held_bytes: usize, level: Level) -> bool {
        held_bytes > self.part_bytes || (level == Level::Stop && held_bytes >= self.part_bytes_min)
    }
}

/// With an order, only the reader whose turn it is gives memory back. So what the others may still add and
/// what that reader needs must fit.
fn turn_reserve(n_readers: usize, batch_bytes: usize) -> usize {
    // Buffers that double, and the batch made of them.
    let others = 3 * n_readers.saturating_sub(1);
    // The same, a batch on its way through a sink, and the next one.
    let own = 5;
    batch_bytes.saturating_mul(others + own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    const WISH: Wish =
        Wish { n_readers: 4, n_columns: 10, part_bytes: 0, batch_bytes: 8 * MIB, is_ordered: false };

    #[test]
    fn levels() {
        let levels = [0, 499, 500, 799, 800, 2000].map(|used| Level::of(used, 1000));
        assert_eq!(levels, [Level::Calm, Level::Calm, Level::Early, Level::Early, Level::Stop, Level::Stop]);
    }

    #[test]
    fn limits_that_nobody_chose() {
        assert_eq!(default_limit(0), 16 * MIB);
        assert_eq!(default_limit(400 * MIB), 100 * MIB);
        assert_eq!(default_limit(usize::MAX), 1024 * MIB);
        assert_eq!(chosen_limit(1), 16 * MIB);
    }

    #[test]
    fn a_run_leaves_half_to_others_unless_somebody_chose_its_limit() {
        let share = |free, is_chosen| share_of_free(free * MIB, 16 * MIB, 256 * MIB, is_chosen);
        assert_eq!(share(1024, false), Some(256 * MIB));
        assert_eq!(share(100, false), Some(50 * MIB));
        assert_eq!(share(20, false), Some(16 * MIB));
        assert_eq!(share(15, false), None);
        assert_eq!(share(1024, true), Some(256 * MIB));
        assert_eq!(share(100, true), Some(100 * MIB));
        assert_eq!(share(15, true), None);
        // The chosen amount is less than the needed one.
        assert_eq!(share_of_free(1024 * MIB, 32 * MIB, 16 * MIB, true), None);
    }

    #[test]
    fn readers_by_cores_and_by_memory() {
        assert_eq!(readers_before_planning(None, 64, 1 << 30), 8);
        assert_eq!(readers_before_planning(None, 2, 1 << 30), 2);
        assert_eq!(readers_before_planning(Some(64), 2, 256 * MIB), 32);
        assert_eq!(readers_before_planning(Some(3), 2, 0), 1);
        assert_eq!(limit_for_readers(3), 24 * MIB);
    }

    #[test]
    fn little_memory_is_for_fewer_readers() {
        for (limit, n_readers) in [(16, 2), (24, 3), (32, 4), (1024, 4), (1, 1)] {
            assert_eq!(WISH.cut(limit * MIB).n_readers, n_readers, "{limit} MiB");
        }
        assert_eq!(WISH.limit_for_all(), 32 * MIB);
        // Parts with columns of their own.
        let wide = Wish { n_columns: 1600, part_bytes: 200 * MIB, ..WISH };
        assert_eq!(wide.cut(256 * MIB).n_readers, 1);
        assert_eq!(wide.readers_within(wide.limit_for_all()), 4);
        assert_eq!(wide.readers_within(wide.limit_for_all() - 1), 3);
    }

    #[test]
    fn one_reader_of_columns_with_parts_needs_so_much() {
        assert_eq!(WISH.least(), 0);
        assert_eq!(Wish { part_bytes: 80 * MIB, n_columns: 128, ..WISH }.least(), (8 + 1 + 30) * MIB);
    }

    #[test]
    fn batches_and_parts_have_their_share_of_a_reader() {
        let shares = WISH.cut(64 * MIB);
        assert_eq!((shares.batch_bytes, shares.part_bytes), (2 * MIB, 8 * MIB));
        assert_eq!(WISH.cut(1 << 30).batch_bytes, 8 * MIB, "no more than was asked for");
        assert_eq!(WISH.cut(0).batch_bytes, MIB / 4, "no less than what is worth a batch");
        assert_eq!(shares.batch_bytes_at(Level::Calm), 2 * MIB);
        assert_eq!(shares.batch_bytes_at(Level::Early), MIB / 2);
        let shares = Wish { part_bytes: 8 * MIB, ..WISH }.cut(80 * MIB);
        assert_eq!((shares.n_readers, shares.part_bytes), (4, 10 * MIB));
        assert!(!shares.ends_early(10 * MIB, Level::Early));
        assert!(shares.ends_early(10 * MIB + 1, Level::Early));
        assert!(shares.ends_early(4 * MIB, Level::Stop));
        assert!(!shares.ends_early(4 * MIB - 1, Level::Stop));
    }

    /// The same rows must make the same batches.
    #[test]
    fn in_order_batches_are_the_same_whatever_the_number_of_readers() {
        let batch_bytes = |n_readers| {
            let shares = Wish { n_readers, is_ordered: true, ..WISH }.cut(64 * MIB);
            assert_eq!(shares.n_readers, n_readers);
            assert_eq!(shares.turn_reserve, shares.batch_bytes * (3 * (n_readers - 1) + 5));
            shares.batch_bytes
        };
        assert_eq!((1..=4).map(batch_bytes).collect::<Vec<_>>(), [4 * MIB; 4]);
    }

    #[test]
    fn numbers_that_are_too_large_do_not_wrap() {
        let most = usize::MAX;
        let wish =
            Wish { n_readers: most, n_columns: most, part_bytes: most, batch_bytes: most, is_ordered: true };
        assert_eq!(wish.least(), most);
        assert_eq!(wish.limit_for_all(), most);
        assert_eq!(wish.cut(most).n_readers, 1);
    }
}
