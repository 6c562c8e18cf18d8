//! Many tables from server to server, under one snapshot: `pgarrow export --to postgres`, and jobs whose
//! destination is a server.
//!
//! ```text
//!  find the tables ─▶ their targets ─▶ look at them ─▶ one snapshot ─▶ one table after another ─▶ commit
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pgarrow::{
    Cancel, Error, ErrorKind, FailedTable, OpaqueColumns, Plan, Report, Run, SharedSnapshot, Source, Tables,
    quote_identifier,
};
use pgarrow_job::{ChosenTables, JobQuery, JobSubject, Opened, TableChoice, TableRule, open_those_that_can};
use pgarrow_load::{
    LoadMode, LoadProgress, LoadReport, LoadSet, LoadedReport, Loading, NeededTypes, PrimaryKey, RelationName,
};
use pgarrow_sink::{Sink, SinkError, SinkErrorKind};
use serde::Serialize;

use crate::allocator;
use crate::connecting::{say_config_warnings, say_warnings};
use crate::console::Console;
use crate::exit::Failure;
use crate::host::Host;
use crate::into::IntoMany;
use crate::job::Reading;
use crate::progress::{Watch, Work};
use crate::run_report::RunReport;
use crate::signals::{Loads, loaded_tables};
use crate::subject::Subject;
use crate::summary::{self, Peak};
use crate::units::counted;
use crate::words;

/// Most tables without a key that a warning names.
const KEYLESS_NAMED: usize = 5;

/// What plans and targets are found by: schema and name.
type Key = (String, String);

/// What a job says beside the options of an export.
#[derive(Debug, Default)]
pub(crate) struct OfJob {
    pub(crate) rules: Vec<TableRule>,
    pub(crate) queries: Vec<JobQuery>,
    /// The snapshot of another session under which all is read.
    pub(crate) under: Option<SharedSnapshot>,
}

/// A table or query, what is read of it, and where its rows go.
struct Item {
    subject: JobSubject,
    columns: Option<Vec<String>>,
    filter: Option<String>,
    target: RelationName,
    mode: LoadMode,
    /// Columns of it that the target takes as they come.
    opaque: OpaqueColumns,
}

impl Item {
    /// All of it.
    fn new(subject: JobSubject, target: RelationName, mode: LoadMode) -> Self {
        Self { subject, columns: None, filter: None, target, mode, opaque: OpaqueColumns::default() }
    }

    /// Why it cannot be read or loaded.
    fn failed(&self, error: &Error) -> FailedTable {
        FailedTable::new(self.subject.to_string(), error.message().clone())
    }
}

/// Where a table goes.
struct Target {
    name: RelationName,
    types: Option<NeededTypes>,
    key: Option<PrimaryKey>,
}

/// Tables and queries that are planned, and their targets.
struct Copying {
    set: LoadSet,
    run: Run,
    targets: HashMap<Key, Target>,
    /// Those that cannot be read or loaded, if the others go on.
    failed: Vec<FailedTable>,
}

/// The report of an export into many tables.
#[derive(Serialize)]
struct WithLoads<'a> {
    #[serde(flatten)]
    report: &'a Report,
    loads: &'a [LoadReport],
}

