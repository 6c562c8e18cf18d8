//! Connecting to the server of a command that asks, and reads no rows.

use pgarrow::{Cancel, Config, Error, Source};

use crate::console::Console;
use crate::exit::Failure;
use crate::export::{GRACE, say_config_warnings};
use crate::flags::ConnectFlags;
use crate::signals::Signals;

/// The server of a connection string, or of the environment.
pub(crate) fn config(connection: Option<&str>, connecting: &ConnectFlags) -> Result<Config, Failure> {
    let connection = connection.filter(|text| !text.trim().is_empty());
    Ok(connecting.applied_to(Config::parse(connection).map_err(Error::from)?))
}

/// Connects and asks. A signal ends it.
pub(crate) fn on_source<T>(
    config: Config,
    console: &Console,
    ask: impl FnOnce(&Source) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let cancel = Cancel::new();
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    say_config_warnings(&config, console);
    let asked = Source::connect_blocking_with(config, cancel).map_err(Failure::from).and_then(|source| {
        signals.be_orderly();
        ask(&source)
    });
    asked.map_err(|failure| signals.check().err().unwrap_or(failure))
}
