//! One run of a job, from the lock to the manifest.
//!
//! ```text
//!  JobRun::begin ── lock, newest manifest
//!       └─ plan ── one snapshot, all tables planned and checked
//!            └─ write ── files under names of this run ─▶ all complete ─▶ manifest ─▶ _SUCCESS
//!                           └ any failure: the run's files are removed, and nothing refers to them
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use pgarrow_export::{
    Error, ErrorKind, FileReport, Message, Plan, Report, Result, Run, Source, message, option,
};
use pgarrow_sink::{FolderOptions, Outputs};
use pgarrow_store::Store;

use crate::format::numerics_as_text;
use crate::incremental::Failed;
use crate::job::{Job, RunOptions};
use crate::journal::{Journal, Writer};
use crate::lock::Lock;
use crate::manifest::{Manifest, ManifestFailure, ManifestServer, ManifestTable};
use crate::origin::{Origin, schema_with};
use crate::partition::{PartitionFiles, PartitionValues};
use crate::prepare::Prepared;
use crate::subject::schema_and_table;
use crate::units::utc_now;
use crate::verify::{Opened, ServerVerified, compare_run};
use crate::written::{Files, RunTables};

/// What readers of folders look for.
const SUCCESS: &str = "_SUCCESS";

/// A run that has its store to itself.
#[derive(Debug)]
pub struct JobRun<'a> {
    job: &'a Job,
    store: Store,
    lock: Lock,
    run_id: String,
    started: String,
    previous: Option<Manifest>,
    options: RunOptions,
}

/// A run whose tables are planned, under one snapshot.
#[derive(Debug)]
pub struct PlannedRun<'a> {
    of: JobRun<'a>,
    export: Run,
    lsn: Option<String>,
    prepared: Prepared,
    /// The same tables under the same snapshot, to compare them with what was written.
    opened: Option<Opened>,
}

/// A committed run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Committed {
    /// What it has committed.
    pub manifest: Manifest,
    /// What was compared with the server before it was committed, if that was asked for.
    pub verified: Option<ServerVerified>,
    /// What the user should know.
    pub warnings: Vec<Message>,
}

impl<'a> JobRun<'a> {
    /// Begins a run: nobody else may be at work in the store. `run_id` is new: `pgarrow_sink::new_run_id`
    /// makes one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] if another run is on, or the store cannot be used.
    pub fn begin(
        job: &'a Job,
        store: Store,
        run_id: &str,
        options: RunOptions,
        source: &Source,
    ) -> Result<Self> {
        job.check_layout()?;
        let lock = Lock::take(&store, run_id, options.take_over || options.resume, source.cancel())?;
        let previous = Manifest::newest(&store)?;
        Ok(Self { job, store, lock, run_id: run_id.to_owned(), started: utc_now(), previous, options })
    }

    /// Plans all tables under one snapshot. Waits for the server.
    ///
    /// # Errors
    ///
    /// One error with the problems of all tables.
    pub fn plan(self, source: &Source) -> Result<PlannedRun<'a>> {
        let mut prepared = self.job.prepare(source, &self.store, self.previous.as_ref(), &self.options)?;
        // A held snapshot is older than where the server is now.
        let lsn = if self.options.snapshot.is_none() { lsn(source) } else { None };
        let tasks = std::mem::take(&mut prepared.tasks);
        let (mut export, tasks, failed) = self.job.open_with(source, &self.store, tasks, &self.options)?;
        prepared.tasks = tasks;
        prepared.failed.extend(failed);
        prepared.check(&mut export, self.job.only)?;
        let opened = match self.job.verify {
            true => Some(Opened::of_run(source, &mut export, self.job.only, &self.job.options)?),
            false => None,
        };
        Ok(PlannedRun { of: self, export, lsn, prepared, opened })
    }
}

