//! Where the time of a run goes.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use pgarrow_session::Limit;
use pgarrow_sink::SinkTimes;
use serde::Serialize;

/// Seconds that one reader, or all of them together, spent in each phase.
///
/// Connecting and planning come before reading, committing after it. With several readers, a phase is the sum
/// over them, so it may be longer than the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Phases {
    /// Opening connections: TCP, TLS, authentication, settings, taking over the snapshot.
    pub connect: f64,
    /// Resolving names and types, locking, sizes, slices.
    pub plan: f64,
    /// Blocked in reads: the server has sent nothing, or the network has not delivered it.
    pub wait_for_server: f64,
    /// CPU time of receiving: the system's copy from the socket, and TLS.
    pub receive: f64,
    /// Wire bytes into Arrow buffers.
    pub decode: f64,
    /// Arrow into the output's format, compression included.
    pub encode: f64,
    /// Handing encoded bytes to the system.
    pub write: f64,
    /// Waiting for the consumer of batches, for another reader that appends, or for a slice's turn.
    pub wait_for_sink: f64,
    /// Waiting for memory within the limit.
    pub wait_for_memory: f64,
    /// Completing the output: footers, flushing to disk, renaming; and the end of the transaction.
    pub commit: f64,
}

impl Phases {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { connect, plan, wait_for_server, receive, decode, encode, .. } = other;
        self.connect += connect;
        self.plan += plan;
        self.wait_for_server += wait_for_server;
        self.receive += receive;
        self.decode += decode;
        self.encode += encode;
        self.write += other.write;
        self.wait_for_sink += other.wait_for_sink;
        self.wait_for_memory += other.wait_for_memory;
        self.commit += other.commit;
    }

    /// Splits the time of a call of a sink into what it was spent on.
    pub(crate) fn add_sink(&mut self, wall: Duration, before: SinkTimes, after: SinkTimes) {
        let write = after.write.saturating_sub(before.write);
        let wait = after.wait.saturating_sub(before.wait);
        self.write += write.as_secs_f64();
        self.wait_for_sink += wait.as_secs_f64();
        self.encode += wall.saturating_sub(write + wait).as_secs_f64();
    }

    /// What limits the run's speed.
    pub(crate) fn limit(&self, server_waits_for_us: Option<f64>) -> Limit {
        let ours = self.receive + self.decode + self.encode;
        let candidates = [
            (self.wait_for_server, Limit::Server),
            (ours, Limit::Pgarrow),
            (self.write, Limit::Output),
            (self.wait_for_sink, Limit::Consumer),
            (self.wait_for_memory, Limit::Memory),
        ];
        let largest = candidates.into_iter().max_by(|(one, _), (two, _)| one.total_cmp(two));
        match largest {
            // Backends wait for the client while the client waits for them: the network is the limit.
            Some((_, Limit::Server)) => match server_waits_for_us {
                Some(share) if share > 0.5 => Limit::Network,
                Some(_) => Limit::Server,
                None => Limit::ServerOrNetwork,
            },
            Some((_, limit)) => limit,
            None => Limit::ServerOrNetwork,
        }
    }
}

/// A moment: wall-clock time, and this thread's CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    wall: Instant,
    cpu: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
        Self { wall: Instant::now(), cpu }
    }

    /// Adds the time since then: CPU time as receiving, the rest as waiting for the server.
    pub(crate) fn add_receiving(self, phases: &mut Phases) {
        let now = Self::now();
        let wall = now.wall.saturating_duration_since(self.wall).as_secs_f64();
        let cpu = now.cpu.saturating_sub(self.cpu).as_secs_f64().min(wall);
        phases.receive += cpu;
        phases.wait_for_server += wall - cpu;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_where_the_time_went() {
        let base =
            Phases { wait_for_server: 3.0, receive: 0.5, decode: 1.0, encode: 1.0, ..Phases::default() };
        assert_eq!(base.limit(None), Limit::ServerOrNetwork);
        assert_eq!(base.limit(Some(0.1)), Limit::Server);
        assert_eq!(base.limit(Some(0.9)), Limit::Network);
        assert_eq!(Phases { encode: 4.0, ..base }.limit(Some(0.9)), Limit::Pgarrow);
        assert_eq!(Phases { write: 4.0, ..base }.limit(None), Limit::Output);
        assert_eq!(Phases { wait_for_sink: 4.0, ..base }.limit(None), Limit::Consumer);
        assert_eq!(Phases { wait_for_memory: 4.0, ..base }.limit(None), Limit::Memory);
    }

    #[test]
    fn waiting_is_what_was_not_cpu_time() {
        let mut phases = Phases::default();
        let moment = Moment::now();
        std::thread::park_timeout(Duration::from_millis(30));
        moment.add_receiving(&mut phases);
        assert!(phases.wait_for_server > phases.receive, "{phases:?}");
    }

    #[test]
    fn a_sinks_time_is_split() {
        let mut phases = Phases::default();
        let second = Duration::from_secs(1);
        let after = SinkTimes { encode: second, wait: 2 * second, write: 3 * second };
        phases.add_sink(10 * second, SinkTimes::default(), after);
        assert_eq!((phases.write, phases.wait_for_sink, phases.encode), (3.0, 2.0, 5.0));
    }
}
