//! Pages that come from the flags themselves: usage, completions, the manual.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use pgarrow::{Error, escape_control};
use pgarrow_sink::{Output, SinkError};

use crate::exit::Failure;
use crate::flags::Flags;

/// Prints what clap has to say: help, the version, or what is wrong with the flags.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let secrets: Vec<String> = env::args().filter(|argument| may_hold_a_password(argument)).collect();
    let text = error.render().to_string();
    if secrets.iter().any(|secret| text.contains(secret)) {
        // A connection in the wrong place. It is not repeated: this may end up in a log.
        let text = secrets.iter().fold(text, |text, secret| text.replace(secret, "(hidden)"));
        let lines: Vec<String> = text.lines().map(escape_control).collect();
        // Nobody can be told that stderr is gone.
        let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
    } else {
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn may_hold_a_password(argument: &str) -> bool {
    argument.contains("://") || argument.to_ascii_lowercase().contains("password")
}

/// The completions for a shell, on stdout.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_complete::generate(shell, &mut Flags::command(), "pgarrow", &mut page);
    print(&page)
}

/// The manual: one page on stdout, or a page for every command in a folder.
pub(crate) fn manual(dir: Option<&Path>) -> Result<(), Failure> {
    match dir {
        Some(dir) => clap_mangen::generate_to(Flags::command(), dir).map_err(|error| {
            Failure::output(format!("the manual pages cannot be written to {dir:?}: {error}"))
        }),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Flags::command())
                .render(&mut page)
                .map_err(|error| Failure::output(format!("the manual page cannot be made: {error}")))?;
            print(&page)
        }
    }
}

/// Bytes to stdout, with the errors that `println!` would panic at.
pub(crate) fn print(page: &[u8]) -> Result<(), Failure> {
    let mut output = Output::stdout().map_err(Error::from)?;
    output.write_all(page).map_err(|error| Error::from(SinkError::io("write", None, error)))?;
    output.publish().map_err(Error::from)?;
    Ok(())
}
