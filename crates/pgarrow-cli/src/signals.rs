//! What signals do: the first one asks for an orderly end, the second one is the end.
//!
//! ```text
//!  SIGINT, SIGTERM, SIGHUP ─▶ first: cancel ─▶ the run ends by itself, cleans up, exits with 128 + n
//!                             │         └ not within the grace: clean up here, exit
//!                             └ nothing is running yet, or second: clean up here, exit
//!  (in the middle of a load's COMMIT, the exit says that nobody knows what became of it)
//!
//!  while something is held: first: noted, and whoever holds lets go
//!
//!  SIGXFSZ, SIGPIPE ─▶ errors of the write that caused them
//! ```

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use pgarrow::{Cancel, Error, ErrorKind};
use pgarrow_load::{LoadProgress, LoadStage};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;

use crate::console::Console;
use crate::exit::Failure;
use crate::received::Received;
use crate::run_report::RunReport;

/// Nothing is running yet: the signal is the end.
const AT_ONCE: u8 = 0;
/// The run listens to its cancel.
const CANCEL: u8 = 1;
/// Whoever waits looks for the signal.
const NOTE: u8 = 2;

const NO_ROWS: u8 = 0;
const LOADING: u8 = 1;
const LOADED: u8 = 2;

/// The signals that end a run, from [`install`](Self::install) on.
#[derive(Debug)]
pub(crate) struct Signals(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cancel: Cancel,
    console: Console,
    grace: Duration,
    /// The first signal.
    received: OnceLock<Received>,
    /// What the first signal is to do: [`AT_ONCE`], [`CANCEL`] or [`NOTE`].
    manner: AtomicU8,
    /// Whether there are rows that somebody has to be told about: [`NO_ROWS`], [`LOADING`] or [`LOADED`].
    rows: AtomicU8,
    /// How far the load is that is under way.
    load: OnceLock<Arc<LoadProgress>>,
    leftovers: Mutex<Vec<PathBuf>>,
    report: OnceLock<RunReport>,
}

/// How long writing a report may keep a process that has to leave.
const REPORT_TIME: Duration = Duration::from_secs(1);

/// What is said instead of an answer to COMMIT.
const COMMITTING: &str = "stopped while COMMIT was under way: the rows may be in the table or not; \
     look at it before you load them again, or, with --commit-every or --restart-key, start the same command again";

/// What is said where only a report or rejected rows were to be written.
const COMMITTED: &str =
    "the rows were committed before: they are in the table; what is written beside it is not complete";

