//! Real servers: they start, answer, stop, and leave nothing, however their parent ends.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod fetch;
mod lifecycle;
mod parent;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Waits for something that happens in another process.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 30 seconds: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs. A process that has ended, and that no parent has waited for, does not.
fn is_running(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().expect("ps runs");
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// How many processes have this path on their command line.
fn n_processes_of(folder: &Path) -> usize {
    let output = Command::new("ps").args(["-e", "-o", "args="]).output().expect("ps runs");
    let folder = folder.to_str().expect("UTF-8");
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains(folder)).count()
}
