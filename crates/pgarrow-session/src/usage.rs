//! CPU time and memory of this process.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// CPU time and memory of this process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// User and system time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// The peak memory (resident set), in bytes.
    pub peak_memory_bytes: u64,
}

impl ProcessUsage {
    /// The usage now; zeros if the system does not report it.
    pub fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
            return Self::default();
        };
        let cpu_micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        // macOS counts in bytes, the others in KiB.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        let peak_memory_bytes =
            high_water_mark().unwrap_or(u64::try_from(usage.max_rss()).unwrap_or(0) * unit);
        Self { cpu_seconds: cpu_micros as f64 / 1e6, peak_memory_bytes }
    }
}

/// Linux' `VmHWM`. The maximum of `getrusage` begins with that of the parent program, which may have been
/// much larger.
fn high_water_mark() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The rate per second; zero if no time has passed.
pub fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