impl Signals {
    /// Installs the handlers. `grace` is how long a cancelled run may take to end.
    pub(crate) fn install(cancel: Cancel, console: Console, grace: Duration) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            cancel,
            console,
            grace,
            received: OnceLock::new(),
            manner: AtomicU8::new(AT_ONCE),
            rows: AtomicU8::new(NO_ROWS),
            load: OnceLock::new(),
            leftovers: Mutex::default(),
            report: OnceLock::new(),
        });
        let signals: Vec<i32> =
            [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let installed = SignalsInfo::<WithOrigin>::new(signals).and_then(|mut incoming| {
            // A handler, even one that does nothing, turns the signal's end of the process into EFBIG.
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("pgarrow-signals".to_owned())
                .spawn(move || incoming.forever().for_each(|origin| shared.receive(Received::new(&origin))))
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

    /// From now on there are rows that a COMMIT may bring: who leaves in the middle of one has to say so.
    pub(crate) fn be_loading(&self, progress: &Arc<LoadProgress>) {
        let _ = self.0.load.set(Arc::clone(progress));
        self.0.rows.store(LOADING, Ordering::SeqCst);
    }

    /// From now on they are committed, whatever comes.
    pub(crate) fn be_loaded(&self) {
        self.0.rows.store(LOADED, Ordering::SeqCst);
    }

    /// From now on a signal is how a wait ends, and no failure: [`is_received`](Self::is_received) says so.
    pub(crate) fn be_awaited(&self) {
        self.0.manner.store(NOTE, Ordering::SeqCst);
    }

    /// Whether there was a signal.
    pub(crate) fn is_received(&self) -> bool {
        self.0.received.get().is_some()
    }

    /// The failure that a signal is, once there was one.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.0.received.get() {
            None => Ok(()),
            Some(signal) => Err(Failure::Signal(signal.clone(), None)),
        }
    }

    /// What is said of a failure: a signal that came before is the reason for it, unless the rows are committed. Then what
    /// has failed is something beside them, and who hears of a stopped load would load them again.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match self.0.rows.load(Ordering::SeqCst) {
            LOADED => failure,
            _ => failure.or(self.check().err()),
        }
    }

    /// A file or folder to remove if there is no time to unwind. A folder with whatever is in it.
    pub(crate) fn remove_at_exit(&self, path: impl Into<PathBuf>) {
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
    }

    /// What says that the run has failed, if there is no time to unwind.
    pub(crate) fn report_at_exit(&self, report: RunReport) {
        // There is one run.
        let _ = self.0.report.set(report);
    }

    /// All that was named to [`remove_at_exit`](Self::remove_at_exit) stays from now on.
    pub(crate) fn keep_all(&self) {
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    fn receive(self: &Arc<Self>, signal: Received) {
        let by = signal.to_string();
        let is_first = self.received.set(signal).is_ok();
        let manner = self.manner.load(Ordering::SeqCst);
        if !is_first || manner == AT_ONCE {
            self.leave();
        }
        if manner == CANCEL {
            self.console.say("pgarrow: cancelling…");
            self.cancel.cancel_for(by);
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

    /// What the load is doing.
    fn stage(&self) -> Option<LoadStage> {
        self.load.get().map(|load| load.stage())
    }

    /// Ends the process without unwinding: another thread may wait for a server that does not answer.
    fn leave(&self) -> ! {
        // It takes the place of one of the leftovers.
        self.write_report();
        for path in self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // There is nobody left to tell.
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        let failure = self.failure();
        self.console.error(&failure);
        signal_hook::low_level::exit(i32::from(failure.code()));
    }

    /// What the process leaves with.
    fn failure(&self) -> Failure {
        let Some(signal) = self.received.get().cloned() else {
            return Failure::Check("it has left without a signal; please report it".to_owned());
        };
        match self.rows.load(Ordering::SeqCst) {
            LOADING if self.stage() == Some(LoadStage::Committed) => {
                Failure::Signal(signal, Some(COMMITTED.to_owned()))
            }
            // The answer may have come in this very moment.
            LOADING if self.cancel.is_committing() || self.stage() == Some(LoadStage::Committing) => {
                Error::new(ErrorKind::OutcomeUnknown, format!("{COMMITTING} ({signal})")).into()
            }
            LOADING => {
                let committed = self.load.get().map_or(0, |load| load.rows_committed());
                Failure::Signal(signal, Some(stopped(committed)))
            }
            LOADED => Failure::Signal(signal, Some(COMMITTED.to_owned())),
            _ => Failure::Signal(signal, None),
        }
    }

    /// Says in the report that the run has failed. In a thread of its own: a disk may not answer either.
    fn write_report(&self) {
        let Some(report) = self.report.get().cloned() else { return };
        let (console, failure) = (self.console.clone(), self.failure());
        let (sender, written) = mpsc::channel();
        let writing = move || {
            report.failed(&failure, &console);
            // Nobody waits for long.
            let _ = sender.send(());
        };
        if thread::Builder::new().name("pgarrow-report".to_owned()).spawn(writing).is_ok() {
            let _ = written.recv_timeout(REPORT_TIME);
        }
    }
}

/// What is said of a load that is left where it is, with no COMMIT under way. The server takes back what is not committed.
fn stopped(committed: u64) -> String {
    match committed {
        0 => "nothing was loaded".to_owned(),
        _ => format!(
            "the first {committed} rows of the data are loaded, and the same command goes on behind them"
        ),
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