/// Reads tables, and loads each into the table of its name on the target.
pub(crate) fn copy_tables(
    reading: Reading,
    of_job: &OfJob,
    into: IntoMany,
    run_report: &RunReport,
    host: &Host,
) -> Result<(), Failure> {
    let (console, signals) = (&host.console, &host.signals);
    run_report.set_source(&reading.connection);
    let all = into.schema.as_deref().map_or_else(|| "*".to_owned(), quote_identifier);
    run_report.set_target(&format!("{all}.*"), &into.connection);
    say_config_warnings(&into.connection, console);
    say_config_warnings(&reading.connection, console);
    let source = host.connect(reading.connection.clone())?;
    run_report.set_source(source.config());
    signals.be_orderly();
    allocator::give_back_at_once(reading.options.memory_bytes());

    let copying = Copying::plan(&reading, of_job, &into, &source, console, host.cancel.clone())?;
    let Copying { set, run, targets, mut failed } = copying;
    let n_readers = run.readers();
    let loading: Arc<OnceLock<Arc<LoadProgress>>> = Arc::default();
    let watch = Watch::start(console, Work::export(run.progress(), run.plans(), &loading));
    let loads = Loads::default();
    if into.keep_going {
        signals.be_loading_tables(&loads);
    } else {
        let _ = loading.set(Arc::clone(set.progress()));
        signals.be_loading(set.progress());
    }
    let loaded: Mutex<Vec<LoadedReport>> = Mutex::default();
    let make = |plan: &Plan| open_load(&set, plan, &targets, &loads, &loaded, console);
    let run = match into.keep_going {
        // A table is committed while others are read: its slices have to be proven by then.
        true => run.keep_going().on_complete(|_, _| ()),
        false => run,
    };
    let done = run.in_turn().write_each(make).and_then(|report| set.commit().map(|()| report));
    let mut report = done.map_err(|error| {
        let failure = signals.explain(error.into());
        match into.keep_going {
            true => failure.advice(&loaded_tables(&loads)),
            false => failure.nothing_loaded(),
        }
    })?;
    signals.be_loaded();
    let loaded = loaded.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut loads: Vec<LoadReport> = loaded.iter().filter_map(LoadedReport::take).collect();
    let of_upkeep = set.tend(&mut loads);
    drop(watch);
    of_upkeep.iter().for_each(|warning| console.warn(words::message(warning)));
    failed.append(&mut report.failed);
    report.failed = failed;
    words::report(&mut report);
    loads.iter_mut().for_each(words::load_report);
    report.warnings.iter().for_each(|warning| console.warn(warning));
    tell(&report, &loads, n_readers, reading.asked.for_pages(), into.keep_going, console);
    let outcome = outcome(&report.failed, loads.len(), console);
    run_report.complete_export(&report, &WithLoads { report: &report, loads: &loads }, outcome, console)
}

/// What would go where: one line for each table, and nothing is loaded.
///
/// # Errors
///
/// One error with the problems of all tables.
pub(crate) fn check_copy(
    reading: &Reading,
    of_job: &OfJob,
    into: IntoMany,
    source: &Source,
    console: &Console,
    cancel: Cancel,
) -> Result<String, Failure> {
    // What is wrong is the same for several writers.
    let into = IntoMany { keep_going: false, options: into.options.with_writers(1), ..into };
    let Copying { run, targets, .. } = Copying::plan(reading, of_job, &into, source, console, cancel)?;
    let line = |plan: &Arc<Plan>| {
        let columns = counted(plan.columns().len() as u64, "column");
        let target =
            targets.get(&JobSubject::key_of(plan)).map(|target| target.name.quoted()).unwrap_or_default();
        let rows = summary::estimated_rows(plan);
        format!("{} to {target}: {columns}, {rows}\n", plan.subject())
    };
    Ok(run.plans().iter().map(line).collect())
}

impl Copying {
    /// Finds all tables and their targets, and plans what is read. All that is wrong is said at once, before
    /// the first row.
    fn plan(
        reading: &Reading,
        of_job: &OfJob,
        into: &IntoMany,
        source: &Source,
        console: &Console,
        cancel: Cancel,
    ) -> Result<Self, Failure> {
        let (items, mut failed) = find(reading, of_job, into, source)?;
        let set = LoadSet::connect(&into.connection, into.options.clone(), !into.keep_going, cancel)?;
        let of_rules = items.iter().filter(|item| item.mode != into.mode);
        let mut set = of_rules
            .map(|item| (&item.target, item.mode))
            .try_fold(set, |set, (name, mode)| set.with_mode(name, mode))?;
        let (items, mut not_loaded) = look(items, &set, into.keep_going)?;
        failed.append(&mut not_loaded);
        let open = |items: &[Item]| open(reading, of_job, source, items);
        let Opened { mut run, planned: items, failed: not_read } =
            open_those_that_can(items, into.keep_going, open)?;
        failed.extend(not_read.into_iter().map(|(item, error)| item.failed(&error)));
        say_warnings(&run, console);
        let targets = defined(&mut run, into, &items, console)?;
        let of_plans =
            run.plans().iter().filter_map(|plan| Some(targets.get(&JobSubject::key_of(plan))?.name.clone()));
        set.begin(&of_plans.collect::<Vec<_>>(), Some(run.holders()))?;
        let copying = Self { set, run, targets, failed };
        if !into.keep_going {
            copying.rehearse()?;
        }
        Ok(copying)
    }

    /// Opens each load within the transaction, and takes it back.
    fn rehearse(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        for plan in self.run.plans() {
            let Some(target) = self.targets.get(&JobSubject::key_of(plan)) else { continue };
            match load_of(&self.set, plan, target).and_then(|loading| loading.abandon()) {
                Ok(()) => {}
                Err(error) if is_of_table(&error) => problems.push(error),
                Err(error) => return Err(error),
            }
        }
        Error::all(problems).map_or(Ok(()), Err)
    }
}

