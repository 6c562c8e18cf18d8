//! Connecting to a server, and what is said of that.

use pgarrow::{Cancel, Config, Error, Run, Source};

use crate::console::Console;
use crate::exit::Failure;
use crate::flags::ConnectFlags;
use crate::signals::{GRACE, Signals};

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

/// Prints warnings about the configuration before connecting: they may be why a login fails.
pub(crate) fn say_config_warnings(config: &Config, console: &Console) {
    config.passfile_warning().iter().for_each(|warning| console.warn(warning));
}

/// Prints the warnings of planning.
pub(crate) fn say_warnings(run: &Run, console: &Console) {
    for plan in run.plans() {
        plan.warnings().iter().for_each(|warning| console.warn(warning));
    }
}
