//! What a load came to, for people and as JSON.

use std::time::Duration;

use pgarrow_session::{Limit, ServerReport};
use pgarrow_types::Message;
use serde::Serialize;

use crate::options::{LoadMethod, LoadMode};

/// What a load came to. Serialises to the JSON that `pgarrow load --report` writes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// Of this report's form. Fields may be added within a version.
    pub report_version: u32,
    /// The version of pgarrow.
    pub pgarrow_version: &'static str,
    /// Schema and name of the table.
    pub target: String,
    /// Where to.
    pub server: ServerReport,
    /// What became of the rows that were there.
    pub mode: LoadMode,
    /// How rows were sent.
    pub method: LoadMethod,
    /// Rows that the server says it has loaded.
    pub rows: u64,
    /// Rows of the data that were skipped, since loads before with the same restart key have dealt with them.
    pub rows_before: u64,
    /// Rows that were left out since they cannot be loaded.
    pub rows_rejected: u64,
    /// Rows that were sent, rejected ones aside. More than `rows` only where a trigger of the table has left some out.
    pub rows_sent: u64,
    /// Bytes of rows as they were encoded, without the headers of messages.
    pub wire_bytes: u64,
    /// Record batches.
    pub batches: u64,
    /// From the start of the COPY to the end of the load, in seconds.
    pub seconds: f64,
    /// Rows a second, over all of it.
    pub rows_per_second: f64,
    /// Bytes a second, over all of it.
    pub bytes_per_second: f64,
    /// CPU time of this process since it started, in seconds.
    pub cpu_seconds: f64,
    /// The most memory this process has had, in bytes.
    pub peak_memory_bytes: u64,
    /// Where the time went.
    pub phases: LoadPhases,
    /// What a faster load would have to change.
    pub limit: Limit,
    /// How long batches took.
    pub batch_times: BatchTimes,
    /// Mean of the rows of a batch.
    pub rows_per_batch: f64,
    /// Mean of the bytes that a batch became.
    pub bytes_per_batch: f64,
    /// What each connection did, if several loaded.
    pub writers: Vec<WriterReport>,
    /// What was made of what.
    pub columns: Vec<LoadColumnReport>,
    /// What the user should know.
    pub warnings: Vec<Message>,
}

/// Seconds that a load spent in each phase, in all threads together. Sending goes on while rows are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadPhases {
    /// Opening the connection. Before `seconds` begin.
    pub connect: f64,
    /// Names, types, locks; making or emptying the table. Before `seconds` begin.
    pub plan: f64,
    /// Between batches, until the caller gave one: reading and decoding what is loaded.
    pub wait_for_input: f64,
    /// Arrow into rows of COPY.
    pub encode: f64,
    /// Encoders that waited, since rows were sent no faster.
    pub wait_for_send: f64,
    /// Handing bytes to the system, TLS included.
    pub send: f64,
    /// In the middle of sending, until the server, or the network, took more. Rows are encoded meanwhile.
    pub blocked: f64,
    /// From the last byte to the server's word that all rows are loaded, indexes and triggers included; and the
    /// statement that casts them, where there is one.
    pub wait_for_server: f64,
    /// The end of the transaction.
    pub commit: f64,
}

impl LoadPhases {
    /// What holds the load back, in one word.
    pub(crate) fn limit(&self) -> Limit {
        // Encoders wait for whoever sends, who sends, or waits himself.
        let sending = self.send / (self.send + self.blocked).max(f64::MIN_POSITIVE);
        let candidates = [
            (self.connect + self.plan, Limit::Start),
            (self.wait_for_input, Limit::Input),
            (self.encode + self.wait_for_send * sending, Limit::Pgarrow),
            (self.commit, Limit::Output),
            (self.wait_for_send * (1.0 - sending) + self.wait_for_server, Limit::Server),
        ];
        let largest = candidates.into_iter().max_by(|(one, _), (two, _)| one.total_cmp(two));
        largest.map_or(Limit::Server, |(_, limit)| limit)
    }
}

