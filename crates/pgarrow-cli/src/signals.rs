//! What signals do: the first one asks for an orderly end, the second one ends the process.
//!
//! ```text
//!  SIGINT, SIGTERM, SIGHUP ─▶ first: cancel ─▶ the run ends by itself, cleans up, exits with 128 + n
//!                             │         └ not within the grace: clean up here, exit
//!                             └ nothing is running yet, or second: clean up here, exit
//!  (in the middle of a load's COMMIT, the exit says that the outcome is unknown)
//!
//!  while a snapshot is held: first: noted, and the holder releases it
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

/// How long a cancelled export may take to end by itself.
pub(crate) const GRACE: Duration = Duration::from_millis(4500);

/// Nothing is running yet that has to end in order: the signal ends the process. The server rolls back a load
/// that has begun ahead.
const AT_ONCE: u8 = 0;
/// The run listens to its cancel.
const CANCEL: u8 = 1;
/// The code that waits looks for the signal.
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
    /// What the first signal does: [`AT_ONCE`], [`CANCEL`] or [`NOTE`].
    manner: AtomicU8,
    /// Whether the exit has to say what became of rows: [`NO_ROWS`], [`LOADING`] or [`LOADED`].
    rows: AtomicU8,
    /// The progress of the load that is under way.
    load: OnceLock<Arc<LoadProgress>>,
    /// Those of several tables that are committed one by one.
    loads: OnceLock<Loads>,
    leftovers: Mutex<Vec<PathBuf>>,
    report: OnceLock<RunReport>,
}

/// How long writing a report may delay the exit.
const REPORT_TIME: Duration = Duration::from_secs(1);

/// The message if the process exits before the answer to COMMIT.
const COMMITTING: &str = "stopped while COMMIT was under way: the rows may be in the table or not; \
     look at it before you load them again, or, with --commit-every or --restart-key, start the same command again";

/// The message if the process exits when only a report or rejected rows are not written.
const COMMITTED: &str = "the rows were committed before, and are where they should be; what is written beside them is not complete";

impl Signals {
    /// Installs no handlers: for a program that runs the command, and has handlers of its own.
    pub(crate) fn none(cancel: Cancel, console: Console) -> Self {
        Self(Shared::new(cancel, console, GRACE))
    }

