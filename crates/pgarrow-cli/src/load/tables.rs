//! `pgarrow load FOLDER/ --into-schema`: a folder of tables, each into the table of its name.
//!
//! ```text
//!  find the tables ─▶ look at their files ─▶ look at their targets ─▶ one table after another ─▶ commit
//!   every problem of every table, before the first row ─────────┘
//! ```

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use arrow_schema::SchemaRef;
use pgarrow::{Cancel, Error, ErrorKind, FailedTable, quote_identifier};
use pgarrow_load::input::InputFormat;
use pgarrow_load::{LoadReport, LoadSet, RelationName};
use serde::Serialize;

use super::folder::{FolderTable, Found, find};
use super::{Rows, format, planned, write_all};
use crate::connecting::say_config_warnings;
use crate::console::Console;
use crate::exit::Failure;
use crate::flags::LoadFlags;
use crate::help;
use crate::into::IntoMany;
use crate::progress::{Total, Watch, Work};
use crate::run_report::RunReport;
use crate::servers::{distinct, is_of_table, outcome, tell_loads};
use crate::signals::{Loads, Signals, loaded_tables};
use crate::words;

/// A table of the folder whose files were looked at.
struct Looked {
    table: FolderTable,
    schema: SchemaRef,
    rows: Option<u64>,
    target: RelationName,
}

/// The tables of a folder, and those that failed already.
type Tables = (Vec<Looked>, Vec<FailedTable>);

/// The report of a load of many tables.
#[derive(Serialize)]
struct LoadsReport<'a> {
    report_version: u32,
    pgarrow_version: &'static str,
    /// Files that were read.
    files: usize,
    rows: u64,
    seconds: f64,
    loads: &'a [LoadReport],
    failed: &'a [FailedTable],
    warnings: &'a [String],
}

/// How all tables are loaded.
struct Loader<'a> {
    set: LoadSet,
    format: Option<InputFormat>,
    loads: Loads,
    console: &'a Console,
    cancel: &'a Cancel,
}

/// Loads what the flags name.
pub(crate) fn load_tables(
    flags: &LoadFlags,
    schema: &str,
    run_report: &RunReport,
    console: &Console,
    cancel: &Cancel,
    signals: &Signals,
) -> Result<(), Failure> {
    let into = IntoMany::try_from(flags)?;
    run_report.set_target(&format!("{}.*", quote_identifier(schema)), &into.connection);
    say_config_warnings(&into.connection, console);
    let [folder] = flags.files.as_slice() else {
        return Err(Failure::options("--into-schema loads one folder of tables; name one"));
    };
    let started = Instant::now();
    let found = find(folder, format(flags), cancel)?;
    let warnings = found.warnings.clone();
    warnings.iter().for_each(|warning| console.warn(warning));
    let keep_going = into.keep_going && !flags.dry_run;
    let (tables, failed) = look_at_files(found, schema, format(flags), keep_going)?;
    signals.be_orderly();
    // What would be made of what is the same for several writers.
    let options = if flags.dry_run { into.options.with_writers(1) } else { into.options };
    let set = LoadSet::connect(&into.connection, options, !keep_going, cancel.clone())?;
    let mut loader = Loader { set, format: format(flags), loads: Loads::default(), console, cancel };
    let (tables, mut failed) = loader.prepare(tables, failed, keep_going, flags.dry_run)?;
    if flags.dry_run {
        return Ok(());
    }

    let total = tables.iter().map(|table| table.rows).sum::<Option<u64>>();
    let whole = (!keep_going).then(|| Arc::clone(loader.set.progress()));
    match &whole {
        Some(progress) => signals.be_loading(progress),
        None => signals.be_loading_tables(&loader.loads),
    }
    let total = total.map_or(Total::Unknown, Total::Exact);
    let watch = Watch::start(console, Work::Loads { loads: Arc::clone(&loader.loads), whole, total });
    let explain = |failure: Failure, loads: &Loads| {
        let failure = signals.explain(failure);
        match (&failure, keep_going) {
            (Failure::Export(error), _) if error.kind() == ErrorKind::OutcomeUnknown => failure,
            (_, true) => failure.advice(&loaded_tables(loads)),
            (Failure::Export(error), false) if error.to_string().contains(NOTHING_LOADED) => failure,
            (_, false) => failure.advice(NOTHING_LOADED),
        }
    };
    let (mut reports, mut n_files) = (Vec::with_capacity(tables.len()), 0_usize);
    for table in &tables {
        match loader.load(table) {
            Ok(report) => {
                n_files = n_files.saturating_add(table.table.n_files());
                reports.push(report);
            }
            Err(Failure::Export(error)) if keep_going && is_of_table(&error) => {
                failed.push(FailedTable::new(table.table.of.clone(), error.message().clone()));
            }
            Err(failure) => return Err(explain(failure, &loader.loads)),
        }
    }
    let Loader { set, loads, .. } = loader;
    set.commit().map_err(|error| explain(error.into(), &loads))?;
    signals.be_loaded();
    let of_upkeep = set.tend(&mut reports);
    drop(watch);
    of_upkeep.iter().for_each(|warning| console.warn(words::message(warning)));
    reports.iter_mut().for_each(words::load_report);
    tell_loads(&reports, keep_going, console);
    let report = LoadsReport {
        report_version: 1,
        pgarrow_version: env!("CARGO_PKG_VERSION"),
        files: n_files,
        rows: reports.iter().map(|report| report.rows).sum(),
        seconds: started.elapsed().as_secs_f64(),
        loads: &reports,
        failed: &failed,
        warnings: &warnings,
    };
    run_report.complete(&report, outcome(&failed, reports.len(), console), console)
}