/// How loads of many tables end: with an error if some failed.
pub(crate) fn outcome(failed: &[FailedTable], n_loaded: usize, console: &Console) -> Result<(), Failure> {
    failed.iter().for_each(|failed| {
        console.warn(format!("failed: {}: {}", failed.table, words::message(&failed.error)));
    });
    match failed.len() {
        0 => Ok(()),
        n_failed => Err(Failure::Incomplete(format!(
            "{n_failed} of {} tables failed; the others are loaded",
            n_failed.saturating_add(n_loaded)
        ))),
    }
}

/// The tables and queries, with their targets; and names that stand for no table.
fn find(
    reading: &Reading,
    of_job: &OfJob,
    into: &IntoMany,
    source: &Source,
) -> Result<(Vec<Item>, Vec<FailedTable>), Failure> {
    let ChosenTables { tables, missing } = match &reading.subject {
        Subject::Many { names, patterns, schemas, excluded, only }
            if names.is_empty() && schemas.is_empty() =>
        {
            let choice =
                TableChoice { tables: patterns, exclude_tables: excluded, rules: &of_job.rules, only: *only };
            choice.find(source, &reading.options, into.keep_going)?
        }
        subject => {
            let found = subject.tables(source).options(reading.options.clone()).find(&[])?;
            let tables = found.into_iter().map(|(relation, _)| (relation, TableRule::default()));
            ChosenTables { tables: tables.collect(), missing: Vec::new() }
        }
    };
    let mut items = Vec::with_capacity(tables.len());
    for (relation, rule) in tables {
        let schema = into.schema.clone().unwrap_or_else(|| relation.schema.clone());
        let target = RelationName { schema: Some(schema), name: relation.name.clone() };
        let TableRule { columns, filter, mode, .. } = rule;
        let item = Item::new(JobSubject::Table(relation), target, mode.unwrap_or(into.mode));
        items.push(Item { columns, filter, ..item });
    }
    for query in &of_job.queries {
        let Some(schema) = into.schema.clone() else {
            return Err(Failure::options(format!(
                "the query {:?} has no schema to go to; add into_schema to section [destination]",
                query.name
            )));
        };
        let target = RelationName { schema: Some(schema), name: query.name.clone() };
        items.push(Item::new(JobSubject::Query(query.clone()), target, into.mode));
    }
    if items.is_empty() {
        let missing = missing.into_iter().map(|(_, error)| error).collect::<Vec<_>>();
        return Err(Error::all(missing)
            .map_or_else(|| Failure::options("there are no tables to export"), Failure::from));
    }
    let advice = "leave one out (--exclude-table), or load them by two commands into two schemas";
    distinct(items.iter().map(|item| (item.target.clone(), item.subject.to_string())), advice)?;
    let missing = missing.into_iter().map(|(name, error)| FailedTable::new(name, error.message().clone()));
    Ok((items, missing.collect()))
}

/// Refuses two targets that are the same. Each comes with what goes there.
pub(crate) fn distinct(
    targets: impl Iterator<Item = (RelationName, String)>,
    advice: &str,
) -> Result<(), Failure> {
    let mut seen: HashMap<String, String> = HashMap::new();
    for (name, from) in targets {
        if let Some(other) = seen.insert(name.quoted(), from.clone()) {
            return Err(Failure::options(format!(
                "{other} and {from} would both go to {}; nothing was read: {advice}",
                name.quoted()
            )));
        }
    }
    Ok(())
}

/// Looks at the targets. Returns what can be loaded, in an order in which it can; and what cannot, if the
/// others go on.
fn look(items: Vec<Item>, set: &LoadSet, keep_going: bool) -> Result<(Vec<Item>, Vec<FailedTable>), Failure> {
    let names: Vec<RelationName> = items.iter().map(|item| item.target.clone()).collect();
    let looked = set.look(&names)?;
    let mut left: Vec<Option<Item>> = Vec::with_capacity(names.len());
    let (mut problems, mut failed) = (Vec::new(), Vec::new());
    for (item, columns) in items.into_iter().zip(looked.tables) {
        match columns {
            Ok(opaque) => left.push(Some(Item { opaque, ..item })),
            Err(error) if !is_of_table(&error) => return Err(error.into()),
            Err(error) => {
                left.push(None);
                failed.push(item.failed(&error));
                problems.push(error);
            }
        }
    }
    if problems.len() == names.len() || !keep_going {
        Error::all(problems).map_or(Ok(()), Err)?;
    }
    Ok((looked.order.iter().filter_map(|index| left.get_mut(*index)?.take()).collect(), failed))
}