/// How long batches took from the moment they were handed over until they were encoded and on their way, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BatchTimes {
    /// Half of the batches took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// What one of several connections did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WriterReport {
    /// Rows that the server says it has taken from it.
    pub rows: u64,
    /// Bytes of rows.
    pub wire_bytes: u64,
    /// Buffers of rows, of about 256 KiB: what a connection takes at once.
    pub buffers: u64,
    /// From its first buffer to the end of its transaction, in seconds.
    pub seconds: f64,
    /// Rows a second, over all of it.
    pub rows_per_second: f64,
    /// Bytes a second, over all of it.
    pub bytes_per_second: f64,
    /// How long it took until buffers were taken.
    pub buffer_times: BatchTimes,
}

/// A column of a [`LoadReport`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LoadColumnReport {
    /// The column's name.
    pub name: String,
    /// Its type in the table.
    pub pg_type: String,
    /// What it was made from; none for a column that the server filled.
    pub arrow_type: Option<String>,
    /// `binary`, `undecoded` (as another server sent it), `text` (the server read it), `default`, `generated`.
    pub how: &'static str,
}

/// Times of batches, in memory that does not grow with their number.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// By power of two of microseconds, each in eight steps.
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

/// Steps of a power of two.
const STEPS: u64 = 8;

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        let bucket = bucket_of(time);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.max = self.max.max(time);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn summary(&self) -> BatchTimes {
        BatchTimes { p50: self.quantile(50), p99: self.quantile(99), max: self.max.as_secs_f64() }
    }

    /// The upper end of the bucket in which the percentile lies, and no more than the slowest.
    fn quantile(&self, percent: u64) -> f64 {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return upper_end(bucket).min(self.max.as_secs_f64());
            }
        }
        0.0
    }
}

fn bucket_of(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let power = u64::from(micros.ilog2());
    // The three bits behind the first one.
    let step = if power >= 3 { (micros >> (power - 3)) & (STEPS - 1) } else { 0 };
    (power * STEPS + step) as usize
}

/// In seconds.
fn upper_end(bucket: usize) -> f64 {
    let (power, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    let base = 2f64.powi(power as i32);
    base * (1.0 + (step + 1) as f64 / STEPS as f64) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_an_eighth() {
        let mut times = Times::default();
        for micros in 1..=1000 {
            times.add(Duration::from_micros(micros * 100));
        }
        let summary = times.summary();
        assert!((0.050..0.0575).contains(&summary.p50), "{summary:?}");
        assert!((0.099..=0.1).contains(&summary.p99), "{summary:?}");
        assert_eq!(summary.max, 0.1);
        let mut sum = Times::default();
        sum.merge(&times);
        assert_eq!((sum.summary(), sum.count()), (summary, 1000));
    }

    /// Encoders that waited were laid to the server, whoever it was that was slow.
    #[test]
    fn who_holds_a_load_back() {
        let base = LoadPhases { encode: 1.0, wait_for_send: 9.0, ..LoadPhases::default() };
        assert_eq!(LoadPhases { send: 8.0, blocked: 2.0, ..base }.limit(), Limit::Pgarrow);
        let blocked = LoadPhases { send: 2.0, blocked: 8.0, ..base };
        assert_eq!(blocked.limit(), Limit::Server);
        assert_eq!(LoadPhases { encode: 10.0, ..blocked }.limit(), Limit::Pgarrow);
        assert_eq!(LoadPhases { wait_for_input: 20.0, ..blocked }.limit(), Limit::Input);
        assert_eq!(LoadPhases { commit: 20.0, ..blocked }.limit(), Limit::Output);
        assert_eq!(LoadPhases { connect: 4.0, plan: 5.0, ..blocked }.limit(), Limit::Start);
    }

    #[test]
    fn no_batches_and_extreme_ones() {
        assert_eq!(Times::default().summary(), BatchTimes::default());
        let mut times = Times::default();
        times.add(Duration::ZERO);
        times.add(Duration::MAX);
        assert_eq!(times.summary().max, Duration::MAX.as_secs_f64());
    }
}
