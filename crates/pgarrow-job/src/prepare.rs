//! What a run reads: the tables of a job, what its rules say of each, and what earlier runs have left.
//!
//! ```text
//!  patterns ─▶ tables ─▶ rules of each ─▶ tasks: all rows, or those that are new
//!                                          └ journal of a dead run ─▶ tables that are kept
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use pgarrow_export::{
    Cancel, Error, ErrorKind, Message, Plan, Relation, Result, Run, SharedSnapshot, Source, Tables, message,
    option,
};
use pgarrow_load::RelationName;
use pgarrow_store::Store;

use crate::choice::{ChosenTables, Opened, TableChoice, open_those_that_can};
use crate::identity::Identity;
use crate::incremental::{Failed, Known, Task, check, sha256, tasks};
use crate::job::{Job, RunOptions};
use crate::journal::Journal;
use crate::layout::FileNames;
use crate::manifest::{Manifest, ManifestColumn, ManifestPartition, ManifestTable};
use crate::partition::PartitionBy;
use crate::planned_table::columns_of;
use crate::rules::{Finding, TableRule};
use crate::subject::{JobQuery, JobSubject, Key, QUERIES, key_of, schema_and_table};
use crate::verify::is_whole;

/// Most names of tables in a message.
const NAMES_MAX: usize = 5;

/// What a run does with all tables of its job.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The tables to read.
    pub(crate) tasks: Vec<Task>,
    /// The tables that a dead run has read.
    pub(crate) kept: Vec<ManifestTable>,
    /// Their places in the manifest: all tables, in the job's order.
    pub(crate) order: Vec<(String, String)>,
    pub(crate) identity: Identity,
    /// The SHA-256 of what decides which values tables have.
    pub(crate) options_sha256: String,
    /// The tables that cannot be read.
    pub(crate) failed: Vec<Failed>,
    /// What the user should know.
    pub(crate) notes: Vec<Message>,
}

impl Job {
    /// Plans all tables of the job under one snapshot, and drops what it holds: shows what a run would read,
    /// and what would be refused.
    ///
    /// # Errors
    ///
    /// One error with the problems of all tables.
    pub fn check(&self, source: &Source, store: &Store) -> Result<Vec<Arc<Plan>>> {
        self.check_layout()?;
        let previous = Manifest::newest(store)?;
        let prepared = self.prepare(source, store, previous.as_ref(), &RunOptions::default())?;
        let run = self.open(source, store, &prepared.tasks, None)?;
        self.names(&run, "2000-01-01", "", &prepared)?;
        Ok(run.plans().to_vec())
    }

    /// The names of all files of a run.
    pub(crate) fn names(
        &self,
        run: &Run,
        date: &str,
        run_id: &str,
        prepared: &Prepared,
    ) -> Result<FileNames> {
        let tables: Vec<_> = run.plans().iter().map(|plan| schema_and_table(plan)).collect();
        let mut names = FileNames::new(&self.layout, date, run_id, self.format.extension(), &tables)?;
        for Task { subject, version, .. } in &prepared.tasks {
            names.set_version(subject.schema(), subject.name(), *version);
        }
        Ok(names)
    }

