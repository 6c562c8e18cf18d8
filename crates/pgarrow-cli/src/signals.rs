//! What signals do: the first one asks for an orderly end, the second one is the end.
//!
//! ```text
//!  SIGINT, SIGTERM, SIGHUP ─▶ first: cancel ─▶ the run ends by itself, cleans up, exits with 128 + n
//!                             │         └ not within the grace: clean up here, exit
//!                             └ nothing is running yet, or second: clean up here, exit
//!
//!  while something is held: first: noted, and whoever holds lets go
//!
//!  SIGXFSZ, SIGPIPE ─▶ errors of the write that caused them
//! ```

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pgarrow::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals as Incoming;

use crate::console::Console;
use crate::exit::{Failure, code_of_signal};

/// Nothing is running yet: the signal is the end.
const AT_ONCE: u8 = 0;
/// The run listens to its cancel.
const CANCEL: u8 = 1;
/// Whoever waits looks for the signal.
const NOTE: u8 = 2;

/// The signals that end a run, from [`install`](Self::install) on.
#[derive(Debug)]
pub(crate) struct Signals(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cancel: Cancel,
    console: Console,
    grace: Duration,
    /// The first signal, 0 before it.
    received: AtomicI32,
    /// What the first signal is to do: [`AT_ONCE`], [`CANCEL`] or [`NOTE`].
    manner: AtomicU8,
    leftovers: Mutex<Vec<PathBuf>>,
}

impl Signals {
    /// Installs the handlers. `grace` is how long a cancelled run may take to end.
    pub(crate) fn install(cancel: Cancel, console: Console, grace: Duration) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            cancel,
            console,
            grace,
            received: AtomicI32::new(0),
            manner: AtomicU8::new(AT_ONCE),
            leftovers: Mutex::default(),
        });
        let signals: Vec<i32> =
            [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let installed = Incoming::new(signals).and_then(|mut incoming| {
            // A handler, even one that does nothing, turns the signal's end of the process into EFBIG.
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("pgarrow-signals".to_owned())
                .spawn(move || incoming.forever().for_each(|signal| shared.receive(signal)))
        });
        match installed {
            Ok(_) => Ok(Self(shared)),
            Err(error) => {
                Err(Failure::Check(format!("the handlers for signals cannot be installed: {error}")))
            }
        }
    }

    /// From now on the run listens to its cancel; before, a signal is the end at once.
    pub(crate) fn be_orderly(&self) {
        self.0.manner.store(CANCEL, Ordering::SeqCst);
    }

    /// From now on a signal is how a wait ends, and no failure: [`is_received`](Self::is_received) says so.
    pub(crate) fn be_awaited(&self) {
        self.0.manner.store(NOTE, Ordering::SeqCst);
    }

    /// Whether there was a signal.
    pub(crate) fn is_received(&self) -> bool {
        self.0.received.load(Ordering::SeqCst) != 0
    }

    /// The failure that a signal is, once there was one.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.0.received.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Failure::Signal(signal)),
        }
    }

    /// A file or folder to remove if there is no time to unwind. A folder with whatever is in it.
    pub(crate) fn remove_at_exit(&self, path: impl Into<PathBuf>) {
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
    }

    /// All that was named to [`remove_at_exit`](Self::remove_at_exit) stays from now on.
    pub(crate) fn keep_all(&self) {
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    fn receive(self: &Arc<Self>, signal: i32) {
        let is_first = self.received.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        let manner = self.manner.load(Ordering::SeqCst);
        if !is_first || manner == AT_ONCE {
            self.leave();
        }
        if manner == CANCEL {
            self.console.say("pgarrow: cancelling…");
            self.cancel.cancel();
        }
        let shared = Arc::clone(self);
        let waiting = thread::Builder::new().name("pgarrow-grace".to_owned()).spawn(move || {
            thread::sleep(shared.grace);
            shared.leave();
        });
        if waiting.is_err() {
            self.leave();
        }
    }

    /// Ends the process without unwinding: another thread may wait for a server that does not answer.
    fn leave(&self) -> ! {
        for path in self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // There is nobody left to tell.
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        signal_hook::low_level::exit(i32::from(code_of_signal(self.received.load(Ordering::SeqCst))));
    }
}

/// Whether whoever started us has switched this signal off, as `nohup` does with SIGHUP.
///
/// Source: `proc_pid_status(5)`, `SigIgn`. Where there is no such file, signals count as wanted.
fn is_ignored(signal: i32) -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| has_ignored(&status, signal))
}

fn has_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_respected() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert!(has_ignored(status, SIGHUP));
        assert!(!has_ignored(status, SIGINT));
        assert!(!has_ignored("", SIGHUP));
    }
}
