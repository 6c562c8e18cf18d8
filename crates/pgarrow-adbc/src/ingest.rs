//! Bulk ingestion: what is bound is loaded into a table, in the connection's own session and transaction.

use adbc_core::error::{Error, Status};
use adbc_core::options::{IngestMode, OptionStatement, OptionValue};
use arrow_array::RecordBatchReader;
use pgarrow_catalog::quote_identifier;
use pgarrow_encode::Conversions;
use pgarrow_load::{Load, LoadMethod, LoadMode, LoadOptions};
use pgarrow_protocol::{Session, TransactionStatus};
use pgarrow_session::{Connection, ErrorKind};

use crate::error::{
    Result, invalid_argument, invalid_state, not_implemented, of_engine, of_wire, with_state,
};
use crate::link::{Link, cancelled_or};
use crate::operation::Operation;
use crate::results::Progress;
use crate::value::{flag, text};

/// Where data go.
#[derive(Debug, Default)]
pub(crate) struct Ingest {
    mode: Option<IngestMode>,
    table: Option<String>,
    catalog: Option<String>,
    schema: Option<String>,
    temporary: bool,
    /// An ingestion has run since schema or `temporary` was set, so that the next one may replace either by
    /// the other. Statements are used again, and not every caller takes back what the one before had.
    is_used: bool,
}

/// A savepoint of our own, beside that of the load.
const SAVEPOINT: &str = "pgarrow_ingest";

impl Ingest {
    pub(crate) fn has_target(&self) -> bool {
        self.table.is_some()
    }

    pub(crate) fn clear_target(&mut self) {
        self.table = None;
    }

    pub(crate) fn set(&mut self, key: &OptionStatement, value: &OptionValue) -> Result<()> {
        let name = key.as_ref();
        let of_name = || text(name, value).map(|text| Some(text).filter(|text| !text.is_empty()));
        match key {
            OptionStatement::IngestMode => self.mode = Some(IngestMode::try_from(value)?),
            OptionStatement::TargetTable => self.table = of_name()?,
            OptionStatement::TargetCatalog => self.catalog = of_name()?,
            OptionStatement::TargetDbSchema => {
                let schema = of_name()?;
                if schema.is_some() {
                    self.temporary &= !self.is_used;
                    check_schema(schema.is_some(), self.temporary)?;
                    self.is_used = false;
                }
                self.schema = schema;
            }
            OptionStatement::Temporary => {
                let temporary = flag(name, value)?;
                if temporary {
                    self.schema = self.schema.take().filter(|_| !self.is_used);
                    check_schema(self.schema.is_some(), temporary)?;
                    self.is_used = false;
                }
                self.temporary = temporary;
            }
            _ => return Err(not_implemented(format!("there is no option {name}"))),
        }
        Ok(())
    }

    pub(crate) fn get(&self, key: &OptionStatement) -> Option<String> {
        match key {
            OptionStatement::IngestMode => Some(self.mode.unwrap_or(IngestMode::Create).into()),
            OptionStatement::TargetTable => self.table.clone(),
            OptionStatement::TargetCatalog => self.catalog.clone(),
            OptionStatement::TargetDbSchema => self.schema.clone(),
            OptionStatement::Temporary => Some(self.temporary.to_string()),
            _ => None,
        }
    }

    /// Loads all batches. Returns how many rows there were.
    ///
    /// # Errors
    ///
    /// A target that is not there, or is there, or has other columns; errors of the load, of the server and
    /// of the reader. The transaction is then as it was before.
    pub(crate) fn run(
        &mut self,
        link: &Link,
        values: Box<dyn RecordBatchReader + Send>,
        operations: &[&Operation],
        progress: &Progress,
    ) -> Result<u64> {
        self.is_used = true;
        let begun = link.with(|session| self.begin(link, session))?;
        let loaded = self.load(link.connection(), &begun, values, operations, progress);
        link.forget();
        let ended = link.with(|session| begun.end(session, loaded.is_ok()));
        match loaded {
            Ok(rows) => ended.map(|()| rows),
            // What went wrong first says more.
            Err(error) => Err(error),
        }
    }

    /// Begins a transaction, if none is open, and makes room for the target.
    fn begin(&self, link: &Link, session: &mut Session) -> Result<Begun> {
        self.check_catalog(session)?;
        let is_own = session.transaction_status() == TransactionStatus::Idle && link.autocommit();
        match is_own {
            true => session.execute("BEGIN ISOLATION LEVEL READ COMMITTED").map_err(of_wire)?,
            false => {
                link.begin_if_needed(session)?;
                check_isolation(session)?;
            }
        }
        let mut begun = Begun { target: String::new(), mode: LoadMode::Append, is_own, has_savepoint: false };
        match self.prepare(session, &mut begun) {
            Ok(()) => Ok(begun),
            Err(error) => {
                begun.end(session, false)?;
                Err(error)
            }
        }
    }