    /// Finds out what to read, and what need not be read again. Waits for the server.
    ///
    /// # Errors
    ///
    /// One error with the problems of all tables.
    pub(crate) fn prepare(
        &self,
        source: &Source,
        store: &Store,
        previous: Option<&Manifest>,
        options: &RunOptions,
    ) -> Result<Prepared> {
        let (mut tables, missing) = self.ruled(source, options.keep_going)?;
        self.check_queries(&tables)?;
        let mut queries: Vec<Task> =
            self.queries.iter().map(|query| Task::query(query, &self.partition_by)).collect();
        let of_tables = tables.iter().map(|(table, _)| (table.schema.clone(), table.name.clone()));
        let order = of_tables.chain(queries.iter().map(|query| query.subject.key())).collect();
        let is_growing = tables.iter().any(|(_, rule)| rule.incremental.unwrap_or_default() != Finding::No);
        if is_growing && options.snapshot.is_some() {
            let text = "tables of which only new rows are read cannot be read under a held snapshot: what the next run must \
                        know is asked of the server as it is now";
            let advice = message!["leave them out of this job, or leave out ", option::SNAPSHOT];
            return Err(Error::new(ErrorKind::Options, text).advice(advice));
        }
        let (identity, transactions) = Identity::of(source, &self.options)?;
        let options_sha256 = self.options_sha256();
        let mut notes = Vec::new();
        let previous_run_id = previous.map(|previous| previous.run_id.as_str());
        let journal = match options.resume {
            true => Journal::newest(store, previous_run_id)?,
            false => None,
        };
        let journal =
            journal.filter(|journal| {
                let why = why_not(journal, &identity, &options_sha256);
                notes.extend(why.map(|why| {
                    Message::from(format!("nothing of run {} is kept, since {why}", journal.run_id))
                }));
                why.is_none()
            });
        let (mut columns, mut failed) = (HashMap::new(), Vec::new());
        let earlier = match previous {
            Some(previous) if is_growing => Manifest::before_failures(store, previous)?,
            _ => Vec::new(),
        };
        if journal.is_some() || (is_growing && previous.is_some()) {
            let all = plain(&tables).into_iter().chain(queries.iter().cloned()).collect();
            let (look, _, cannot) = self.open_with(source, store, all, options)?;
            let can = |subject: &JobSubject| cannot.iter().all(|failed| failed.key != subject.key());
            tables.retain(|(table, _)| can(&JobSubject::Table(table.clone())));
            queries.retain(|query| can(&query.subject));
            failed = cannot;
            for plan in look.plans() {
                columns.insert(key_of(plan), columns_of(plan));
            }
        }
        let known = Known {
            previous,
            earlier: &earlier,
            identity: &identity,
            transactions: transactions.as_ref(),
            columns: &columns,
            is_full: options.full,
            extension: self.format.extension(),
            only: self.only,
        };
        let (mut tasks, said, cannot) = tasks(source, &self.options, tables, &known)?;
        notes.extend(said);
        if !options.keep_going
            && let Some(error) =
                Error::all(cannot.iter().map(|failed| failed.error.duplicate()).collect::<Vec<_>>())
        {
            return Err(error);
        }
        failed.extend(cannot);
        failed.extend(missing);
        tasks.extend(queries);
        let mut kept = Vec::new();
        if let Some(journal) = journal {
            let complete = complete(&journal, &tasks, &columns);
            let others: Vec<&ManifestTable> =
                complete.iter().filter(|table| !journal.is_under(options.snapshot.as_ref(), table)).collect();
            if !others.is_empty() && !options.allow_mixed_snapshots {
                return Err(mixed(&journal, &others, options.snapshot.is_some()));
            }
            let is_one = others.is_empty();
            kept = whole(complete, store, source.cancel(), &mut notes)?;
            // The run needs a table to read: its snapshot stands for it.
            if kept.len() == tasks.len() {
                let smallest = kept.iter().enumerate().min_by_key(|(_, table)| table.rows);
                if let Some((index, _)) = smallest {
                    kept.swap_remove(index);
                }
            }
            let is_kept = |task: &Task| kept.iter().any(|table| task.subject.is_of(table));
            tasks.retain(|task| !is_kept(task));
            let when = if is_one { "snapshot that this run reads, too" } else { "moment that it has read" };
            notes.push(
                format!("{} tables of run {} are kept, and are of the {when}", kept.len(), journal.run_id)
                    .into(),
            );
        }
        Ok(Prepared { tasks, kept, order, identity, options_sha256, failed, notes })
    }

    /// The SHA-256 of what decides which values the job's tables have.
    fn options_sha256(&self) -> String {
        let text = format!("{} {} {}", self.only, self.format.extension(), self.options.meaning());
        sha256(&text)
    }