const NOTHING_LOADED: &str = "nothing was loaded";

/// Looks at the files of all tables: their sizes, their formats and their columns.
fn look_at_files(
    found: Found,
    schema: &str,
    format: Option<InputFormat>,
    keep_going: bool,
) -> Result<Tables, Failure> {
    let Found { tables, mut problems, .. } = found;
    let target =
        |table: &FolderTable| RelationName { schema: Some(schema.to_owned()), name: table.name.clone() };
    let targets = tables.iter().map(|table| (target(table), table.of.clone()));
    distinct(targets, "load them by two commands, into two schemas")?;
    // What is wrong with the folder is wrong with all of it.
    let (mut looked, mut failed, n_of_folder) =
        (Vec::with_capacity(tables.len()), Vec::new(), problems.len());
    for table in tables {
        let different = table.problems();
        let seen = match (Error::all(different.iter().map(Error::duplicate)), table.n_files()) {
            (Some(_), _) => Err(different),
            (None, 0) => {
                let text =
                    format!("{}: the manifest has no files of it, so its columns are not known", table.of);
                Err(vec![Error::new(ErrorKind::Input, text)])
            }
            (None, _) => table.look(format).map_err(|error| vec![error]),
        };
        match seen {
            Ok((schema, rows)) => looked.push(Looked { target: target(&table), table, schema, rows }),
            Err(of_table) => {
                let error = of_table.first().map(|error| error.message().clone()).unwrap_or_default();
                failed.push(FailedTable::new(table.of, error));
                problems.extend(of_table);
            }
        }
    }
    if n_of_folder > 0 || !keep_going || looked.is_empty() {
        Error::all(problems).map_or(Ok(()), Err)?;
    }
    Ok((looked, failed))
}

impl Loader<'_> {
    /// Looks at the targets, and begins. Returns the tables that can be loaded, in an order in which they
    /// can. With `is_dry`, prints what would become what.
    fn prepare(
        &mut self,
        tables: Vec<Looked>,
        mut failed: Vec<FailedTable>,
        keep_going: bool,
        is_dry: bool,
    ) -> Result<Tables, Failure> {
        let names: Vec<RelationName> = tables.iter().map(|table| table.target.clone()).collect();
        let looked = self.set.look(&names)?;
        let mut problems = Vec::new();
        let mut left: Vec<Option<Looked>> = Vec::with_capacity(tables.len());
        for (table, seen) in tables.into_iter().zip(looked.tables) {
            match seen {
                Ok(_) => left.push(Some(table)),
                Err(error) if !is_of_table(&error) => return Err(error.into()),
                Err(error) => {
                    failed.push(FailedTable::new(table.table.of, error.message().clone()));
                    problems.push(error);
                    left.push(None);
                }
            }
        }
        let order = looked.order.iter().filter_map(|index| left.get_mut(*index)?.take());
        let tables: Vec<Looked> = order.collect();
        if keep_going {
            if tables.is_empty() {
                Error::all(problems).map_or(Ok(()), Err)?;
            }
        } else {
            let names: Vec<RelationName> = tables.iter().map(|table| table.target.clone()).collect();
            self.set.begin(&names, None)?;
            let mut text = String::new();
            for table in &tables {
                match self.rehearse(table, is_dry) {
                    Ok(plan) => text.push_str(&plan),
                    Err(error) if !is_of_table(&error) => return Err(error.into()),
                    Err(error) => problems.push(error),
                }
            }
            Error::all(problems).map_or(Ok(()), Err)?;
            if is_dry {
                help::print(text.as_bytes())?;
            }
        }
        Ok((tables, failed))
    }

    /// Plans the load of a table within the transaction, and takes it back.
    fn rehearse(&self, table: &Looked, is_dry: bool) -> Result<String, Error> {
        let loading = self.set.load(&table.target).open(Arc::clone(&table.schema))?;
        if !is_dry {
            loading.abandon()?;
            return Ok(String::new());
        }
        let text = planned(&loading, &table.table.of, table.rows);
        loading.rehearse()?;
        Ok(format!("{text}\n"))
    }

    /// Loads one table.
    fn load(&self, table: &Looked) -> Result<LoadReport, Failure> {
        let Looked { table: of, schema, target, .. } = table;
        let input = of.open(self.format, schema)?.with_cancel(self.cancel.clone());
        let mut loading = self.set.load(target).open(Arc::clone(schema))?;
        loading.warnings().iter().for_each(|warning| {
            self.console.warn(format!("{}: {}", target.quoted(), words::message(warning)));
        });
        self.loads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(loading.progress()));
        let written = write_all(&mut loading, Rows::Files(Box::new(input)));
        match written {
            Ok(()) => Ok(loading.finish()?),
            Err(failure) => Err(match loading.abandon() {
                Ok(()) => failure,
                Err(left) => failure.advice(&words::error(&left)),
            }),
        }
    }
}