    fn prepare(&self, session: &mut Session, begun: &mut Begun) -> Result<()> {
        let table = quote_identifier(self.table.as_deref().unwrap_or_default());
        let schema = if self.temporary { Some("pg_temp") } else { self.schema.as_deref() };
        let named = match schema {
            Some(schema) => format!("{}.{table}", quote_identifier(schema)),
            None => table.clone(),
        };
        let exists = |session: &mut Session| -> Result<bool> {
            let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
            let rows = session.query(sql, &[Some(&named)]).map_err(of_wire)?;
            Ok(rows.first().and_then(|row| row.text(0)) == Some("t"))
        };
        begun.target.clone_from(&named);
        match self.mode.unwrap_or(IngestMode::Create) {
            IngestMode::Create => begun.mode = LoadMode::Create,
            IngestMode::Append => {
                if !exists(session)? {
                    let text = format!("the table {named} does not exist");
                    return Err(with_state(Error::with_message_and_status(text, Status::NotFound), "42P01"));
                }
            }
            IngestMode::CreateAppend => {
                if !exists(session)? {
                    begun.mode = LoadMode::Create;
                }
            }
            IngestMode::Replace => {
                // A name without a schema could mean a table elsewhere on the search path.
                if schema.is_none() {
                    let rows = session.query("SELECT pg_catalog.current_schema()", &[]).map_err(of_wire)?;
                    let current = rows.first().and_then(|row| row.text(0));
                    let current = current
                        .ok_or_else(|| invalid_state("no schema of the search path exists: name one"))?;
                    begun.target = format!("{}.{table}", quote_identifier(current));
                }
                session.execute(&format!("SAVEPOINT {SAVEPOINT}")).map_err(of_wire)?;
                begun.has_savepoint = true;
                session.execute(&format!("DROP TABLE IF EXISTS {}", begun.target)).map_err(of_wire)?;
                begun.mode = LoadMode::Create;
            }
        }
        Ok(())
    }

    fn check_catalog(&self, session: &mut Session) -> Result<()> {
        let Some(catalog) = &self.catalog else { return Ok(()) };
        let rows = session.query("SELECT pg_catalog.current_database()", &[]).map_err(of_wire)?;
        let current = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
        match current == catalog {
            true => Ok(()),
            false => Err(invalid_argument(format!(
                "the target's catalog is {catalog:?}, and the connection is to {current:?}: connect to that database"
            ))),
        }
    }

    fn load(
        &self,
        connection: &Connection,
        begun: &Begun,
        values: Box<dyn RecordBatchReader + Send>,
        operations: &[&Operation],
        progress: &Progress,
    ) -> Result<u64> {
        let load = Load::in_transaction(connection, &begun.target).map_err(of_engine)?;
        let options = LoadOptions::default()
            .with_mode(begun.mode)
            .with_method(LoadMethod::Auto)
            .with_conversions(Conversions::Check);
        let load = load.options(options);
        let cancel = load.cancel().clone();
        let running: Vec<_> = operations.iter().map(|operation| operation.begins(&cancel)).collect();
        let loaded = self.fill(load, begun, values, progress);
        drop(running);
        loaded.map_err(|error| cancelled_or(&cancel, error))
    }

    fn fill(
        &self,
        load: Load,
        begun: &Begun,
        values: Box<dyn RecordBatchReader + Send>,
        progress: &Progress,
    ) -> Result<u64> {
        let opened = load.open(values.schema());
        let mut loading = opened.map_err(|error| {
            let is_of_columns = error.kind() == ErrorKind::Options && begun.mode == LoadMode::Append;
            let error = of_engine(error);
            // What the specification says about a table that has other columns than the data.
            if is_of_columns { Error { status: Status::AlreadyExists, ..error } } else { error }
        })?;
        let mut rows = 0_u64;
        for batch in values {
            let batch = batch.map_err(|error| {
                let text = format!("the bound stream cannot be read: {error}");
                Error::with_message_and_status(text, Status::IO)
            })?;
            loading.write(&batch).map_err(of_engine)?;
            rows += batch.num_rows() as u64;
            progress.note(rows);
        }
        loading.finish().map_err(of_engine)?;
        progress.ended(rows);
        Ok(rows)
    }
}

/// An ingestion whose transaction is open.
#[derive(Debug)]
struct Begun {
    /// The table's name in SQL.
    target: String,
    mode: LoadMode,
    /// The transaction is our own, and ends with the ingestion.
    is_own: bool,
    has_savepoint: bool,
}

impl Begun {
    fn end(&self, session: &mut Session, is_good: bool) -> Result<()> {
        match (is_good, self.is_own, self.has_savepoint) {
            (true, true, _) => session.commit().map_err(of_wire),
            (true, false, true) => {
                session.execute(&format!("RELEASE SAVEPOINT {SAVEPOINT}")).map_err(of_wire)
            }
            (false, true, _) => session.execute("ROLLBACK").map_err(of_wire),
            (false, false, true) => {
                let sql = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}");
                session.execute(&sql).map_err(of_wire)
            }
            (_, false, false) => Ok(()),
        }
    }
}

fn check_schema(has_schema: bool, temporary: bool) -> Result<()> {
    match has_schema && temporary {
        true => {
            Err(invalid_argument("a temporary table has a schema of its own: leave out the target's schema"))
        }
        false => Ok(()),
    }
}

/// A load reads the catalog when it has locked the table, so it needs a new snapshot for each statement.
fn check_isolation(session: &mut Session) -> Result<()> {
    let rows = session.query("SELECT pg_catalog.current_setting('transaction_isolation')", &[]);
    let rows = rows.map_err(of_wire)?;
    match rows.first().and_then(|row| row.text(0)) {
        Some("read committed" | "read uncommitted") => Ok(()),
        level => Err(invalid_state(format!(
            "the transaction is {}, and an ingestion needs READ COMMITTED: end the transaction, and set the isolation level",
            level.unwrap_or("of an unknown kind").to_uppercase()
        ))),
    }
}