impl PlannedRun<'_> {
    /// The export, for its plans and its progress.
    pub fn export(&self) -> &Run {
        &self.export
    }

    /// What the user should know of the tables and of earlier runs, before anything is read.
    pub fn notes(&self) -> &[Message] {
        &self.prepared.notes
    }

    /// Hands rows that are left out to `receive`: [`Run::on_reject`].
    ///
    /// # Errors
    ///
    /// As for [`Run::on_reject`].
    pub fn on_reject(self, receive: impl FnMut(&RecordBatch) -> Result<()> + Send + 'static) -> Result<Self> {
        Ok(Self { export: self.export.on_reject(receive)?, ..self })
    }

    /// Reads all tables and commits them together. `warn` takes warnings about formats as they come; the
    /// report has the others.
    ///
    /// # Errors
    ///
    /// What stopped it: nothing was committed then, and the run's files are removed as far as possible; if it
    /// was to be resumable, not those of tables that are complete.
    pub fn write(self, warn: &(dyn Fn(Message) + Sync)) -> Result<(Committed, Report)> {
        let Self {
            of: JobRun { job, store, lock, run_id, started, previous, options },
            export,
            lsn,
            prepared,
            opened,
        } = self;
        let date = started.get(..10).unwrap_or_default();
        let names = job.names(&export, date, &run_id, &prepared)?;
        let plans = export.plans().to_vec();
        let cancel = export.cancel().clone();
        let origin = job.origin.then(|| Origin::new(&export, &run_id, &started));
        let files = Arc::new(Files::new(store.clone()));
        let Prepared { tasks, kept, order, identity, options_sha256, failed, .. } = prepared;
        let tables = Arc::new(RunTables {
            run_id: run_id.clone(),
            snapshot: export.snapshot().to_owned(),
            started: started.clone(),
            only: job.only,
            tasks,
            files: Arc::clone(&files),
        });
        let server = ManifestServer {
            system_identifier: identity.system,
            timeline: identity.timeline,
            ..ManifestServer::from(&export.server())
        };
        let journal = Arc::new(Writer::start(
            store.clone(),
            Journal {
                run_id: run_id.clone(),
                previous_run_id: previous.as_ref().map(|previous| previous.run_id.clone()),
                started: started.clone(),
                server: server.clone(),
                snapshot: export.snapshot().to_owned(),
                held: options.snapshot.clone(),
                options_sha256,
                tables: kept.clone(),
            },
        )?);
        let note = {
            let (tables, journal) = (Arc::clone(&tables), Arc::clone(&journal));
            move |plan: &Plan, files: &[FileReport]| {
                // Without an entry, the table is read again.
                if let Ok(table) = tables.of(plan, files) {
                    journal.add(table);
                }
            }
        };
        let make = |plan: &Plan| {
            let (schema, table) = schema_and_table(plan);
            let (schema, table) = (schema.to_owned(), table.to_owned());
            let (names, files) = (names.clone(), Arc::clone(&files));
            let say = |message: Message| warn(message.behind(format!("{}: ", plan.subject())));
            numerics_as_text(plan).into_iter().for_each(say);
            let of_files = schema_with(origin.as_ref(), plan);
            let notice = |warning: String| say(warning.into());
            if let Some(by) = tables.partitions_of(plan) {
                let begin = move |folder: &str, number, values: &PartitionValues| {
                    let path = names.path_in(&schema, &table, folder, number);
                    files.begin(path, (&schema, &table), values)
                };
                let n_parts = job.options.readers_wanted();
                let files =
                    PartitionFiles::begun_by(begin, job.file_bytes, store.file_memory_bytes(), n_parts);
                return job.format.sink_of_partitions(by, plan.subject(), of_files, files, notice);
            }
            let file = move |index| {
                let path = names.path(&schema, &table, index);
                files.begin(path, (&schema, &table), &PartitionValues::new())
            };
            let outputs = match job.file_bytes {
                None => Outputs::single(file(0)?),
                file_bytes => Outputs::numbered(file, FolderOptions { file_bytes, lanes: 1 }),
            };
            job.format.sink(outputs, of_files, notice)
        };
        let export = export.on_complete(note);
        let export = if options.keep_going { export.keep_going() } else { export };
        let written = export.write_each(make);
        let noted = journal.end();
        // What a run after this one could go on from, or nothing.
        let give_up = |error: Error, can_resume: bool| {
            // A manifest that may be there names them.
            if error.kind() == ErrorKind::OutcomeUnknown {
                return error;
            }
            match lock.is_ours() {
                Ok(true) => {}
                // A run that has taken this one's place may have kept them.
                Ok(false) => return error,
                // As after the end of credentials: nothing can be removed either.
                Err(_) => {
                    return error.advice(message![
                        "the store cannot be asked now, so what the run has written stays; tables that are \
                         complete are there for a run that goes on (",
                        option::RESUME,
                        ")"
                    ]);
                }
            }
            match &noted {
                Some(journal) if can_resume && !journal.tables.is_empty() => {
                    files.remove_but(&journal.files());
                    let n_complete = journal.tables.len();
                    error.advice(message![
                        format_args!(
                            "{n_complete} of {} tables are complete and stay for a run that goes on (",
                            order.len()
                        ),
                        option::RESUME,
                        ")"
                    ])
                }
                _ => {
                    files.remove_but(&HashSet::new());
                    Journal::remove(&store, &run_id);
                    error
                }
            }
        };
        let report = written.map_err(|error| {
            // What else fails a run may be about the rows that have come.
            let is_outside = error.is_transient()
                || matches!(error.kind(), ErrorKind::Connection | ErrorKind::Cancelled | ErrorKind::Sink);
            give_up(error, options.resume && is_outside)
        })?;
        let commit = || {
            if cancel.is_requested() {
                return Err(cancel.error());
            }
            let failed = failures(&failed, &plans, &report);
            let mut all = tables.all(&plans, &report)?;
            all.retain(|table| !failed.iter().any(|failed| table.is(&failed.schema, &failed.name)));
            all.extend(kept.iter().cloned());
            if all.is_empty() {
                let first = failed.first().map(|failed| failed.error.clone()).unwrap_or_default();
                return Err(Error::new(ErrorKind::Server, format!("no table could be read: {first}")));
            }
            let place = |table: &ManifestTable| {
                order.iter().position(|(schema, name)| *schema == table.schema && *name == table.name)
            };
            all.sort_by_cached_key(place);
            let manifest = Manifest {
                manifest_version: Manifest::version(),
                pgarrow_version: report.pgarrow_version.to_owned(),
                number: previous.as_ref().map_or(0, |previous| previous.number).saturating_add(1),
                run_id: run_id.clone(),
                previous_run_id: previous.as_ref().map(|previous| previous.run_id.clone()),
                started: started.clone(),
                ended: utc_now(),
                server: server.clone(),
                snapshot: report.snapshot.clone(),
                lsn: lsn.clone(),
                tables: all,
                failed,
            };
            let compare = |opened| {
                let condition_of = |table: &ManifestTable| tables.condition_of(table);
                compare_run(opened, &store, &run_id, &manifest.tables, condition_of, &cancel)
            };
            let verified = opened.map(compare).transpose().map_err(|error| cancel.cancelled_or(error))?;
            check_files(&store, &kept)?;
            if cancel.is_requested() {
                return Err(cancel.error());
            }
            lock.check()?;
            let warning = manifest.create(&store)?;
            Ok((manifest, verified, warning))
        };
        let (manifest, verified, warning) = commit().map_err(|error| give_up(error, false))?;
        Journal::remove_all(&store);
        // Increments without rows have no file in the manifest.
        files.remove_but(&manifest.paths());
        let mut warnings = report.warnings.clone();
        warnings.extend(warning);
        warnings.extend(previous.as_ref().and_then(|previous| missing(previous, &manifest)));
        if job.success_file && !manifest.failed.is_empty() {
            // It would stand for the run before.
            if let Err(error) = store.remove(SUCCESS) {
                warnings.push(format!("{SUCCESS} of the run before could not be removed: {error}").into());
            }
        } else if job.success_file
            && let Err(error) = store.replace(SUCCESS, manifest.run_id.as_bytes())
        {
            // The run is committed, whatever becomes of this.
            warnings
                .push(format!("the run is committed, but {SUCCESS} could not be written: {error}").into());
        }
        Ok((Committed { manifest, verified, warnings }, report))
    }
}