/// Plans what is read, in this order; queries come after the tables.
fn open(reading: &Reading, of_job: &OfJob, source: &Source, items: &[Item]) -> Result<Run, Error> {
    let none: [&str; 0] = [];
    let tables = source.tables(none).only(reading.subject.is_only()).options(reading.options.clone());
    let tables = of_job.under.iter().cloned().fold(tables, Tables::under);
    let tables = items.iter().fold(tables, |tables, item| {
        let (columns, filter) = (item.columns.as_deref(), item.filter.as_deref());
        item.subject.add_to(tables, columns, filter, Some(&item.opaque))
    });
    tables.open()
}

/// The targets by what goes there, with what new tables take over.
fn defined(
    run: &mut Run,
    into: &IntoMany,
    items: &[Item],
    console: &Console,
) -> Result<HashMap<Key, Target>, Failure> {
    let (mut targets, mut without_key) = (HashMap::new(), Vec::new());
    for item in items {
        let (types, key) = match &item.subject {
            JobSubject::Table(relation) if item.mode.makes_tables() => {
                let (types, key) = into.takes.read(run, relation, into.schema.as_deref())?;
                if into.takes.key && key.is_none() {
                    without_key.push(relation.to_string());
                }
                (types, key)
            }
            JobSubject::Table(_) | JobSubject::Query(_) => (None, None),
        };
        targets.insert(item.subject.key(), Target { name: item.target.clone(), types, key });
    }
    if !without_key.is_empty() {
        let shown = without_key.get(..KEYLESS_NAMED).unwrap_or(&without_key).join(", ");
        let more = match without_key.len().saturating_sub(KEYLESS_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        console.warn(format!("no primary key, which the target could have, too: {shown}{more}"));
    }
    Ok(targets)
}

/// Opens the load of a table, when its turn has come.
fn open_load(
    set: &LoadSet,
    plan: &Plan,
    targets: &HashMap<Key, Target>,
    loads: &Loads,
    loaded: &Mutex<Vec<LoadedReport>>,
    console: &Console,
) -> Result<Box<dyn Sink>, SinkError> {
    let failed = |error: Error| SinkError::of(SinkErrorKind::Io, error);
    let target = targets.get(&JobSubject::key_of(plan));
    let target = target.ok_or_else(|| {
        let text = format!("{} has no target; please report it", plan.subject());
        failed(Error::new(ErrorKind::Protocol, text))
    })?;
    let loading = load_of(set, plan, target).map_err(failed)?;
    let shown = loading.target().to_owned();
    loading.warnings().iter().for_each(|warning| {
        console.warn(format!("{shown}: {}", words::message(warning)));
    });
    loads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(loading.progress()));
    let sink = loading.into_sink().map_err(failed)?;
    loaded.lock().unwrap_or_else(PoisonError::into_inner).push(sink.report());
    Ok(Box::new(sink))
}

/// The load of what a plan reads.
fn load_of(set: &LoadSet, plan: &Plan, target: &Target) -> Result<Loading, Error> {
    let load = set.load(&target.name).defined_by(target.types.clone(), target.key.clone());
    load.with_opaque(plan.opaque().clone()).open(Arc::clone(plan.schema()))
}

/// Whether an error is about one table, so that others can go on.
pub(crate) fn is_of_table(error: &Error) -> bool {
    let is_of_server = error.is_transient()
        || matches!(
            error.kind(),
            ErrorKind::Connection | ErrorKind::Cancelled | ErrorKind::OutcomeUnknown | ErrorKind::Protocol
        );
    !is_of_server
}

/// The lines at the end.
fn tell(
    report: &Report,
    loads: &[LoadReport],
    n_readers: usize,
    wants_pages: bool,
    keep_going: bool,
    console: &Console,
) {
    let lines = summary::lines(report, n_readers, wants_pages, Peak::Said);
    lines.iter().for_each(|line| console.say(line));
    tell_loads(loads, keep_going, console);
}

/// The lines about what was loaded.
pub(crate) fn tell_loads(loads: &[LoadReport], keep_going: bool, console: &Console) {
    loads.iter().for_each(|load| console.say(&summary::table_line(load)));
    let Some(first) = loads.first() else { return };
    console.say(&format!(
        "{} to database {} at {}, {}",
        counted(loads.len() as u64, "table"),
        quote_identifier(&first.server.database),
        first.server.endpoint,
        if keep_going { "each committed by itself" } else { "committed together" }
    ));
}
