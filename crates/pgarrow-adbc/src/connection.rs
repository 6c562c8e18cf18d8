//! `PgarrowConnection`: a session, its transactions, and what the catalog says.

use std::collections::HashSet;
use std::sync::Arc;

use adbc_core::options::{InfoCode, ObjectDepth, OptionConnection, OptionValue};
use adbc_core::{CancelHandle, Connection, Optionable};
use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_schema::Schema;
use pgarrow_protocol::{Config, Session, TransactionStatus};

use crate::error::{Result, invalid_argument, invalid_state, of_wire, with_state};
use crate::link::Link;
use crate::objects::{Wanted, objects};
use crate::settings::Settings;
use crate::statement::PgarrowStatement;
use crate::value::{double, flag, int, text, unset};
use crate::{current, info, partitions, statistics, tables};

type Reader = Box<dyn RecordBatchReader + Send + 'static>;

/// A connection: one session of the server. One statement, or one result that is not read to its end, has it
/// at a time.
#[derive(Debug)]
pub struct PgarrowConnection {
    link: Arc<Link>,
    settings: Settings,
}

impl PgarrowConnection {
    pub(crate) fn new(
        config: &Config,
        settings: Settings,
        opts: impl IntoIterator<Item = (OptionConnection, OptionValue)>,
    ) -> Result<Self> {
        let mut connection = Self { link: Arc::new(Link::connect(config)?), settings };
        for (key, value) in opts {
            connection.set_option(key, value)?;
        }
        Ok(connection)
    }

    fn set_autocommit(&mut self, autocommit: bool) -> Result<()> {
        if autocommit && !self.link.autocommit() {
            // What was done so far stays, as if it had committed itself.
            self.commit_open()?;
        }
        self.link.set_autocommit(autocommit);
        Ok(())
    }

    fn commit_open(&self) -> Result<()> {
        // What is not committed is rolled back, types included.
        self.link.with(commit).inspect_err(|_| self.link.forget())
    }

    fn check_transactions(&self) -> Result<()> {
        match self.link.autocommit() {
            false => Ok(()),
            true => Err(invalid_state(
                "statements commit themselves: turn autocommit off, or run COMMIT and ROLLBACK as statements",
            )),
        }
    }
}

/// Commits the open transaction, if there is one. One that has failed is rolled back, which is an error.
fn commit(session: &mut Session) -> Result<()> {
    match session.transaction_status() {
        TransactionStatus::Idle => Ok(()),
        TransactionStatus::InTransaction => session.commit().map_err(of_wire),
        TransactionStatus::Failed => {
            session.execute("ROLLBACK").map_err(of_wire)?;
            let text = "a statement of the transaction has failed, so it is rolled back and not committed";
            Err(with_state(invalid_state(text), "25P02"))
        }
    }
}

/// One batch as a reader.
fn reader(batch: RecordBatch) -> Reader {
    let schema = batch.schema();
    Box::new(RecordBatchIterator::new([Ok(batch)], schema))
}

impl Connection for PgarrowConnection {
    type StatementType = PgarrowStatement;

    fn new_statement(&mut self) -> Result<Self::StatementType> {
        Ok(PgarrowStatement::new(&self.link, self.settings.for_child()))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        Box::new(self.link.operation().clone())
    }

    fn get_info(&self, codes: Option<HashSet<InfoCode>>) -> Result<Reader> {
        Ok(reader(self.link.with(|session| info::info(session, codes.as_ref()))?))
    }

    fn get_objects(
        &self,
        depth: ObjectDepth,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: Option<&str>,
        table_type: Option<Vec<&str>>,
        column_name: Option<&str>,
    ) -> Result<Reader> {
        let wanted = Wanted {
            depth,
            catalog,
            schema: db_schema,
            table: table_name,
            column: column_name,
            types: table_type.as_deref(),
        };
        Ok(reader(self.link.with(|session| objects(session, &wanted))?))
    }

