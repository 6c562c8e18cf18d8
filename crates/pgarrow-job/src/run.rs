//! One run of a job, from the lock to the manifest.
//!
//! ```text
//!  JobRun::begin ── lock, newest manifest
//!       └─ plan ── one snapshot, all tables planned and checked
//!            └─ write ── files under names of this run ─▶ all complete ─▶ manifest ─▶ _SUCCESS
//!                           └ any failure: the run's files are removed, and nothing refers to them
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgarrow_export::{
    Error, ErrorKind, ExportOptions, FileReport, Hint, Memory, Message, Plan, Report, Result, Run, Source,
    message, option,
};
use pgarrow_sink::{FolderOptions, Output, Outputs, hexadecimal};
use pgarrow_store::Store;
use sha2::{Digest, Sha256};

use crate::format::{Format, numerics_as_text};
use crate::layout::{FileNames, Layout};
use crate::lock::Lock;
use crate::manifest::{Committed, Manifest, ManifestColumn, ManifestFile, ManifestServer, ManifestTable};
use crate::units::utc_now;

/// What readers of folders look for.
const SUCCESS: &str = "_SUCCESS";

/// What a run does: which tables, how, and into what files.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names and patterns of tables, as psql takes them.
    pub tables: Vec<String>,
    /// Patterns of what to leave out.
    pub exclude_tables: Vec<String>,
    /// Whether each table is read without the tables that inherit from it, which are read by themselves.
    pub only: bool,
    /// How to read.
    pub options: ExportOptions,
    /// What files are.
    pub format: Format,
    /// Their names.
    pub layout: Layout,
    /// The bytes at which a file is complete and the table's next one begins; `None`: a file for each table.
    pub file_bytes: Option<u64>,
    /// Whether there is a `_SUCCESS` at the end.
    pub success_file: bool,
}

/// A run that has its store to itself.
#[derive(Debug)]
pub struct JobRun<'a> {
    job: &'a Job,
    store: Store,
    lock: Lock,
    run_id: String,
    started: String,
    previous: Option<Manifest>,
}

/// A run whose tables are planned, under one snapshot.
#[derive(Debug)]
pub struct PlannedRun<'a> {
    of: JobRun<'a>,
    export: Run,
    lsn: Option<String>,
}

impl Job {
    /// Plans all tables of the job under one snapshot, and drops what it holds: shows what a run would read, and
    /// what would be refused.
    ///
    /// # Errors
    ///
    /// One error with the problems of all tables.
    pub fn check(&self, source: &Source, store: &Store) -> Result<Vec<Arc<Plan>>> {
        self.check_layout()?;
        let run = self.open(source, store)?;
        self.names(&run, "2000-01-01", "")?;
        Ok(run.plans().to_vec())
    }

    fn open(&self, source: &Source, store: &Store) -> Result<Run> {
        let none: [&str; 0] = [];
        let tables = self.tables.iter().fold(source.tables(none), |tables, pattern| tables.pattern(pattern));
        let tables = self.exclude_tables.iter().fold(tables, |tables, pattern| tables.exclude(pattern));
        let format = self.format.clone();
        let tables = tables.only(self.only);
        tables.check(move |plans| format.problems(plans)).options(self.options_for(store)?).open()
    }

    /// The options without the memory that files take up on their way to a store.
    fn options_for(&self, store: &Store) -> Result<ExportOptions> {
        let (memory, of_file) = (self.options.memory_bytes(), store.file_memory_bytes());
        // A file for each reader, one whose last slice is read elsewhere, and one of the widest table.
        let n_files = self.options.readers_wanted().saturating_add(2);
        let on_their_way = of_file.saturating_mul(n_files);
        match memory.checked_sub(on_their_way) {
            Some(memory) if of_file > 0 && memory >= Memory::MIN_BYTES => {
                Ok(self.options.clone().with_memory(memory))
            }
            _ if of_file == 0 => Ok(self.options.clone()),
            _ => {
                let needed = on_their_way.saturating_add(Memory::MIN_BYTES);
                let text = format!(
                    "{n_files} files at a time take {} MiB on their way to {}, which leaves too little for reading",
                    on_their_way >> 20,
                    store.location()
                );
                let advice = message![
                    "allow more (",
                    Hint::memory(needed),
                    "), or fewer readers (",
                    option::READERS,
                    ")"
                ];
                Err(Error::new(ErrorKind::Options, text).advice(advice))
            }
        }
    }

    fn check_layout(&self) -> Result<()> {
        if self.file_bytes.is_some() && !self.layout.has_index() {
            let text = "a table may have several files, and their names no {index}; add it to the template";
            return Err(Error::new(ErrorKind::Options, text));
        }
        Ok(())
    }