    /// Installs the handlers. `grace` is how long a cancelled run may take to end.
    pub(crate) fn install(cancel: Cancel, console: Console, grace: Duration) -> Result<Self, Failure> {
        let shared = Shared::new(cancel, console, grace);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let signals: Vec<i32> =
            [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !has_ignored(&status, *signal)).collect();
        let installed = SignalsInfo::<WithOrigin>::new(signals).and_then(|mut incoming| {
            // With a handler, even one that does nothing, SIGXFSZ does not end the process: the write fails
            // with EFBIG.
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

    /// From now on the run listens to its cancel; before, a signal ends the process at once.
    pub(crate) fn be_orderly(&self) {
        self.0.manner.store(CANCEL, Ordering::SeqCst);
    }

    /// From now on a COMMIT may bring rows: an exit in the middle of one has to say so.
    pub(crate) fn be_loading(&self, progress: &Arc<LoadProgress>) {
        let _ = self.0.load.set(Arc::clone(progress));
        self.0.rows.store(LOADING, Ordering::SeqCst);
    }

    /// The same for loads that are committed one by one: of those that have begun.
    pub(crate) fn be_loading_tables(&self, loads: &Loads) {
        let _ = self.0.loads.set(Arc::clone(loads));
        self.0.rows.store(LOADING, Ordering::SeqCst);
    }

    /// From now on the rows are committed.
    pub(crate) fn be_loaded(&self) {
        self.0.rows.store(LOADED, Ordering::SeqCst);
    }

    /// From now on a signal ends a wait, and is not a failure: [`is_received`](Self::is_received) tells.
    pub(crate) fn be_awaited(&self) {
        self.0.manner.store(NOTE, Ordering::SeqCst);
    }

    /// Whether there was a signal.
    pub(crate) fn is_received(&self) -> bool {
        self.0.received.get().is_some()
    }

    /// Fails with the signal, if there was one.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.0.received.get() {
            None => Ok(()),
            Some(signal) => Err(Failure::Signal(signal.clone(), None)),
        }
    }

    /// The failure to report: a signal that came before is the reason, unless the rows are committed. Then
    /// something beside the rows failed, and a user who reads of a stopped load would load them again.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match self.0.rows.load(Ordering::SeqCst) {
            LOADED => failure,
            _ => failure.or(self.check().err()),
        }
    }

    /// A file, or a folder with its contents, to remove if there is no time to unwind.
    pub(crate) fn remove_at_exit(&self, path: impl Into<PathBuf>) {
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
    }

    /// The report that says that the run failed, if there is no time to unwind.
    pub(crate) fn report_at_exit(&self, report: RunReport) {
        // A process has one run.
        let _ = self.0.report.set(report);
    }

    /// Keeps all that [`remove_at_exit`](Self::remove_at_exit) was called for.
    pub(crate) fn keep_all(&self) {
        self.0.leftovers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    fn new(cancel: Cancel, console: Console, grace: Duration) -> Arc<Self> {
        Arc::new(Self {
            cancel,
            console,
            grace,
            received: OnceLock::new(),
            manner: AtomicU8::new(AT_ONCE),
            rows: AtomicU8::new(NO_ROWS),
            load: OnceLock::new(),
            loads: OnceLock::new(),
            leftovers: Mutex::default(),
            report: OnceLock::new(),
        })
    }

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

    /// The stage of the load.
    fn stage(&self) -> Option<LoadStage> {
        if let Some(loads) = self.loads.get() {
            let loads = loads.lock().unwrap_or_else(PoisonError::into_inner);
            return loads.iter().map(|load| load.stage()).find(|stage| *stage == LoadStage::Committing);
        }
        self.load.get().map(|load| load.stage())
    }

    /// Ends the process without unwinding: another thread may wait for a server that does not answer.
    fn leave(&self) -> ! {
        // First: the report takes the name of one of the leftovers.
        self.write_report();
        for path in self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // There is no place left for an error.
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        let failure = self.failure();
        self.console.error(&failure);
        signal_hook::low_level::exit(i32::from(failure.code()));
    }

    /// The failure that the process exits with.
    fn failure(&self) -> Failure {
        let Some(signal) = self.received.get().cloned() else {
            return Failure::Check("it has left without a signal; please report it".to_owned());
        };
        match self.rows.load(Ordering::SeqCst) {
            LOADING if self.stage().is_some_and(LoadStage::is_committed) => {
                Failure::Signal(signal, Some(COMMITTED.to_owned()))
            }
            // The answer may have come in this very moment.
            LOADING if self.cancel.is_committing() || self.stage() == Some(LoadStage::Committing) => {
                Error::new(ErrorKind::OutcomeUnknown, format!("{COMMITTING} ({signal})")).into()
            }
            LOADING => {
                let committed = self.load.get().map_or(0, |load| load.rows_committed());
                let text = self.loads.get().map_or_else(|| stopped(committed), loaded_tables);
                Failure::Signal(signal, Some(text))
            }
            LOADED => Failure::Signal(signal, Some(COMMITTED.to_owned())),
            _ => Failure::Signal(signal, None),
        }
    }

    /// Writes the report of the failed run, in a thread of its own: a disk may not answer either.
    fn write_report(&self) {
        let Some(report) = self.report.get().cloned() else { return };
        let (console, failure) = (self.console.clone(), self.failure());
        let (sender, written) = mpsc::channel();
        let writing = move || {
            report.failed(&failure, &console);
            // `leave` may wait no longer.
            let _ = sender.send(());
        };
        if thread::Builder::new().name("pgarrow-report".to_owned()).spawn(writing).is_ok() {
            let _ = written.recv_timeout(REPORT_TIME);
        }
    }
}

/// The text for a load that the exit interrupts, with no COMMIT under way. The server rolls back what is not
/// committed.
fn stopped(committed: u64) -> String {
    match committed {
        0 => "nothing was loaded".to_owned(),
        _ => format!(
            "the first {committed} rows of the data are loaded, and the same command goes on behind them"
        ),
    }
}

/// The progress of several loads, from when each begins.
pub(crate) type Loads = Arc<Mutex<Vec<Arc<LoadProgress>>>>;

/// What is loaded of tables that are committed one by one.
pub(crate) fn loaded_tables(loads: &Loads) -> String {
    let loads = loads.lock().unwrap_or_else(PoisonError::into_inner);
    match loads.iter().filter(|load| load.stage().is_committed()).count() {
        0 => "nothing was loaded".to_owned(),
        1 => "one table is loaded as a whole, and the others are as they were".to_owned(),
        n_loaded => format!("{n_loaded} tables are loaded as a whole, and the others are as they were"),
    }
}

/// Whether the process was started with this signal ignored, as `nohup` does with SIGHUP.
///
/// Source: `proc_pid_status(5)`, `SigIgn`. Without such a file, no signal counts as ignored.
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