/// Checks that the files of kept tables are still there.
fn check_files(store: &Store, kept: &[ManifestTable]) -> Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    let there: HashMap<String, u64> =
        store.list("")?.into_iter().map(|entry| (entry.path, entry.bytes)).collect();
    let mut files = kept.iter().flat_map(|table| &table.files);
    match files.find(|file| there.get(&file.path) != Some(&file.bytes)) {
        None => Ok(()),
        Some(file) => {
            let text =
                format!("{} was removed while the run went on with it; nothing was committed", file.path);
            Err(Error::new(ErrorKind::Sink, text))
        }
    }
}

/// The tables that failed: while they were planned, and while they were read.
fn failures(planned: &[Failed], plans: &[Arc<Plan>], report: &Report) -> Vec<ManifestFailure> {
    let mut failures = Vec::new();
    for Failed { key: (schema, name), error } in planned {
        let (schema, name, error) = (schema.clone(), name.clone(), error.to_string());
        failures.push(ManifestFailure { schema, name, error });
    }
    for failed in &report.failed {
        if let Some(plan) = plans.iter().find(|plan| plan.subject() == failed.table) {
            let (schema, name) = schema_and_table(plan);
            let error = failed.error.to_string();
            failures.push(ManifestFailure { schema: schema.to_owned(), name: name.to_owned(), error });
        }
    }
    failures
}

/// A warning about tables of the run before that are not in this one: whoever reads the newest manifest no
/// longer sees them. Perhaps two jobs share a folder.
fn missing(previous: &Manifest, manifest: &Manifest) -> Option<Message> {
    const NAMES_MAX: usize = 5;
    let failed = manifest.failed.iter().map(|failed| (&failed.schema, &failed.name));
    let now: HashSet<_> =
        manifest.tables.iter().map(|table| (&table.schema, &table.name)).chain(failed).collect();
    let gone = previous.tables.iter().filter(|table| !now.contains(&(&table.schema, &table.name)));
    let gone: Vec<String> = gone.map(ManifestTable::to_string).collect();
    let shown = gone.get(..NAMES_MAX).unwrap_or(&gone).join(", ");
    let more = match gone.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!gone.is_empty()).then(|| {
        format!("the run before had tables that this one has not: {shown}{more}; each job needs a folder of its own")
            .into()
    })
}

/// The position of the server's write-ahead log; `None` where the role may not ask, or there is none.
fn lsn(source: &Source) -> Option<String> {
    let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
               ELSE pg_catalog.pg_current_wal_insert_lsn() END::pg_catalog.text";
    source.query_text(sql).ok()?.into_iter().flatten().flatten().next()
}