    /// The tables of the job, each with what the rules say of it; and what is not there, if the run goes on
    /// without.
    fn ruled(&self, source: &Source, keep_going: bool) -> Result<(Vec<Ruled>, Vec<Failed>)> {
        let choice = TableChoice {
            tables: &self.tables,
            exclude_tables: &self.exclude_tables,
            rules: &self.rules,
            only: self.only,
        };
        let ChosenTables { mut tables, missing } = choice.find(source, &self.options, keep_going)?;
        for (_, rule) in &mut tables {
            rule.partition_by.get_or_insert_with(|| self.partition_by.keys.clone());
            rule.keep_partition_columns.get_or_insert(self.partition_by.keep_columns);
        }
        if tables.is_empty() && self.queries.is_empty() && !missing.is_empty() {
            // Nothing is left to read.
            let errors = missing.into_iter().map(|(_, error)| error).collect::<Vec<_>>();
            return Error::all(errors).map_or_else(|| Ok((tables, Vec::new())), Err);
        }
        let missing = missing.into_iter().map(|(typed, error)| Failed { key: typed_key(&typed), error });
        Ok((tables, missing.collect()))
    }

    /// Refuses queries with the name of a table: their files and their tables of the manifest would be the
    /// same.
    fn check_queries(&self, tables: &[(Relation, TableRule)]) -> Result<()> {
        let has_name = |query: &&JobQuery| {
            tables.iter().any(|(table, _)| table.schema == QUERIES && table.name == query.name)
        };
        match self.queries.iter().find(has_name) {
            Some(JobQuery { name, .. }) => {
                let text = format!(
                    "the query {name:?} and the table {QUERIES}.{name} would have the same files; give the query another \
                     name"
                );
                Err(Error::new(ErrorKind::Options, text))
            }
            None => Ok(()),
        }
    }

    /// Plans these tables under one snapshot; those that can be read, if the run goes on without the others.
    pub(crate) fn open_with(
        &self,
        source: &Source,
        store: &Store,
        tasks: Vec<Task>,
        options: &RunOptions,
    ) -> Result<(Run, Vec<Task>, Vec<Failed>)> {
        let open = |tasks: &[Task]| self.open(source, store, tasks, options.snapshot.as_ref());
        let Opened { run, planned, failed } = open_those_that_can(tasks, options.keep_going, open)?;
        let failed = failed.into_iter().map(|(task, error)| Failed { key: task.subject.key(), error });
        Ok((run, planned, failed.collect()))
    }

    /// Plans these tables under one snapshot: a held one, or a new one.
    pub(crate) fn open(
        &self,
        source: &Source,
        store: &Store,
        tasks: &[Task],
        under: Option<&SharedSnapshot>,
    ) -> Result<Run> {
        let none: [&str; 0] = [];
        let mut tables = under.cloned().into_iter().fold(source.tables(none), Tables::under);
        for Task { subject, columns, filter, .. } in tasks {
            tables = subject.add_to(tables, columns.as_deref(), filter.as_deref(), None);
        }
        let format = self.format.clone();
        let by: HashMap<Key, PartitionBy> =
            tasks.iter().map(|task| (task.subject.key(), task.partition_by.clone())).collect();
        let by = move |plan: &Plan| by.get(&key_of(plan)).cloned().unwrap_or_default();
        let tables = tables.only(self.only).check(move |plans| format.problems(plans, &by));
        tables.options(self.options_for(store)?).open()
    }
}

impl Prepared {
    /// Checks that the tables still have the columns that the tasks were made for.
    ///
    /// # Errors
    ///
    /// They were changed, or another server has answered: what was asked before the snapshot is asked again.
    pub(crate) fn check(&self, run: &mut Run, only: bool) -> Result<()> {
        self.identity.check(run)?;
        check(run, &self.tasks, only)?;
        for plan in run.plans() {
            let oid = plan.relation().map_or(0, |relation| relation.oid);
            let key = key_of(plan);
            let task = self.tasks.iter().find(|task| task.subject.key() == key);
            let is_as_expected = task.is_some_and(|task| {
                task.subject.oid() == oid
                    && task.expected.as_ref().is_none_or(|columns| *columns == columns_of(plan))
            });
            if !is_as_expected {
                let text =
                    format!("{} was changed while the run was planned; start it again", plan.subject());
                return Err(Error::new(ErrorKind::Server, text));
            }
        }
        Ok(())
    }
}

