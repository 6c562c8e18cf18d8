//! The files of a run, and the tables of its manifest.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgarrow_export::{Error, ErrorKind, FileReport, Plan, Report, Result};
use pgarrow_sink::{Output, SinkError};
use pgarrow_store::Store;

use crate::incremental::Task;
use crate::manifest::{Increment, ManifestFile, ManifestPartition, ManifestTable};
use crate::partition::{PartitionBy, PartitionValues};
use crate::subject::{key_of, schema_and_table};

/// The files that a run has begun, and their tables.
pub(crate) struct Files {
    pub(crate) store: Store,
    /// By the name that the report has.
    begun: Mutex<HashMap<String, Begun>>,
}

#[derive(Clone)]
struct Begun {
    path: String,
    schema: String,
    table: String,
    partition: PartitionValues,
}

impl Files {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, begun: Mutex::default() }
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<String, Begun>> {
        // Each change is complete or was not begun, even after a panic.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a file of a table, and of this partition of it.
    pub(crate) fn begin(
        &self,
        path: String,
        (schema, table): (&str, &str),
        partition: &PartitionValues,
    ) -> Result<Output, SinkError> {
        let output = self.store.create(&path)?.with_sha256();
        let given = output.path().map(|given| given.display().to_string()).unwrap_or_default();
        let (schema, table, partition) = (schema.to_owned(), table.to_owned(), partition.clone());
        self.begun().insert(given, Begun { path, schema, table, partition });
        Ok(output)
    }

    /// Removes what was published, but for these. The rest has no name yet; what cannot be removed, `gc`
    /// finds.
    pub(crate) fn remove_but(&self, stay: &HashSet<&str>) {
        for file in self.begun().values().filter(|file| !stay.contains(file.path.as_str())) {
            let _ = self.store.remove(&file.path);
        }
    }
}

/// The tables of a run, as its manifest and its journal have them.
pub(crate) struct RunTables {
    pub(crate) run_id: String,
    pub(crate) snapshot: String,
    pub(crate) started: String,
    /// Whether tables are read without those that inherit from them.
    pub(crate) only: bool,
    pub(crate) tasks: Vec<Task>,
    pub(crate) files: Arc<Files>,
}

impl RunTables {
    /// By what the files of a table are partitioned, if they are.
    pub(crate) fn partitions_of(&self, plan: &Plan) -> Option<&PartitionBy> {
        let key = key_of(plan);
        let task = self.tasks.iter().find(|task| task.subject.key() == key)?;
        Some(&task.partition_by).filter(|by| by.is_some())
    }

    /// For which rows of the server the new files of a table stand, if only its new rows were read. `None` if
    /// the job has a condition of its own for its rows: that may depend on the moment.
    pub(crate) fn condition_of(&self, table: &ManifestTable) -> Option<String> {
        let task = self.tasks.iter().find(|task| task.subject.is_of(table))?;
        let is_ours = task.state.as_ref()?.filter_sha256.is_none() && task.mode != "full";
        task.filter.clone().filter(|_| is_ours)
    }

    /// All tables that were read.
    ///
    /// # Errors
    ///
    /// Not every row that was read is in a file.
    pub(crate) fn all(&self, plans: &[Arc<Plan>], report: &Report) -> Result<Vec<ManifestTable>> {
        let begun = self.files.begun().clone();
        let mut of_tables: HashMap<(&str, &str), Vec<FileReport>> = HashMap::new();
        for file in &report.files {
            let given = file.path.as_ref().ok_or_else(unnamed)?;
            let Begun { schema, table, .. } = begun.get(given).ok_or_else(unnamed)?;
            of_tables.entry((schema, table)).or_default().push(file.clone());
        }
        let table = |plan: &Arc<Plan>| {
            self.of(plan, of_tables.get(&schema_and_table(plan)).map(Vec::as_slice).unwrap_or_default())
        };
        let mut tables = plans.iter().map(table).collect::<Result<Vec<_>>>()?;
        for (plan, table) in plans.iter().zip(&mut tables) {
            table.add_effects(plan, report);
            let of_table = report.tables.iter().find(|table| table.table == plan.subject());
            if let Some(increment) = table.increments.last_mut() {
                increment.rows_rejected = of_table.map_or(report.rows_rejected, |table| table.rows_rejected);
            }
        }
        // Every row that was read is in a file that the manifest names.
        let last = |table: &ManifestTable| table.increments.last().map_or(0, |increment| increment.rows);
        let rows: u64 = tables.iter().map(last).sum();
        if rows != report.rows {
            let text =
                format!("{} rows were read, and the files have {rows}; nothing was committed", report.rows);
            return Err(Error::new(ErrorKind::Sink, text));
        }
        Ok(tables)
    }

    /// A table with the files that this run has written for it, behind those of earlier runs that stay.
    ///
    /// # Errors
    ///
    /// A file has no name or no checksum.
    pub(crate) fn of(&self, plan: &Plan, files: &[FileReport]) -> Result<ManifestTable> {
        let (schema, name) = schema_and_table(plan);
        let task = self.tasks.iter().find(|task| task.subject.is(schema, name)).ok_or_else(unnamed)?;
        let before = task.before.as_ref();
        let mut increments = before.map(|before| before.increments.clone()).unwrap_or_default();
        // An increment without rows is a later look at the same rows.
        if increments
            .last()
            .is_some_and(|last| last.rows == 0 && last.rows_rejected == 0 && last.mode != "full")
        {
            increments.pop();
        }
        let increment = increments.len();
        let begun = self.files.begun();
        let file = |file: &FileReport| {
            let FileReport { path, rows, bytes, row_groups, sha256, ranges, .. } = file.clone();
            let Begun { path, partition, .. } =
                path.and_then(|given| begun.get(&given)).ok_or_else(unnamed)?.clone();
            let sha256 = sha256.ok_or_else(unnamed)?;
            Ok(ManifestFile { path, rows, bytes, sha256, row_groups, increment, partition, columns: ranges })
        };
        let new = files.iter().map(file).collect::<Result<Vec<_>>>()?;
        let rows = new.iter().map(|file| file.rows).sum();
        let mut files = before.map(|before| before.files.clone()).unwrap_or_default();
        files.extend(new.into_iter().filter(|file| before.is_none() || file.rows > 0));
        increments.push(Increment {
            run_id: self.run_id.clone(),
            snapshot: self.snapshot.clone(),
            started: self.started.clone(),
            mode: task.mode.to_owned(),
            rows,
            rows_rejected: 0,
        });
        Ok(ManifestTable {
            query_sha256: task.query_sha256(),
            only: self.only && plan.relation().is_some(),
            filtered: task.filter.is_some(),
            columns_chosen: task.columns.is_some(),
            rows: files.iter().map(|file| file.rows).sum(),
            files,
            partition_by: ManifestPartition::all_of(&task.partition_by),
            increments,
            state: task.state.clone(),
            version: task.version,
            ..ManifestTable::of_plan(plan)
        })
    }
}

fn unnamed() -> Error {
    Error::new(ErrorKind::Sink, "a file of the run has no name or no checksum; nothing was committed")
}
