//! What is said to a person: all of it on stderr, past the progress bar, and nothing when asked to be quiet.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use indicatif::ProgressBar;
use pgarrow::{Message, escape_control};

use crate::words;

/// The target of what is said to a person, which no filter of events leaves out.
pub(crate) const SAID: &str = "pgarrow::console";

/// The form of what is said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// Lines of JSON
    Json,
}

/// stderr, as one voice. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Console(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    is_quiet: bool,
    form: LogFormat,
    /// Drawn on the same lines, so it has to step aside.
    bar: Mutex<Option<ProgressBar>>,
    /// Planning, reading and the report may all know of the same.
    warned: Mutex<Vec<String>>,
}

impl Console {
    pub(crate) fn new(is_quiet: bool, form: LogFormat) -> Self {
        Self(Arc::new(Shared { is_quiet, form, bar: Mutex::default(), warned: Mutex::default() }))
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.0.is_quiet
    }

    pub(crate) fn form(&self) -> LogFormat {
        self.0.form
    }

    /// One line, unless quiet. Whatever comes from outside in it is escaped.
    pub(crate) fn say(&self, line: &str) {
        match self.form() {
            _ if self.is_quiet() => {}
            LogFormat::Text => self.write(&escape_control(line)),
            // Whose line it is stands in its target.
            LogFormat::Json => {
                tracing::info!(target: SAID, "{}", line.strip_prefix("pgarrow: ").unwrap_or(line))
            }
        }
    }

    /// A warning, unless quiet, and each only once.
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

    /// An error, always. The text is escaped where it was made.
    pub(crate) fn error(&self, text: impl std::fmt::Display) {
        match self.form() {
            LogFormat::Text => self.write(&format!("pgarrow: {text}")),
            LogFormat::Json => tracing::error!(target: SAID, "{text}"),
        }
    }

    /// The bar that lines have to make way for, or none.
    pub(crate) fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.0.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// As it stands.
    pub(crate) fn write(&self, text: &str) {
        let bar = self.0.bar.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody can be told that stderr is gone.
        let write = || drop(writeln!(io::stderr(), "{text}"));
        match bar.as_ref() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}
