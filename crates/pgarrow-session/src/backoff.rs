//! Pauses between attempts: each is longer, and they differ between callers.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first pause; a random factor of 0.5 to 1 shortens it.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses of one caller that retries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    n_pauses: u32,
}

impl Backoff {
    /// The next pause.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> Duration {
        let pause = FIRST.saturating_mul(4_u32.saturating_pow(self.n_pauses)).min(LONGEST);
        self.n_pauses = self.n_pauses.saturating_add(1);
        // A factor of 0.5 to 1: readers that lost their connections together do not reconnect together.
        pause.mul_f64(0.5 + 0.5 * chance())
    }
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    // `RandomState` has random keys, and each one differs from the last.
    let hash = RandomState::new().hash_one(0_u8);
    f64::from(u16::try_from(hash >> 48).unwrap_or(u16::MAX)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut backoff = Backoff::default();
        for most in [100, 400, 1600, 6400, 10_000, 10_000] {
            let most = Duration::from_millis(most);
            let pause = backoff.next();
            assert!(pause >= most / 2 && pause <= most, "{pause:?}");
        }
        backoff.n_pauses = u32::MAX;
        assert!(backoff.next() <= LONGEST);
        let pauses: std::collections::HashSet<Duration> =
            (0..100).map(|_| Backoff::default().next()).collect();
        assert!(pauses.len() > 50);
    }
}
