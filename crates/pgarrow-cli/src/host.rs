//! Who runs a command: this process, or a program that embeds it.

use pgarrow::{Cancel, Config, Source};
use pgarrow_load::{Connection, Load};

use crate::console::Console;
use crate::exit::Failure;
use crate::into::Into;
use crate::signals::{GRACE, Signals};

/// What a command takes from whoever runs it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) console: Console,
    pub(crate) cancel: Cancel,
    pub(crate) signals: Signals,
    /// The server to read, if it is connected already.
    source: Option<Source>,
    /// The transaction that loads are part of, if it is not their own.
    transaction: Option<Connection>,
}

impl Host {
    /// This process: messages go to the console, and signals end the run.
    pub(crate) fn process(console: &Console) -> Result<Self, Failure> {
        let cancel = Cancel::new();
        let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
        Ok(Self { console: console.clone(), cancel, signals, source: None, transaction: None })
    }

    /// Another program: messages are kept for it, and only `cancel` ends the run. Reads `source`, if there is
    /// one, whose runs `cancel` stops.
    pub(crate) fn embedded(cancel: Cancel, source: Option<Source>) -> Self {
        let console = Console::embedded();
        let signals = Signals::none(cancel.clone(), console.clone());
        Self { console, cancel, signals, source, transaction: None }
    }

    /// Loads become part of this transaction.
    pub(crate) fn in_transaction(self, transaction: Connection) -> Self {
        Self { transaction: Some(transaction), ..self }
    }

    /// The server to read.
    pub(crate) fn connect(&self, config: Config) -> Result<Source, Failure> {
        match &self.source {
            Some(source) => Ok(source.clone()),
            None => Ok(Source::connect_blocking_with(config, self.cancel.clone())?),
        }
    }

    /// The load of one table.
    pub(crate) fn load(&self, into: Into) -> Result<Load, Failure> {
        match &self.transaction {
            Some(transaction) => into.load_in(transaction),
            None => into.load(self.cancel.clone()),
        }
    }
}