/// Why nothing of a journal can be kept.
fn why_not(journal: &Journal, now: &Identity, options_sha256: &str) -> Option<&'static str> {
    let Journal { server: then, options_sha256: of_journal, .. } = journal;
    if now.differs_from(then).is_some() {
        return Some("it has read another server or database, or the server was promoted since");
    }
    (of_journal != options_sha256).then_some("the job's options or types are others")
}

/// The tasks of tables whose rows are all read.
fn plain(tables: &[(Relation, TableRule)]) -> Vec<Task> {
    tables.iter().map(|(relation, rule)| Task::all(relation, rule, 1)).collect()
}

/// A table, and what the rules say of it.
type Ruled = (Relation, TableRule);

/// Schema and name of a table as it was typed; of a pattern, the pattern is the name.
fn typed_key(typed: &str) -> Key {
    match RelationName::parse(typed) {
        Ok(RelationName { schema, name }) => (schema.unwrap_or_default(), name),
        Err(_) => (String::new(), typed.to_owned()),
    }
}

/// The tables of a journal that this run would read in the same way.
fn complete(
    journal: &Journal,
    tasks: &[Task],
    columns: &HashMap<Key, Vec<ManifestColumn>>,
) -> Vec<ManifestTable> {
    let is_wanted = |table: &&ManifestTable| {
        let task = tasks.iter().find(|task| task.subject.is_of(table));
        task.is_some_and(|task| {
            let now = columns.get(&task.subject.key()).map(Vec::as_slice).unwrap_or_default();
            let filter =
                |state: Option<&crate::TableState>| state.and_then(|state| state.filter_sha256.clone());
            table.oid == task.subject.oid()
                && table.query_sha256 == task.query_sha256()
                && task.chosen(now) == table.columns
                && table.increments.last().is_some_and(|increment| increment.mode == task.mode)
                && table.version == task.version
                && table.partition_by == ManifestPartition::all_of(&task.partition_by)
                && filter(table.state.as_ref()) == filter(task.state.as_ref())
        })
    };
    journal.tables.iter().filter(is_wanted).cloned().collect()
}

/// Those of them whose files are all there.
fn whole(
    tables: Vec<ManifestTable>,
    store: &Store,
    cancel: &Cancel,
    notes: &mut Vec<Message>,
) -> Result<Vec<ManifestTable>> {
    let mut whole = Vec::with_capacity(tables.len());
    for table in tables {
        let last = table.increments.len().saturating_sub(1);
        let mut files = table.files.iter().filter(|file| file.increment == last);
        let is_there =
            files.try_fold(true, |so_far, file| Ok::<_, Error>(so_far && is_whole(store, file, cancel)?))?;
        match is_there {
            true => whole.push(table),
            false => notes.push(
                format!("{table}: its files are not what the dead run has written; it is read again").into(),
            ),
        }
    }
    Ok(whole)
}

/// The error that a dead run's tables are of another moment.
fn mixed(journal: &Journal, complete: &[&ManifestTable], is_under_held: bool) -> Error {
    let names: Vec<String> = complete.iter().map(ToString::to_string).collect();
    let shown = names.get(..NAMES_MAX).unwrap_or(&names).join(", ");
    let more = if names.len() > NAMES_MAX { ", …" } else { "" };
    let (rows, bytes): (u64, u64) = complete.iter().fold((0, 0), |(rows, bytes), table| {
        let of_files: u64 = table.files.iter().map(|file| file.bytes).sum();
        (rows.saturating_add(table.rows), bytes.saturating_add(of_files))
    });
    let gone = if is_under_held { "its snapshot is not the held one" } else { "its snapshot is gone" };
    let text = format!(
        "run {} ended before it had committed, and {gone}; {} of its tables are complete ({shown}{more}: \
         {rows} rows, {} MiB), but they are of another moment than what would be read now",
        journal.run_id,
        names.len(),
        bytes >> 20
    );
    Error::new(ErrorKind::Options, text).advice(message![
        "keep them (",
        option::ALLOW_MIXED_SNAPSHOTS,
        "), or read all tables again, without ",
        option::RESUME
    ])
}