    fn names(&self, run: &Run, date: &str, run_id: &str) -> Result<FileNames> {
        let tables: Vec<_> = run.plans().iter().map(|plan| schema_and_table(plan)).collect();
        FileNames::new(&self.layout, date, run_id, self.format.extension(), &tables)
    }
}

impl<'a> JobRun<'a> {
    /// Begins a run: nobody else may be at work in the store. With `take_over`, a dead run's place is taken.
    /// `run_id` is new: `pgarrow_sink::new_run_id` makes one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] if another run is on, or the store cannot be used.
    pub fn begin(job: &'a Job, store: Store, run_id: &str, take_over: bool, source: &Source) -> Result<Self> {
        job.check_layout()?;
        let lock = Lock::take(&store, run_id, take_over, source.cancel())?;
        let previous = Manifest::newest(&store)?;
        Ok(Self { job, store, lock, run_id: run_id.to_owned(), started: utc_now(), previous })
    }

    /// Plans all tables under one snapshot. Waits for the server.
    ///
    /// # Errors
    ///
    /// One error with the problems of all tables.
    pub fn plan(self, source: &Source) -> Result<PlannedRun<'a>> {
        let lsn = lsn(source);
        let export = self.job.open(source, &self.store)?;
        Ok(PlannedRun { of: self, export, lsn })
    }
}

impl PlannedRun<'_> {
    /// The export, for its plans and its progress.
    pub fn export(&self) -> &Run {
        &self.export
    }

    /// Reads all tables and commits them together. `warn` takes warnings about formats as they come; the report
    /// has the others.
    ///
    /// # Errors
    ///
    /// What stopped it: nothing was committed then, and the run's files are removed as far as possible.
    pub fn write(self, warn: &(dyn Fn(Message) + Sync)) -> Result<(Committed, Report)> {
        let Self { of: JobRun { job, store, lock, run_id, started, previous }, export, lsn } = self;
        let date = started.get(..10).unwrap_or_default();
        let names = job.names(&export, date, &run_id)?;
        let plans = export.plans().to_vec();
        let cancel = export.cancel().clone();
        let files = Arc::new(Files { store: store.clone(), begun: Mutex::default() });
        let make = |plan: &Plan| {
            let (schema, table) = schema_and_table(plan);
            let (schema, table) = (schema.to_owned(), table.to_owned());
            let (names, files) = (names.clone(), Arc::clone(&files));
            let file = move |index| {
                let path = names.path(&schema, &table, index);
                let output = files.store.create(&path)?.with_sha256();
                files.add(&output, path, &schema, &table);
                Ok(output)
            };
            let outputs = match job.file_bytes {
                None => Outputs::single(file(0)?),
                file_bytes => Outputs::numbered(file, FolderOptions { file_bytes, lanes: 1 }),
            };
            let say = |message: Message| warn(message.behind(format!("{}: ", plan.subject())));
            numerics_as_text(plan).into_iter().for_each(say);
            job.format.sink(outputs, Arc::clone(plan.schema()), |warning| say(warning.into()))
        };
        let report = export.write_each(make).inspect_err(|_| files.remove())?;
        let commit = || {
            if cancel.is_requested() {
                return Err(cancel.error());
            }
            let tables = tables(&plans, &report, &files, job.only)?;
            let manifest = Manifest {
                manifest_version: Manifest::version(),
                pgarrow_version: report.pgarrow_version.to_owned(),
                number: previous.as_ref().map_or(0, |previous| previous.number).saturating_add(1),
                run_id: run_id.clone(),
                previous_run_id: previous.as_ref().map(|previous| previous.run_id.clone()),
                started: started.clone(),
                ended: utc_now(),
                server: ManifestServer::from(&report.server),
                snapshot: report.snapshot.clone(),
                lsn: lsn.clone(),
                tables,
            };
            lock.check()?;
            let warning = manifest.create(&store)?;
            Ok((manifest, warning))
        };
        let remove = |error: &Error| {
            // A manifest that may be there names them.
            if error.kind() != ErrorKind::OutcomeUnknown {
                files.remove();
            }
        };
        let (manifest, warning) = commit().inspect_err(remove)?;
        let mut warnings = report.warnings.clone();
        warnings.extend(warning);
        warnings.extend(previous.as_ref().and_then(|previous| missing(previous, &manifest)));
        if job.success_file
            && let Err(error) = store.replace(SUCCESS, manifest.run_id.as_bytes())
        {
            // The run is committed, whatever becomes of this.
            warnings
                .push(format!("the run is committed, but {SUCCESS} could not be written: {error}").into());
        }
        Ok((Committed { manifest, warnings }, report))
    }
}

