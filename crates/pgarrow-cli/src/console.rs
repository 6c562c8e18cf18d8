//! Messages for the user: on stderr, beside the progress bar; when quiet, only errors. Where another program
//! runs the command, they are kept for it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use indicatif::ProgressBar;
use pgarrow::{Message, escape_control};

use crate::words;

/// The tracing target of messages for the user, which no filter of events leaves out.
pub(crate) const SAID: &str = "pgarrow::console";

/// The form of messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// Lines of JSON
    Json,
}

/// What the user wants to see of the progress.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum ProgressForm {
    /// A live view on a terminal, otherwise plain lines; nothing with --quiet
    #[default]
    Auto,
    /// A line every ten seconds
    Plain,
    /// An object on a line every second, and one at the end; with --quiet, too
    Json,
    /// Nothing
    None,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shown {
    Nothing,
    Live,
    Plain,
    Json,
    /// To whoever asks.
    Asked,
}

/// Tells how far a run is, as an object of JSON.
pub(crate) struct Tell(pub(crate) Box<dyn Fn() -> Option<String> + Send>);

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

/// The one writer to stderr. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Console(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    is_quiet: bool,
    form: LogFormat,
    progress: ProgressForm,
    /// The bar is drawn on the same lines, so each message suspends it.
    bar: Mutex<Option<ProgressBar>>,
    /// The warnings so far: planning, reading and the report may have the same one.
    warned: Mutex<Vec<String>>,
    /// Another program runs the command, and stderr is not its place.
    is_embedded: bool,
    /// How far the run is, for that program.
    tell: Mutex<Option<Tell>>,
}

impl Console {
    pub(crate) fn new(is_quiet: bool, form: LogFormat, progress: ProgressForm) -> Self {
        Self::make(is_quiet, form, progress, false)
    }

    /// Writes nothing: [`warnings`](Self::warnings) has what a user would read.
    pub(crate) fn embedded() -> Self {
        Self::make(true, LogFormat::Text, ProgressForm::None, true)
    }

    fn make(is_quiet: bool, form: LogFormat, progress: ProgressForm, is_embedded: bool) -> Self {
        Self(Arc::new(Shared {
            is_quiet,
            form,
            progress,
            bar: Mutex::default(),
            warned: Mutex::default(),
            is_embedded,
            tell: Mutex::default(),
        }))
    }

    /// Whether another program runs the command.
    pub(crate) fn is_embedded(&self) -> bool {
        self.0.is_embedded
    }

    /// The warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.0.warned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets who tells how far the run is, or nobody.
    pub(crate) fn set_tell(&self, tell: Option<Tell>) {
        *self.0.tell.lock().unwrap_or_else(PoisonError::into_inner) = tell;
    }

    /// How far the run is: the object of `--progress json`. `None` if nothing is read yet, or no more.
    pub(crate) fn progress_json(&self) -> Option<String> {
        let tell = self.0.tell.lock().unwrap_or_else(PoisonError::into_inner);
        tell.as_ref().and_then(|Tell(tell)| tell())
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.0.is_quiet
    }

    pub(crate) fn form(&self) -> LogFormat {
        self.0.form
    }

    /// How progress is shown.
    pub(crate) fn progress(&self) -> Shown {
        match self.0.progress {
            _ if self.0.is_embedded => Shown::Asked,
            ProgressForm::Json => Shown::Json,
            ProgressForm::None => Shown::Nothing,
            ProgressForm::Auto | ProgressForm::Plain if self.is_quiet() => Shown::Nothing,
            ProgressForm::Auto if io::stderr().is_terminal() && self.form() == LogFormat::Text => Shown::Live,
            ProgressForm::Auto | ProgressForm::Plain => Shown::Plain,
        }
    }

    /// Writes one line, unless quiet. Text from outside in it is escaped.
    pub(crate) fn say(&self, line: &str) {
        match self.form() {
            _ if self.is_quiet() => {}
            LogFormat::Text => self.write(&escape_control(line)),
            // The event's target says already that pgarrow writes it.
            LogFormat::Json => {
                tracing::info!(target: SAID, "{}", line.strip_prefix("pgarrow: ").unwrap_or(line))
            }
        }
    }

    /// Writes a warning, unless quiet, and each only once.
    pub(crate) fn warn(&self, warning: impl Into<Message>) {
        let warning = words::message(&warning.into());
        let mut warned = self.0.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.contains(&warning) {
            return;
        }
        warned.push(warning.clone());
        drop(warned);
        match self.form() {
            LogFormat::Text => self.say(&format!("pgarrow: warning: {warning}")),
            LogFormat::Json if self.is_quiet() => {}
            LogFormat::Json => tracing::warn!(target: SAID, "{warning}"),
        }
    }

    /// Writes an error, always. The caller has escaped the text.
    pub(crate) fn error(&self, text: impl std::fmt::Display) {
        match self.form() {
            LogFormat::Text => self.write(&format!("pgarrow: {text}")),
            LogFormat::Json => tracing::error!(target: SAID, "{text}"),
        }
    }

    /// Sets the bar that makes way for lines, or none.
    pub(crate) fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.0.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// Writes the text unchanged, as a line.
    pub(crate) fn write(&self, text: &str) {
        if self.0.is_embedded {
            return;
        }
        let bar = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner);
        // If stderr is gone, there is no place for a message.
        let write = || drop(writeln!(io::stderr(), "{text}"));
        match bar.as_ref() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_leaves_only_the_progress_that_programs_read() {
        let shown = |is_quiet, form| Console::new(is_quiet, LogFormat::Json, form).progress();
        for is_quiet in [false, true] {
            assert_eq!(shown(is_quiet, ProgressForm::Json), Shown::Json);
            assert_eq!(shown(is_quiet, ProgressForm::None), Shown::Nothing);
        }
        for form in [ProgressForm::Auto, ProgressForm::Plain] {
            // No bar between lines of JSON, also on a terminal.
            assert_eq!((shown(false, form), shown(true, form)), (Shown::Plain, Shown::Nothing));
        }
    }
}
