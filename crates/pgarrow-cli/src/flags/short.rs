//! What commands change of the arguments that they share: which of them `-h` shows, among others.

use clap::Arg;

/// The arguments that `export -h` shows: what to read, where it goes, and the options that users need most.
/// `--help` shows all.
pub(super) const EXPORT_SHORT: [&str; 13] = [
    "connection",
    "named",
    "tables",
    "schemas",
    "query",
    "columns",
    "filter",
    "output",
    "to",
    "overwrite",
    "readers",
    "memory",
    "quiet",
];

pub(super) const RUN_SHORT: [&str; 6] = ["job", "take_over", "effective", "readers", "memory", "quiet"];
pub(super) const LOAD_SHORT: [&str; 10] =
    ["files", "target", "into", "mode", "key", "convert", "commit_every", "reject", "dry_run", "quiet"];
/// For `plan` and `inspect`.
pub(super) const READ_SHORT: [&str; 11] = [
    "connection",
    "named",
    "tables",
    "schemas",
    "query",
    "columns",
    "filter",
    "by_column",
    "readers",
    "json",
    "all",
];
pub(super) const HOLD_SHORT: [&str; 10] = [
    "connection",
    "named",
    "tables",
    "query",
    "columns",
    "filter",
    "readers",
    "tokens",
    "at_most",
    "until_eof",
];

/// Flags of a session are for commands that have a connection.
pub(super) fn of_connection(arg: Arg) -> Arg {
    match arg.get_help_heading() {
        Some("Session") => arg.requires("connection"),
        _ => arg,
    }
}

/// A job's destination is a server only if its file says so.
pub(super) fn of_server(arg: Arg) -> Arg {
    match arg.get_help_heading() {
        Some("Target") => arg.help_heading("Target, if the destination is a server"),
        _ => arg,
    }
}

/// Keeps `-h` to one screen: hides all other arguments from it. `--help` shows them.
pub(super) fn in_short_help(arg: Arg, ids: &[&str]) -> Arg {
    let is_common = ids.contains(&arg.get_id().as_str());
    arg.hide_short_help(!is_common)
}

/// Leaves an argument as it is. To be changed, it moves behind all others: the parser adds those of all
/// commands before it adds a command's own, and `--help` shows them in that order.
pub(super) fn at_the_end(arg: Arg) -> Arg {
    arg
}
