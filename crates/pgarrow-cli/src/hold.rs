//! `pgarrow hold`: holds a snapshot, and writes tokens of its slices for the processes that read them.
//!
//! ```text
//!  plan ─▶ export the snapshot ─▶ tokens, all at once ─▶ hold … ─▶ signal, time or end of stdin ─▶ let go
//! ```

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgarrow::{Cancel, Error, Run, Slice, Source};
use pgarrow_sink::{Output, SinkError};

use crate::connecting::{say_config_warnings, say_warnings};
use crate::console::Console;
use crate::exit::Failure;
use crate::flags::HoldFlags;
use crate::job::Reading;
use crate::outputs::open_file;
use crate::signals::{GRACE, Signals};
use crate::units;

/// After this time, and each time it passes again, the user is reminded of the held snapshot.
const LONG: Duration = Duration::from_secs(30 * 60);

/// Holds the snapshot until a signal, the time, or the end of stdin. All of these are a success.
pub(crate) fn hold(flags: &HoldFlags, console: &Console) -> Result<(), Failure> {
    let reading = Reading::try_from(flags)?;
    let cancel = Cancel::new();
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    let holder = Holder { flags, console, signals: &signals };
    let held = holder.begin(reading, cancel).map_err(|failure| signals.check().err().unwrap_or(failure))?;
    holder.hold(held)
}

/// A held snapshot, and the tokens to write.
struct Held {
    run: Run,
    tokens: Vec<String>,
    output: Output,
}

struct Holder<'a> {
    flags: &'a HoldFlags,
    console: &'a Console,
    signals: &'a Signals,
}

impl Holder<'_> {
    /// Everything up to the snapshot. A signal cancels.
    fn begin(&self, reading: Reading, cancel: Cancel) -> Result<Held, Failure> {
        let output = match &self.flags.tokens {
            Some(path) => open_file(path, self.flags.overwrite, self.signals)?,
            None => Output::stdout().map_err(Error::from)?,
        };
        say_config_warnings(&reading.connection, self.console);
        let source = Source::connect_blocking_with(reading.connection, cancel)?;
        self.signals.be_orderly();
        let mut run = reading.subject.open(&source, reading.options, None)?;
        say_warnings(&run, self.console);
        let tokens = run.slices()?.iter().map(Slice::to_json).collect::<Result<_, _>>()?;
        Ok(Held { run, tokens, output })
    }

    /// From the snapshot to its end. A signal ends the holding, and is not a failure.
    fn hold(&self, held: Held) -> Result<(), Failure> {
        let Held { run, tokens, output } = held;
        self.signals.be_awaited();
        let started = Instant::now();
        let subject = match run.plans() {
            [plan] => plan.subject().to_owned(),
            plans => units::counted(plans.len() as u64, "table"),
        };
        self.publish(&tokens, output)?;
        self.say_how(&subject, tokens.len());
        let stdin = self.flags.until_eof.then(watch_stdin).transpose()?;
        let mut reminder = Reminder::default();
        let mut is_over = || {
            if let Some(warning) = reminder.due(started.elapsed()) {
                self.console.warn(&warning);
            }
            self.signals.is_received()
                || self.flags.at_most.is_some_and(|at_most| started.elapsed() >= at_most)
                || stdin.as_ref().is_some_and(|has_ended| has_ended.load(Ordering::SeqCst))
        };
        run.hold(|| !is_over())?;
        let held = units::seconds(started.elapsed().as_secs_f64());
        self.console.say(&format!("pgarrow: let go of the snapshot of {subject} after {held}"));
        Ok(())
    }

    fn publish(&self, tokens: &[String], mut output: Output) -> Result<(), Failure> {
        let path = output.path().map(ToOwned::to_owned);
        for token in tokens {
            let written = output.write_all(token.as_bytes()).and_then(|()| output.write_all(b"\n"));
            written.map_err(|error| Error::from(SinkError::io("write", path.as_deref(), error)))?;
        }
        let published = output.publish().map_err(Error::from)?;
        published.warnings.iter().for_each(|warning| self.console.warn(warning));
        if path.is_none() {
            close_stdout().map_err(|error| Failure::output(format!("stdout cannot be closed: {error}")))?;
        }
        Ok(())
    }

    fn say_how(&self, subject: &str, n_slices: usize) {
        let slices = units::counted(n_slices as u64, "slice");
        let end = match (self.flags.at_most, self.flags.until_eof) {
            (Some(at_most), false) => format!("for {}, or until Ctrl-C", units::duration(at_most)),
            (Some(at_most), true) => {
                format!("for {}, or until stdin ends or Ctrl-C", units::duration(at_most))
            }
            (None, true) => "until stdin ends or Ctrl-C".to_owned(),
            (None, false) => "until Ctrl-C or SIGTERM".to_owned(),
        };
        self.console
            .say(&format!("pgarrow: holding the snapshot of {subject} {end}; {slices}, a token a line"));
        let from = self.flags.tokens.as_ref().map_or("TOKENS".to_owned(), |path| path.display().to_string());
        self.console.say(&format!(
            "pgarrow: to read one: sed -n 1p {from} | pgarrow export CONNECTION --slice - -o 1.parquet"
        ));
    }
}

/// Warnings about a snapshot that is held long.
#[derive(Debug, Default)]
struct Reminder {
    n_said: u32,
}

impl Reminder {
    /// The warning for a snapshot that was held for this time, if one is due.
    fn due(&mut self, held: Duration) -> Option<String> {
        if held < LONG * (self.n_said + 1) {
            return None;
        }
        self.n_said += 1;
        let minutes = held.as_secs() / 60;
        Some(format!(
            "the snapshot has been held for {minutes} minutes; VACUUM cannot remove what it still sees"
        ))
    }
}

/// Watches for the end of stdin, in a thread that ends with the process.
fn watch_stdin() -> Result<Arc<AtomicBool>, Failure> {
    let has_ended = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&has_ended);
    let watch = move || {
        let mut buffer = [0; 256];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Any other error is an end, too.
                Ok(0) | Err(_) => break,
            }
        }
        ended.store(true, Ordering::SeqCst);
    };
    match thread::Builder::new().name("pgarrow-stdin".to_owned()).spawn(watch) {
        Ok(_) => Ok(has_ended),
        Err(error) => Err(Failure::Check(format!("stdin cannot be watched: {error}"))),
    }
}

/// Closes stdout, so that the reader of the tokens sees their end. The descriptor stays taken, so that no
/// other file becomes stdout.
fn close_stdout() -> io::Result<()> {
    let nothing = OpenOptions::new().write(true).open("/dev/null")?;
    Ok(nix::unistd::dup2_stdout(nothing)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_held_long_is_mentioned_now_and_then() {
        let mut reminder = Reminder::default();
        let mut due = |minutes: u64| reminder.due(Duration::from_secs(minutes * 60)).is_some();
        assert_eq!(
            [0, 29, 30, 31, 59, 60, 61].map(&mut due),
            [false, false, true, false, false, true, false]
        );
    }
}
