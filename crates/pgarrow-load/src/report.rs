//! The result of a load, for people and as JSON.

use std::time::Duration;

use pgarrow_session::{Limit, ServerReport};
use pgarrow_types::Message;
use serde::Serialize;

use crate::options::{LoadMethod, LoadMode};
use crate::upkeep::{Tended, Upkeep, UpkeepReport};

/// The result of a load. Serialises to the JSON that `pgarrow load --report` writes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// The version of this report's format. Fields may be added within a version.
    pub report_version: u32,
    /// The version of pgarrow.
    pub pgarrow_version: &'static str,
    /// Schema and name of the table.
    pub target: String,
    /// The target's server.
    pub server: ServerReport,
    /// What happened to the existing rows.
    pub mode: LoadMode,
    /// How rows were sent.
    pub method: LoadMethod,
    /// Rows that the server reports as loaded.
    pub rows: u64,
    /// Rows of the data that were skipped, because earlier loads with the same restart key finished them.
    pub rows_before: u64,
    /// Rows that were left out because they cannot be loaded.
    pub rows_rejected: u64,
    /// Rows sent, without rejected ones. More than `rows` only if a trigger of the table left some out.
    pub rows_sent: u64,
    /// Bytes of encoded rows, without message headers.
    pub wire_bytes: u64,
    /// The number of record batches.
    pub batches: u64,
    /// From the start of the COPY to the end of the load, in seconds.
    pub seconds: f64,
    /// Rows per second, over the whole load.
    pub rows_per_second: f64,
    /// Bytes per second, over the whole load.
    pub bytes_per_second: f64,
    /// CPU time of this process since it started, in seconds.
    pub cpu_seconds: f64,
    /// The peak memory of this process, in bytes.
    pub peak_memory_bytes: u64,
    /// How the time was spent.
    pub phases: LoadPhases,
    /// The bottleneck of the load.
    pub limit: Limit,
    /// How long batches took.
    pub batch_times: BatchTimes,
    /// The mean number of rows per batch.
    pub rows_per_batch: f64,
    /// The mean number of encoded bytes per batch.
    pub bytes_per_batch: f64,
    /// The work of each connection, if several loaded.
    pub writers: Vec<WriterReport>,
    /// How each column was made.
    pub columns: Vec<LoadColumnReport>,
    /// What was done to the table after the commit.
    pub upkeep: UpkeepReport,
    /// Warnings for the user.
    pub warnings: Vec<Message>,
    /// What is to be done after the commit of a transaction that others commit.
    #[serde(skip)]
    pub(crate) to_do: Option<Upkeep>,
}

impl LoadReport {
    /// Adds what came of VACUUM and ANALYZE. Returns the warnings that it added.
    pub(crate) fn add_upkeep(&mut self, tended: Tended) -> Vec<Message> {
        self.upkeep = tended.report;
        self.warnings.extend(tended.warnings.iter().cloned());
        tended.warnings
    }
}

/// Seconds that a load spent in each phase, summed over all threads. Sending overlaps with encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadPhases {
    /// Opening the connection. Not part of `seconds`.
    pub connect: f64,
    /// Resolving names and types, taking locks, creating or truncating the table. Not part of `seconds`.
    pub plan: f64,
    /// Waiting for the caller's next batch: reading and decoding the input.
    pub wait_for_input: f64,
    /// Encoding Arrow into rows of COPY.
    pub encode: f64,
    /// Encoders waiting because sending was slower.
    pub wait_for_send: f64,
    /// Handing bytes to the operating system, TLS included.
    pub send: f64,
    /// Blocked while sending, until the server or the network took more. Encoding continues meanwhile.
    pub blocked: f64,
    /// From the last byte until the server confirms all rows, including indexes and triggers; and the
    /// statement that inserts from a staging table, if there is one.
    pub wait_for_server: f64,
    /// Committing the transaction.
    pub commit: f64,
}

impl LoadPhases {
    /// The bottleneck of the load.
    pub(crate) fn limit(&self) -> Limit {
        // Encoders wait for the sending thread, which is either sending or blocked itself.
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

/// How long batches took from `write` until they were encoded and on their way, in seconds.
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

/// The work of one of several connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WriterReport {
    /// Rows that the server reports as taken from this connection.
    pub rows: u64,
    /// Bytes of rows.
    pub wire_bytes: u64,
    /// Buffers of rows, about 256 KiB each: a connection takes one at a time.
    pub buffers: u64,
    /// From its first buffer to the end of its transaction, in seconds.
    pub seconds: f64,
    /// Rows per second, over that time.
    pub rows_per_second: f64,
    /// Bytes per second, over that time.
    pub bytes_per_second: f64,
    /// How long each buffer took to send.
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
    /// The Arrow type of its field; `None` for a column that the server filled.
    pub arrow_type: Option<String>,
    /// `binary`, `undecoded` (the bytes of another server), `text` (parsed by the server), `default`,
    /// `generated`.
    pub how: &'static str,
}

/// Times of batches, in memory that does not grow with their number.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Counts by powers of two of microseconds, each in eight steps.
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

/// Steps per power of two.
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

    /// The upper end of the bucket that contains the percentile, but at most the maximum.
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
    // The three bits after the leading one.
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

    /// Regression: waiting encoders always counted for the server, even if sending was slow.
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