/// The files that a run has begun, and their tables.
struct Files {
    store: Store,
    /// By the name that the report has.
    begun: Mutex<HashMap<String, Begun>>,
}

struct Begun {
    path: String,
    schema: String,
    table: String,
}

impl Files {
    fn begun(&self) -> MutexGuard<'_, HashMap<String, Begun>> {
        // Each change is complete or was not begun, even after a panic.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, output: &Output, path: String, schema: &str, table: &str) {
        let given = output.path().map(|given| given.display().to_string()).unwrap_or_default();
        let (schema, table) = (schema.to_owned(), table.to_owned());
        self.begun().insert(given, Begun { path, schema, table });
    }

    /// Removes what was published. The rest has no name yet; what cannot be removed, `gc` finds.
    fn remove(&self) {
        for file in self.begun().values() {
            let _ = self.store.remove(&file.path);
        }
    }
}

/// The tables of a manifest: what was read of each, and its files.
fn tables(plans: &[Arc<Plan>], report: &Report, files: &Files, only: bool) -> Result<Vec<ManifestTable>> {
    let begun = files.begun();
    let mut of_tables: HashMap<(&str, &str), Vec<ManifestFile>> = HashMap::new();
    for file in &report.files {
        let FileReport { path: Some(given), rows, bytes, row_groups, sha256: Some(sha256), ranges, .. } =
            file
        else {
            return Err(unnamed());
        };
        let Begun { path, schema, table } = begun.get(given).ok_or_else(unnamed)?;
        of_tables.entry((schema, table)).or_default().push(ManifestFile {
            path: path.clone(),
            rows: *rows,
            bytes: *bytes,
            sha256: sha256.clone(),
            row_groups: *row_groups,
            columns: ranges.clone(),
        });
    }
    let one = [report.slices];
    let slices = report.tables.iter().map(|table| table.slices as u64).chain(one);
    let mut tables = Vec::with_capacity(plans.len());
    // Of one table, the report itself has the columns.
    let mut changed = report.tables.iter().map(|table| &table.columns);
    for (plan, slices) in plans.iter().zip(slices) {
        let changed = changed.next().unwrap_or(&report.columns);
        let (schema, name) = schema_and_table(plan);
        let files = of_tables.remove(&(schema, name)).unwrap_or_default();
        let rows = files.iter().map(|file| file.rows).sum();
        let mut columns: Vec<_> = plan.report(None).columns.iter().map(ManifestColumn::from).collect();
        for column in &mut columns {
            if let Some(changed) = changed.iter().find(|changed| changed.name == column.name) {
                column.effects.clone_from(&changed.effects);
            }
        }
        let schema_sha256 = fingerprint(&columns);
        let (schema, name) = (schema.to_owned(), name.to_owned());
        tables.push(ManifestTable { schema, name, only, rows, slices, schema_sha256, columns, files });
    }
    // Every row that was read is in a file that the manifest names.
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    if rows != report.rows {
        let text =
            format!("{} rows were read, and the files have {rows}; nothing was committed", report.rows);
        return Err(Error::new(ErrorKind::Sink, text));
    }
    Ok(tables)
}

/// A warning about tables of the run before that are not in this one: whoever reads the newest manifest no longer
/// sees them. Perhaps two jobs share a folder.
fn missing(previous: &Manifest, manifest: &Manifest) -> Option<Message> {
    const NAMES_MAX: usize = 5;
    let now: HashSet<_> = manifest.tables.iter().map(|table| (&table.schema, &table.name)).collect();
    let gone = previous.tables.iter().filter(|table| !now.contains(&(&table.schema, &table.name)));
    let gone: Vec<String> = gone.map(|table| format!("{}.{}", table.schema, table.name)).collect();
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

fn unnamed() -> Error {
    Error::new(ErrorKind::Sink, "a file of the run has no name or no checksum; nothing was committed")
}

fn fingerprint(columns: &[ManifestColumn]) -> String {
    let mut digest = Sha256::new();
    for ManifestColumn { name, pg_type, arrow_type, nullable, .. } in columns {
        let nullable = if *nullable { "null" } else { "not null" };
        for text in [name, pg_type, arrow_type, nullable] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
    }
    hexadecimal(&digest.finalize())
}

fn schema_and_table(plan: &Plan) -> (&str, &str) {
    match plan.relation() {
        Some(relation) => (&relation.schema, &relation.name),
        None => ("", plan.subject()),
    }
}

/// The position of the server's write-ahead log; `None` where the role may not ask, or there is none.
fn lsn(source: &Source) -> Option<String> {
    let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
               ELSE pg_catalog.pg_current_wal_insert_lsn() END::pg_catalog.text";
    source.query_text(sql).ok()?.into_iter().flatten().flatten().next()
}
