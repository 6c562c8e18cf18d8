//! What the hash tables of dictionaries have in common: where they put values.

/// No value: the place is free.
pub(crate) const FREE: u32 = u32::MAX;

/// Places of the first table.
pub(crate) const PLACES_MIN: usize = 64;

/// Spreads bits over a word: the golden ratio.
pub(crate) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether a new value was put so far from its own place, of `n_places`, that its dictionary has to end.
///
/// There is no seed, since the same rows make the same file. So values can be chosen that all have the same
/// place, and each would be looked for behind all others. Values that nobody chose are at most 30 away.
pub(crate) fn is_far(place: usize, own: usize, n_places: usize) -> bool {
    const DISTANCE_MAX: usize = 128;
    place.wrapping_sub(own) & (n_places - 1) > DISTANCE_MAX
}