    fn get_table_schema(
        &self,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: &str,
    ) -> Result<Schema> {
        self.link.with(|session| {
            if let Some(catalog) = catalog.filter(|catalog| !catalog.is_empty())
                && catalog != current::catalog(session)?
            {
                return Err(invalid_argument(format!(
                    "the connection sees the tables of its own database, and not those of {catalog:?}"
                )));
            }
            let db_schema = db_schema.filter(|schema| !schema.is_empty());
            tables::schema(session, db_schema, table_name, &self.settings)
        })
    }

    fn get_table_types(&self) -> Result<Reader> {
        Ok(reader(tables::table_types()?))
    }

    fn get_statistic_names(&self) -> Result<Reader> {
        Ok(reader(statistics::names()))
    }

    fn get_statistics(
        &self,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: Option<&str>,
        _approximate: bool,
    ) -> Result<Reader> {
        let found =
            self.link.with(|session| statistics::statistics(session, catalog, db_schema, table_name))?;
        Ok(reader(found))
    }

    fn commit(&mut self) -> Result<()> {
        self.check_transactions()?;
        self.commit_open()
    }

    /// A result that is still open ends with it.
    fn rollback(&mut self) -> Result<()> {
        self.check_transactions()?;
        self.link.end_result("its transaction was rolled back");
        self.link.forget();
        self.link.with(|session| match session.transaction_status() {
            TransactionStatus::Idle => Ok(()),
            TransactionStatus::InTransaction | TransactionStatus::Failed => {
                session.execute("ROLLBACK").map_err(of_wire)
            }
        })
    }

    fn read_partition(&self, partition: impl AsRef<[u8]>) -> Result<Reader> {
        partitions::read(&self.link, partition.as_ref(), &self.link.cancel())
    }
}

impl Optionable for PgarrowConnection {
    type Option = OptionConnection;

    fn set_option(&mut self, key: Self::Option, value: OptionValue) -> Result<()> {
        let name = key.as_ref().to_owned();
        match key {
            OptionConnection::AutoCommit => self.set_autocommit(flag(&name, &value)?),
            OptionConnection::ReadOnly => {
                let is_read_only = flag(&name, &value)?;
                self.link.with(|session| current::set_read_only(session, is_read_only))
            }
            OptionConnection::CurrentCatalog => {
                let catalog = text(&name, &value)?;
                self.link.with(|session| current::set_catalog(session, &catalog))
            }
            OptionConnection::CurrentSchema => {
                let schema = text(&name, &value)?;
                self.link.forget();
                self.link.with(|session| current::set_schema(session, &schema))
            }
            OptionConnection::IsolationLevel => {
                let level = text(&name, &value)?;
                self.link.with(|session| current::set_isolation(session, &level))
            }
            _ => self.settings.set(&name, &text(&name, &value)?),
        }
    }

    fn get_option_string(&self, key: Self::Option) -> Result<String> {
        let name = key.as_ref();
        match &key {
            OptionConnection::AutoCommit => Ok(self.link.autocommit().to_string()),
            OptionConnection::ReadOnly => {
                self.link.with(|session| Ok(current::is_read_only(session)?.to_string()))
            }
            OptionConnection::CurrentCatalog => self.link.with(current::catalog),
            OptionConnection::CurrentSchema => self.link.with(current::schema),
            OptionConnection::IsolationLevel => self.link.with(current::isolation),
            _ => self.settings.get(name).map(str::to_owned).ok_or_else(|| unset(name)),
        }
    }

    fn get_option_bytes(&self, key: Self::Option) -> Result<Vec<u8>> {
        self.get_option_string(key).map(String::into_bytes)
    }

    fn get_option_int(&self, key: Self::Option) -> Result<i64> {
        let name = key.as_ref().to_owned();
        int(&name, &self.get_option_string(key)?)
    }

    fn get_option_double(&self, key: Self::Option) -> Result<f64> {
        let name = key.as_ref().to_owned();
        double(&name, &self.get_option_string(key)?)
    }
}
