//! `pgarrow export --to postgres` of many tables: from server to server, under one snapshot.
//!
//! ```text
//!  find the tables ─▶ their targets ─▶ look at them ─▶ one snapshot ─▶ one table after another ─▶ commit
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pgarrow::{Cancel, Error, ErrorKind, FailedTable, Plan, Relation, Report, Run, Source, quote_identifier};
use pgarrow_load::{LoadProgress, LoadReport, LoadSet, LoadedReport, NeededTypes, PrimaryKey, RelationName};
use pgarrow_sink::{Sink, SinkError, SinkErrorKind};
use serde::Serialize;

use crate::allocator;
use crate::connecting::{say_config_warnings, say_warnings};
use crate::console::Console;
use crate::exit::Failure;
use crate::into::IntoMany;
use crate::job::Reading;
use crate::progress::{Watch, Work};
use crate::run_report::RunReport;
use crate::signals::{Loads, Signals, loaded_tables};
use crate::summary::{self, Peak};
use crate::units::counted;
use crate::words;

/// Most tables without a key that a warning names.
const KEYLESS_NAMED: usize = 5;

/// Schema and name of a table on the source.
type Name = (String, String);

/// Where a table goes.
struct Target {
    name: RelationName,
    types: Option<NeededTypes>,
    key: Option<PrimaryKey>,
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
    into: IntoMany,
    run_report: &RunReport,
    console: &Console,
    cancel: Cancel,
    signals: &Signals,
) -> Result<(), Failure> {
    run_report.set_source(&reading.connection);
    let all = into.schema.as_deref().map_or_else(|| "*".to_owned(), quote_identifier);
    run_report.set_target(&format!("{all}.*"), &into.connection);
    say_config_warnings(&into.connection, console);
    say_config_warnings(&reading.connection, console);
    let source = Source::connect_blocking_with(reading.connection.clone(), cancel.clone())?;
    run_report.set_source(source.config());
    signals.be_orderly();
    allocator::give_back_at_once(reading.options.memory_bytes());

    let found = reading.subject.tables(&source).options(reading.options.clone()).find(&[])?;
    let relations: Vec<Relation> = found.into_iter().map(|(relation, _)| relation).collect();
    if relations.is_empty() {
        return Err(Failure::options("there are no tables to export"));
    }
    let names = targets(&relations, into.schema.as_deref())?;
    let mut set = LoadSet::connect(&into.connection, into.options.clone(), !into.keep_going, cancel.clone())?;
    let (mut run, mut failed) = open(&reading, &source, &relations, &names, &set, into.keep_going)?;
    say_warnings(&run, console);
    let chosen = defined(&mut run, &into, &relations, &names, console)?;
    let order: Vec<RelationName> =
        run.plans().iter().filter_map(|plan| Some(chosen.get(&name_of(plan))?.name.clone())).collect();
    set.begin(&order, Some(run.holders()))?;

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
    let make = |plan: &Plan| open_load(&set, plan, &chosen, &loads, &loaded, console);
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
    drop(watch);
    failed.append(&mut report.failed);
    report.failed = failed;
    let loaded = loaded.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut loads: Vec<LoadReport> = loaded.iter().filter_map(LoadedReport::take).collect();
    words::report(&mut report);
    loads.iter_mut().for_each(words::load_report);
    report.warnings.iter().for_each(|warning| console.warn(warning));
    tell(&report, &loads, n_readers, reading.asked.for_pages(), into.keep_going, console);
    let outcome = outcome(&report.failed, loads.len(), console);
    run_report.complete_export(&report, &WithLoads { report: &report, loads: &loads }, outcome, console)
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

/// The tables that the rows of the relations go to.
fn targets(relations: &[Relation], schema: Option<&str>) -> Result<Vec<RelationName>, Failure> {
    let target = |relation: &Relation| {
        let schema = schema.unwrap_or(&relation.schema).to_owned();
        (RelationName { schema: Some(schema), name: relation.name.clone() }, relation.to_string())
    };
    let advice = "leave one out (--exclude-table), or load them by two commands into two schemas";
    distinct(relations.iter().map(target).collect(), advice)
}

/// The targets, each with what goes there. Refuses two that are the same.
pub(crate) fn distinct(
    targets: Vec<(RelationName, String)>,
    advice: &str,
) -> Result<Vec<RelationName>, Failure> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut names = Vec::with_capacity(targets.len());
    for (name, from) in targets {
        if let Some(other) = seen.insert(name.quoted(), from.clone()) {
            return Err(Failure::options(format!(
                "{other} and {from} would both go to {}; nothing was read: {advice}",
                name.quoted()
            )));
        }
        names.push(name);
    }
    Ok(names)
}

