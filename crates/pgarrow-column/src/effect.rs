//! What policies did to values: counted, so that nothing changes silently.

use crate::spare::capacity_bytes;

/// What happened to a value that Arrow cannot hold unchanged, by a policy or because the change is harmless.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// An infinity became NULL.
    InfinityNulled,
    /// An infinity became the largest or smallest value.
    InfinitySaturated,
    /// A numeric's NaN or infinity became NULL.
    NanNulled,
    /// A value out of range became NULL.
    OutOfRangeNulled,
    /// A value out of range became the largest or smallest value.
    OutOfRangeSaturated,
    /// Text had bytes that are not UTF-8; other characters replace them.
    TextReplaced,
    /// A `char(n)` lost its padding.
    Trimmed,
    /// An array whose lower bound is not 1 became a list.
    LowerBoundDropped,
    /// A time is 24:00:00, which strict readers refuse.
    EndOfDay,
    /// A numeric or a timestamp was rounded and lost digits.
    Rounded,
}

impl Effect {
    /// Every effect.
    pub const ALL: [Self; 10] = [
        Self::InfinityNulled,
        Self::InfinitySaturated,
        Self::NanNulled,
        Self::OutOfRangeNulled,
        Self::OutOfRangeSaturated,
        Self::TextReplaced,
        Self::Trimmed,
        Self::LowerBoundDropped,
        Self::EndOfDay,
        Self::Rounded,
    ];

    fn index(self) -> usize {
        self as usize
    }
}

/// The number of values with each [`Effect`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Effects([u64; Effect::ALL.len()]);

impl Effects {
    /// The number of values with this effect.
    pub fn count(&self, effect: Effect) -> u64 {
        self.0.get(effect.index()).copied().unwrap_or(0)
    }

    /// The effects with at least one value, and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Effect, u64)> + '_ {
        Effect::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Counts some more.
    pub fn add(&mut self, effect: Effect, count: u64) {
        if let Some(of_effect) = self.0.get_mut(effect.index()) {
            *of_effect += count;
        }
    }
}

impl std::ops::AddAssign for Effects {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

/// A column's effects: those of its batch by row, since rows can be dropped, and the sums of finished
/// batches.
#[derive(Debug, Default)]
pub(crate) struct EffectLog {
    of_batch: Vec<(usize, Effect)>,
    finished: Effects,
}

impl EffectLog {
    pub(crate) fn note(&mut self, row: usize, effect: Effect) {
        self.of_batch.push((row, effect));
    }

    /// Forgets the effects behind the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        while self.of_batch.pop_if(|(row, _)| *row >= rows).is_some() {}
    }

    /// The batch is done: its rows stay.
    pub(crate) fn finish(&mut self) {
        for (_, effect) in self.of_batch.drain(..) {
            self.finished.add(effect, 1);
        }
    }

    pub(crate) fn take(&mut self, effects: &mut Effects) {
        *effects += std::mem::take(&mut self.finished);
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.of_batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_that_stay_count() {
        let mut log = EffectLog::default();
        log.note(0, Effect::NanNulled);
        log.note(3, Effect::EndOfDay);
        log.note(3, Effect::EndOfDay);
        log.truncate(3);
        log.note(4, Effect::EndOfDay);
        let mut effects = Effects::default();
        log.take(&mut effects);
        assert_eq!(effects, Effects::default());
        log.finish();
        log.take(&mut effects);
        assert_eq!(effects.iter().collect::<Vec<_>>(), [(Effect::NanNulled, 1), (Effect::EndOfDay, 1)]);
        let mut again = Effects::default();
        log.take(&mut again);
        assert_eq!(again, Effects::default());
    }

    #[test]
    fn every_effect_has_a_place_of_its_own() {
        for (index, effect) in Effect::ALL.into_iter().enumerate() {
            assert_eq!(effect.index(), index);
        }
    }
}
