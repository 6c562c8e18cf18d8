//! `pgarrow pages`: whether pages can be read, and the function that makes it possible.

mod render;

use pgarrow::{PagesStatus, install_pages_sql, remove_pages_sql};
use serde::Serialize;

use crate::connecting::{config, on_source};
use crate::console::Console;
use crate::exit::Failure;
use crate::flags::{PagesCommand, PagesInstallFlags, PagesStatusFlags};
use crate::help;
use crate::subject::names;
use crate::words;

/// The version of the JSON's form. Fields may be added within a version.
const VERSION: u32 = 1;

/// What `--json` writes.
#[derive(Debug, Serialize)]
struct Status {
    status_version: u32,
    #[serde(flatten)]
    status: PagesStatus,
}

pub(crate) fn run(command: &PagesCommand, console: &Console) -> Result<(), Failure> {
    match command {
        PagesCommand::Status(flags) => status(flags, console),
        PagesCommand::Install(flags) => install(flags, console),
    }
}

fn status(flags: &PagesStatusFlags, console: &Console) -> Result<(), Failure> {
    let tables = names(&flags.named, &flags.tables)?;
    let status = on_source(config(flags.connection.as_deref(), &flags.connecting)?, console, |source| {
        Ok(words::pages_status(source.pages_status(&tables)?))
    })?;
    if !flags.json {
        return help::print(render::text(&status).as_bytes());
    }
    let json = serde_json::to_vec_pretty(&Status { status_version: VERSION, status });
    let mut json = json.map_err(|error| Failure::output(format!("the status: {error}")))?;
    json.push(b'\n');
    help::print(&json)
}

fn install(flags: &PagesInstallFlags, console: &Console) -> Result<(), Failure> {
    let sql = match flags.remove {
        true => remove_pages_sql().to_owned(),
        false => install_pages_sql(&flags.roles)?,
    };
    if flags.print {
        return help::print(sql.as_bytes());
    }
    let database = on_source(config(flags.connection.as_deref(), &flags.connecting)?, console, |source| {
        source.execute(&sql)?;
        let rows = source.query_text("SELECT pg_catalog.current_database()")?;
        Ok(rows.into_iter().flatten().flatten().next().unwrap_or_default())
    })?;
    if flags.remove {
        console.say(&format!("pgarrow.heap_pages is removed from the database {database}"));
        return Ok(());
    }
    console.say(&format!("pgarrow.heap_pages is installed in the database {database}"));
    if flags.roles.is_empty() {
        console.say(
            "it is for those who were granted it: pgarrow pages install --to ROLE; --print says what it gives",
        );
    }
    Ok(())
}
