//! The rows to load, and the check that they arrived.

use std::path::Path;
use std::process::Command;

use pgarrow::{ArrayForm, ExportOptions, Source, TypeOptions};
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use tempfile::TempDir;

use crate::server::Database;
use crate::workloads::{Workload, make_visible};
use crate::{Result, folders};

/// The table to load.
pub(crate) const LOADED: &str = "bench_loaded";
/// Empties the table.
pub(crate) const EMPTY: &str = "TRUNCATE bench_loaded";

/// Rows: the table that has them, and files of them.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) table: String,
    pub(crate) count: u64,
    pub(crate) columns: usize,
    /// The folder of `rows.bin`, `rows.arrow` and `rows.parquet`.
    pub(crate) folder: TempDir,
    sum: String,
}

impl Rows {
    /// Makes a table of exactly this many rows of the workload, files of them, and an empty table like it.
    pub(crate) fn prepare(
        database: &mut Database,
        workload: &Workload,
        count: u64,
        psql: &Path,
    ) -> Result<Self> {
        let table = format!("bench_load_{}_{count}", workload.name);
        if database.value(&format!("SELECT to_regclass('{table}')::text"))?.is_none() {
            // A little more, since lineitem has no exact number of rows.
            let scale = (1.02 * count as f64 / workload.rows_at_1()).max(0.001);
            let whole = workload.prepare(database, scale)?;
            let whole = whole.tables.first().ok_or("a workload without tables")?;
            database.execute(&format!(
                "CREATE TABLE {table} (LIKE {whole} INCLUDING ALL) WITH (autovacuum_enabled = off); \
                 INSERT INTO {table} SELECT * FROM {whole} LIMIT {count}"
            ))?;
            database.execute(&format!("VACUUM (FREEZE, ANALYZE) {table}"))?;
        }
        // Exports of it read pages.
        make_visible(database, std::slice::from_ref(&table))?;
        // Only the loaders may work.
        database.execute(&format!(
            "DROP TABLE IF EXISTS {LOADED}; \
             CREATE TABLE {LOADED} (LIKE {table} INCLUDING ALL) WITH (autovacuum_enabled = off)"
        ))?;
        let sql = format!(
            "SELECT count(*)::text FROM pg_attribute WHERE attrelid = '{LOADED}'::regclass AND attnum > 0"
        );
        let columns = database.value(&sql)?.ok_or("no columns")?.parse()?;
        let (found, sum) = sum(database, &table)?;
        if found != count {
            return Err(format!("{table} has {found} rows").into());
        }
        let rows = Self { table, count, columns, folder: tempfile::tempdir()?, sum };
        rows.write_files(database.url(), psql)?;
        Ok(rows)
    }

    /// Writes the files that the loaders load.
    fn write_files(&self, url: &str, psql: &Path) -> Result<()> {
        let (table, folder) = (&self.table, self.folder.path());
        let copy = format!("\\copy {table} to '{}' (format binary)", folder.join("rows.bin").display());
        folders::output(Command::new(psql).args(["-X", "-q", "-c", &copy, url]))?;
        for is_parquet in [false, true] {
            let options = ExportOptions::default().with_order(true).with_types(types());
            let run = Source::connect_blocking(url)?.table(table).options(options).open()?;
            let path = folder.join(if is_parquet { "rows.parquet" } else { "rows.arrow" });
            let (output, schema) = (Output::file(path, false)?, run.schema().clone());
            let sink: Box<dyn Sink> = match is_parquet {
                true => Box::new(ParquetSink::create(output, schema, ParquetOptions::default())?),
                false => Box::new(IpcSink::create(output, schema, IpcOptions::default())?),
            };
            run.write_to(sink)?;
        }
        Ok(())
    }

    /// The bytes that psql sends: those of COPY in binary.
    pub(crate) fn copy_bytes(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.folder.path().join("rows.bin"))?.len())
    }

    /// Checks that the loaded table has these rows, by the sum of their hashes.
    ///
    /// # Errors
    ///
    /// It has other rows.
    pub(crate) fn compare(&self, database: &mut Database) -> Result<()> {
        let (count, sum) = sum(database, LOADED)?;
        match (count == self.count, sum == self.sum) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("{count} rows were loaded of {}", self.count).into()),
            (true, false) => Err("other values were loaded".into()),
        }
    }

    /// Checks that it has the same number of rows, which is much faster.
    ///
    /// # Errors
    ///
    /// It has another number of rows.
    pub(crate) fn count_again(&self, database: &mut Database) -> Result<()> {
        let count = database.value(&format!("SELECT count(*)::text FROM {LOADED}"))?;
        match count == Some(self.count.to_string()) {
            true => Ok(()),
            false => Err(format!("{} rows were loaded of {}", count.unwrap_or_default(), self.count).into()),
        }
    }
}

/// The form in which arrays are exported: with their bounds, so that nothing is lost.
pub(crate) fn types() -> TypeOptions {
    TypeOptions { arrays: ArrayForm::Shaped, ..TypeOptions::default() }
}

/// The number of rows of a table, and the sum of the hashes of their text, in which NULL is not the empty
/// string. The order of rows does not matter.
fn sum(database: &mut Database, table: &str) -> Result<(u64, String)> {
    let sql =
        format!("SELECT count(*)::text, sum(hashtextextended(t::text, 0)::numeric)::text FROM {table} t");
    match database.row(&sql)?.as_slice() {
        [Some(count), sum] => Ok((count.parse()?, sum.clone().unwrap_or_default())),
        found => Err(format!("{table} has no sum: {found:?}").into()),
    }
}
