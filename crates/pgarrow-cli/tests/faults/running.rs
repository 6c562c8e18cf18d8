//! The command as a process: started, signalled, watched, ended.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::arena::eventually;

/// How much later than its deadline a run may end.
const LATE: Duration = Duration::from_secs(5);

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) memory_kib: u64,
    pub(crate) took: Duration,
    pub(crate) is_late: bool,
}

/// A run in progress. Its output goes to files, so that no pipe ever fills.
pub(crate) struct Running {
    pub(crate) child: Child,
    began: Instant,
    stdout: fs::File,
    stderr: fs::File,
    memory_kib: u64,
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_pgarrow");

/// A program in a folder, without the environment's connection.
pub(crate) fn program_in(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") && !name.as_encoded_bytes().starts_with(b"PGARROW_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    command
}

/// More rows than a test can wait for. In the SELECT list, since the server computes a function in FROM to
/// its end first.
pub(crate) const ENDLESS: &str = "select generate_series(1, 1000000000) as g, repeat('x', 100) as x";

impl Running {
    /// As [`start`](Self::start), with a pipe as stdout.
    pub(crate) fn start_piped(command: &mut Command) -> (Self, ChildStdout) {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(Stdio::piped()).stderr(stderr.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let pipe = child.stdout.take().unwrap();
        (Self { child, began: Instant::now(), stdout, stderr, memory_kib: 0 }, pipe)
    }

    /// Looks how much memory the run has; if a shell or strace runs it, the maximum over all these processes.
    pub(crate) fn look(&mut self) {
        self.memory_kib = self.memory_kib.max(peak_kib(self.child.id()));
    }

    /// What the run has written to stderr so far.
    pub(crate) fn says(&self) -> String {
        text_of(&self.stderr)
    }

    /// Sends a signal, and another one when the run is being cancelled. Returns the time of the second.
    pub(crate) fn send_twice(&mut self, signal: Signal) -> Instant {
        self.send(signal);
        // Two signals back to back would become one.
        eventually("it says that it is cancelling", || {
            self.says().contains("cancelling") || self.has_ended()
        });
        self.send(signal);
        Instant::now()
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let child = command.spawn().unwrap();
        Self { child, began: Instant::now(), stdout, stderr, memory_kib: 0 }
    }

    pub(crate) fn send(&self, signal: Signal) {
        // It may have ended already; its exit code tells.
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal);
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, at most this many seconds.
    pub(crate) fn ends_within(&mut self, seconds: u64) -> bool {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            self.look();
            if self.has_ended() {
                return true;
            }
            thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Waits for the end. The run has `seconds` from now, and is killed when it is late.
    pub(crate) fn end(mut self, seconds: u64) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(seconds) + LATE;
        let mut is_late = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                is_late = true;
                self.child.kill().unwrap();
            }
            self.look();
            thread::sleep(Duration::from_millis(2));
        };
        let took = self.began.elapsed();
        let stdout = text_of(&self.stdout).into_bytes();
        Ended { status, stdout, stderr: text_of(&self.stderr), memory_kib: self.memory_kib, took, is_late }
    }
}

/// Reads by position: a process that still writes shares the file's own position.
fn text_of(file: &fs::File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    let n_read = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes[..n_read]).into_owned()
}

/// The peak memory of a process or of one of its descendants, by `VmHWM` of `/proc/PID/status`; 0 when all
/// are gone.
fn peak_kib(pid: u32) -> u64 {
    // These wrappers start children only from their main thread.
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let of_children = children.split_whitespace().filter_map(|child| child.parse().ok()).map(peak_kib).max();
    own_peak_kib(pid).max(of_children.unwrap_or(0))
}

fn own_peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}
