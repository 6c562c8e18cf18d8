//! How far a run was over time: few samples, however long it takes.

use serde::Serialize;

/// Most samples that are kept. When there are more, every other one goes, and the next are half as many.
const SAMPLES_MAX: usize = 256;
/// The time between two samples at first.
const STEP_NANOS: u64 = 10_000_000;

/// How far a run was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// Seconds since the reading began.
    pub seconds: f64,
    /// Rows decoded until then.
    pub rows: u64,
    /// Bytes received for them.
    pub wire_bytes: u64,
    /// Bytes of memory that counted against the limit at that moment.
    pub memory_bytes: u64,
}

/// Samples of a run whose length nobody knows.
#[derive(Debug)]
pub(super) struct Samples {
    taken: Vec<Sample>,
    step_nanos: u64,
}

impl Default for Samples {
    fn default() -> Self {
        Self { taken: Vec::new(), step_nanos: STEP_NANOS }
    }
}

impl Samples {
    /// Keeps a sample. Returns when the next one is due, in nanoseconds after the beginning.
    pub(super) fn take(&mut self, sample: Sample) -> u64 {
        // A reader that was late may come with an older moment.
        if self.taken.last().is_none_or(|last| last.seconds < sample.seconds) {
            self.taken.push(sample);
        }
        if self.taken.len() >= SAMPLES_MAX {
            let mut index = 0;
            // The first one stays.
            self.taken.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.step_nanos = self.step_nanos.saturating_mul(2);
        }
        ((sample.seconds * 1e9) as u64).saturating_add(self.step_nanos)
    }

    /// All samples, and the last one behind them.
    pub(super) fn and_last(&self, last: Sample) -> Vec<Sample> {
        let before = self.taken.iter().filter(|sample| sample.seconds < last.seconds);
        before.copied().chain([last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Sample {
        Sample { seconds: nanos as f64 / 1e9, rows: nanos, wire_bytes: nanos, memory_bytes: 0 }
    }

    #[test]
    fn a_run_of_any_length_has_some_hundred_samples_over_all_of_it() {
        for seconds in [1, 10, 1000, 100_000] {
            let (mut samples, mut now, end) = (Samples::default(), 0, seconds * 1_000_000_000);
            while now < end {
                now = samples.take(at(now)).max(now + 1);
            }
            let all = samples.and_last(at(end));
            assert!(all.len() <= SAMPLES_MAX + 1 && all.len() >= 90, "{seconds} s: {}", all.len());
            assert_eq!((all[0].rows, all[all.len() - 1].rows), (0, end));
            let steps = || all.windows(2).map(|pair| pair[1].seconds - pair[0].seconds);
            assert!(steps().all(|step| step > 0.0 && step < seconds as f64 / 50.0), "{seconds} s");
        }
    }

    #[test]
    fn a_late_moment_is_not_kept() {
        let mut samples = Samples::default();
        samples.take(at(20));
        samples.take(at(10));
        assert_eq!(samples.and_last(at(30)), [at(20), at(30)]);
        assert_eq!(samples.and_last(at(20)), [at(20)]);
    }
}
