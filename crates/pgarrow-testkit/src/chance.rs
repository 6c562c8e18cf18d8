//! Random numbers, the same for the same seed.

/// A sequence of numbers.
///
/// Source: splitmix64, Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `from` up to `to`, both included.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next_number() % (to - from + 1)
    }

    /// True in this many of a hundred cases.
    pub fn is(&mut self, percent: u64) -> bool {
        self.within(1, 100) <= percent
    }

    /// A random one of these.
    pub fn one_of<'a, T: ?Sized>(&mut self, among: &[&'a T]) -> &'a T {
        among[self.index(among.len())]
    }

    /// A random index of a list of `n` items, which is not empty.
    pub fn index(&mut self, n: usize) -> usize {
        (self.next_number() % n as u64) as usize
    }

    /// Some of a list, at least one if there is one, in random order.
    pub fn some_of<T: Clone>(&mut self, among: &[T]) -> Vec<T> {
        let mut all = among.to_vec();
        for place in (1..all.len()).rev() {
            all.swap(place, self.index(place + 1));
        }
        let n = if all.is_empty() { 0 } else { 1 + self.index(all.len()) };
        all.truncate(n);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| (0..9).scan(Chance::new(seed), |c, _| Some(c.next_number())).collect::<Vec<_>>();
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn every_choice_comes_up() {
        let mut chance = Chance::new(7);
        let found: std::collections::BTreeSet<_> = (0..200).map(|_| chance.within(3, 9)).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), (3..=9).collect::<Vec<_>>());
        assert!((0..50).all(|_| chance.is(100) && !chance.is(0)));
        let lengths: std::collections::BTreeSet<_> =
            (0..100).map(|_| chance.some_of(&[1, 2, 3]).len()).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(chance.some_of::<u8>(&[]).is_empty());
    }
}
