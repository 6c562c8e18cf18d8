//! `pgarrow verify`: files held against their manifest, and against the server.

use std::fmt::Write;

use pgarrow::{Error, ExportOptions, escape_control};
use pgarrow_job::{AgainstServer, ServerDifference, ServerVerified, Verified};
use pgarrow_store::Store;

use crate::connecting::{config, say_config_warnings};
use crate::console::Console;
use crate::exit::Failure;
use crate::flags::VerifyFlags;
use crate::help;
use crate::host::Host;
use crate::job::with_session;
use crate::units::{bytes, counted};

/// Compares, and prints what differs.
pub(crate) fn verify(flags: &VerifyFlags, console: &Console) -> Result<(), Failure> {
    let verified = verify_by(&Host::process(console)?, flags)?;
    if flags.json {
        let mut json = serde_json::to_vec_pretty(&verified)
            .map_err(|error| Failure::output(format!("the result: {error}")))?;
        json.push(b'\n');
        help::print(&json)?;
    } else {
        help::print(lines(&verified).as_bytes())?;
    }
    outcome(&verified, console)
}

/// Compares, for whoever runs it.
pub(crate) fn verify_by(host: &Host, flags: &VerifyFlags) -> Result<Verified, Failure> {
    compare(flags, host).map_err(|error| host.signals.explain(error))
}

fn compare(flags: &VerifyFlags, host: &Host) -> Result<Verified, Failure> {
    let Host { console, cancel, signals, .. } = host;
    let store = Store::open(&flags.place).map_err(Error::from)?;
    let Some(connection) = &flags.connection else {
        signals.be_orderly();
        return Ok(pgarrow_job::verify(&store, None, cancel)?);
    };
    let server = config(Some(connection), &flags.session.connecting)?;
    say_config_warnings(&server, console);
    let source = host.connect(server)?;
    signals.be_orderly();
    let options = with_session(ExportOptions::default(), &flags.session);
    let options = match flags.memory {
        Some(memory) => options.with_memory(memory),
        None => options,
    };
    let server = AgainstServer { source: &source, options, full: flags.full };
    Ok(pgarrow_job::verify(&store, Some(&server), cancel)?)
}

/// What differs, line by line.
fn lines(verified: &Verified) -> String {
    let mut text = String::new();
    for it in &verified.differences {
        let _ = writeln!(text, "{}: {:?}: {}", escape_control(&it.table), it.path, escape_control(&it.what));
    }
    let Some(server) = &verified.server else { return text };
    for it in &server.differences {
        let place = place(&it.table, it.column.as_deref());
        let _ = writeln!(text, "{place}: {}", escape_control(&it.what));
        rows(it, &mut text);
    }
    for it in &server.not_compared {
        let place = place(&it.table, it.column.as_deref());
        let _ = writeln!(text, "{place}: not compared: {}", escape_control(&it.why));
    }
    text
}

/// A table, or a column of it.
fn place(table: &str, column: Option<&str>) -> String {
    let column = column.map(|column| format!(", column {column:?}")).unwrap_or_default();
    format!("{}{column}", escape_control(table))
}

fn rows(difference: &ServerDifference, text: &mut String) {
    for it in &difference.file_rows {
        let _ = writeln!(text, "  only in the files: {:?}, row {}", it.path, it.row);
    }
    for row in &difference.server_rows {
        let _ = writeln!(text, "  only on the server: {}", escape_control(row));
    }
}

/// The last line, and the exit code.
fn outcome(verified: &Verified, console: &Console) -> Result<(), Failure> {
    let run = &verified.run_id;
    let n_files = verified.differences.len() as u64;
    if n_files > 0 {
        let what = match n_files {
            1 => "1 file differs".to_owned(),
            n => format!("{} differ", counted(n, "file")),
        };
        return Err(Failure::Differs(format!("{what} from what run {run} has committed")));
    }
    console.say(&format!(
        "pgarrow: {} with {} and {} are what run {run} has committed",
        counted(verified.files as u64, "file"),
        counted(verified.rows, "row"),
        bytes(verified.bytes),
    ));
    verified.server.as_ref().map_or(Ok(()), |server| outcome_on_server(server, verified, console))
}

fn outcome_on_server(server: &ServerVerified, verified: &Verified, console: &Console) -> Result<(), Failure> {
    let n_columns = server.not_compared.iter().filter(|it| it.column.is_some()).count();
    let without = match n_columns {
        0 => String::new(),
        n => format!(", but for the values of {}", counted(n as u64, "column")),
    };
    let n_tables = server.not_compared.len().saturating_sub(n_columns);
    if n_tables > 0 {
        console.warn(format!("{} could not be compared", counted(n_tables as u64, "table")));
    }
    match server.differences.len() {
        0 => {
            console.say(&format!(
                "pgarrow: {} with {} are what the server has{without}",
                counted(server.tables as u64, "table"),
                counted(server.rows, "row"),
            ));
            Ok(())
        }
        n => Err(Failure::ServerDiffers(format!(
            "{} from the server; the table may have changed since: run {} began at {}",
            if n == 1 { "1 difference".to_owned() } else { counted(n as u64, "difference") },
            verified.run_id,
            verified.started
        ))),
    }
}