/// Looks at the targets, and plans the export of those tables that can be loaded, in an order in which they can.
/// Returns those that cannot, if the others go on.
fn open(
    reading: &Reading,
    source: &Source,
    relations: &[Relation],
    names: &[RelationName],
    set: &LoadSet,
    keep_going: bool,
) -> Result<(Run, Vec<FailedTable>), Failure> {
    let looked = set.look(names)?;
    let mut opaque: Vec<Option<_>> = Vec::with_capacity(names.len());
    let (mut problems, mut failed) = (Vec::new(), Vec::new());
    for (relation, columns) in relations.iter().zip(looked.tables) {
        match columns {
            Ok(columns) => opaque.push(Some(columns)),
            Err(error) => {
                if error.kind() == ErrorKind::Connection || error.kind() == ErrorKind::Cancelled {
                    return Err(error.into());
                }
                opaque.push(None);
                failed.push(FailedTable::new(relation.to_string(), error.message().clone()));
                problems.push(error);
            }
        }
    }
    if problems.len() == names.len() || !keep_going {
        Error::all(problems).map_or(Ok(()), Err)?;
    }
    let order = looked
        .order
        .iter()
        .filter_map(|index| Some((relations.get(*index)?, opaque.get_mut(*index)?.take()?)));
    let order: Vec<_> = order.collect();
    let quoted = order.iter().map(|(relation, _)| relation.quoted());
    let tables = source.tables(quoted).only(reading.subject.is_only());
    let tables = order.into_iter().fold(tables, |tables, (relation, columns)| {
        tables.opaque_of(relation.schema.clone(), relation.name.clone(), columns)
    });
    Ok((tables.options(reading.options.clone()).open()?, failed))
}

/// The targets by the names of their sources, with what new tables take over.
fn defined(
    run: &mut Run,
    into: &IntoMany,
    relations: &[Relation],
    names: &[RelationName],
    console: &Console,
) -> Result<HashMap<Name, Target>, Failure> {
    let plans = run.plans().to_vec();
    let (mut targets, mut without_key) = (HashMap::new(), Vec::new());
    for plan in &plans {
        let Some(relation) = plan.relation() else { continue };
        let is_it = |other: &Relation| other.schema == relation.schema && other.name == relation.name;
        let index = relations.iter().position(is_it);
        let Some(name) = index.and_then(|index| names.get(index)).cloned() else { continue };
        let (types, key) = into.takes.read(run, relation, into.schema.as_deref())?;
        if into.takes.key && key.is_none() {
            without_key.push(relation.to_string());
        }
        targets.insert(name_of(plan), Target { name, types, key });
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

fn name_of(plan: &Plan) -> Name {
    plan.relation().map(|relation| (relation.schema.clone(), relation.name.clone())).unwrap_or_default()
}

/// Opens the load of a table, when its turn has come.
fn open_load(
    set: &LoadSet,
    plan: &Plan,
    targets: &HashMap<Name, Target>,
    loads: &Loads,
    loaded: &Mutex<Vec<LoadedReport>>,
    console: &Console,
) -> Result<Box<dyn Sink>, SinkError> {
    let failed = |error: Error| SinkError::of(SinkErrorKind::Io, error);
    let target = targets.get(&name_of(plan));
    let target = target.ok_or_else(|| {
        let text = format!("{} has no target; please report it", plan.subject());
        failed(Error::new(ErrorKind::Protocol, text))
    })?;
    let load = set.load(&target.name).defined_by(target.types.clone(), target.key.clone());
    let load = load.with_opaque(plan.opaque().clone());
    let loading = load.open(Arc::clone(plan.schema())).map_err(failed)?;
    let shown = loading.target().to_owned();
    loading.warnings().iter().for_each(|warning| {
        console.warn(format!("{shown}: {}", words::message(warning)));
    });
    loads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(loading.progress()));
    let sink = loading.into_sink().map_err(failed)?;
    loaded.lock().unwrap_or_else(PoisonError::into_inner).push(sink.report());
    Ok(Box::new(sink))
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
