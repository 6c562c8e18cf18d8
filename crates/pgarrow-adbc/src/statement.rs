//! `PgarrowStatement`: SQL, bound values and options; what executes them.

use std::sync::{Arc, Mutex};

use adbc_core::error::Error;
use adbc_core::options::{OptionStatement, OptionValue};
use adbc_core::{CancelHandle, Optionable, PartitionedResult, Statement};
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{Schema, SchemaRef};
use pgarrow_export::driver::{Outline, ResultColumns, SessionRows};
use pgarrow_protocol::{Execution, Portal, Session, TransactionStatus};
use pgarrow_session::Cancel;

use crate::binding::{Rows, Values, nothing_bound, wanted_types};
use crate::error::{Result, invalid_argument, invalid_state, not_implemented, of_engine, of_wire};
use crate::ingest::Ingest;
use crate::link::{Held, Link, cancelled_or};
use crate::operation::{Operation, Running};
use crate::partitions::{Parallel, Partitions};
use crate::prepared::{Prepared, SharedPrepared, of};
use crate::results::{self, Live, Progress, ResultReader, Shared};
use crate::settings::Settings;
use crate::value::{double, flag, int, text, unset};

/// A statement of a connection. Its executions have the connection's session one after the other.
pub struct PgarrowStatement {
    link: Arc<Link>,
    settings: Settings,
    sql: Option<String>,
    values: Values,
    ingest: Ingest,
    prepared: Option<SharedPrepared>,
    /// The caller has asked for it.
    is_to_be_prepared: bool,
    /// The last result.
    result: Option<Arc<Shared>>,
    partitions: Option<Partitions>,
    operation: Operation,
    progress: Arc<Progress>,
}

impl std::fmt::Debug for PgarrowStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgarrowStatement").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

impl PgarrowStatement {
    pub(crate) fn new(link: &Arc<Link>, settings: Settings) -> Self {
        Self {
            link: Arc::clone(link),
            settings,
            sql: None,
            values: Values::None,
            ingest: Ingest::default(),
            prepared: None,
            is_to_be_prepared: false,
            result: None,
            partitions: None,
            operation: Operation::default(),
            progress: Arc::default(),
        }
    }

    /// Ends what earlier executions have left.
    fn end_earlier(&mut self) {
        if let Some(result) = self.result.take() {
            result.end("its statement was executed again");
        }
        self.partitions = None;
        self.progress = Arc::default();
    }

    fn sql(&self) -> Result<&str> {
        self.sql.as_deref().ok_or_else(|| invalid_state("the statement has no SQL: set a query first"))
    }

    /// What the SQL is, if it can be run at all.
    fn outline(&self) -> Result<Outline> {
        let outline = Outline::of(self.sql()?).map_err(of_engine)?;
        if outline.is_client_copy {
            return Err(not_implemented(
                "COPY between the server and its client has no place in ADBC: execute the query, or bind data and ingest it",
            ));
        }
        Ok(outline)
    }

    /// Does something with the session, under a cancel of this statement.
    fn with<T>(&self, run: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let (lent, mut session) = self.link.take()?;
        let (cancel, running) = self.begins();
        let attached = cancel.attach(&session);
        let result = run(&mut session);
        drop(attached);
        drop(running);
        lent.give_back(session);
        result.map_err(|error| cancelled_or(&cancel, error))
    }

    /// A cancel for what is done now, and that it can be stopped by it.
    fn begins(&self) -> (Cancel, [Running; 2]) {
        let cancel = self.link.cancel();
        let running = [self.link.operation().begins(&cancel), self.operation.begins(&cancel)];
        (cancel, running)
    }

    /// The statement as the server has parsed it; parsed now, if it was not, or means something else by now.
    fn ready(&mut self, session: &mut Session) -> Result<SharedPrepared> {
        let sql = self.sql()?;
        let kept = self.prepared.as_ref().filter(|prepared| of(prepared).is_of(sql)).cloned();
        let is_named = self.is_to_be_prepared;
        let mut ready = match kept.filter(|prepared| of(prepared).is_named() || !is_named) {
            Some(prepared) => {
                // Others have had the session since.
                of(&prepared).is_no_longer_parsed();
                prepared
            }
            None => Arc::new(Mutex::new(Prepared::new(&self.link, session, sql, is_named, &[])?)),
        };
        // A parameter of which nothing is known is a text for the server. The bound values know better.
        if let Some(schema) = self.values.schema() {
            let types = wanted_types(of(&ready).inferred(), &schema);
            if types != of(&ready).types() {
                let other = of(&ready).with_types(session, &types)?;
                ready = Arc::new(Mutex::new(other));
            }
        }
        self.prepared = Some(Arc::clone(&ready));
        Ok(ready)
    }

    /// The bound values for a statement's parameters; `None` if it has no parameters, and nothing is bound.
    fn bound(&mut self, session: &mut Session, prepared: &SharedPrepared) -> Result<Option<Rows>> {
        let parameters = of(prepared).parameter_oids().len();
        match self.values.take() {
            None if parameters > 0 => Err(nothing_bound(parameters)),
            None => Ok(None),
            Some(values) => Ok(Some(Rows::new(values, &of(prepared).parameters(session)?)?)),
        }
    }

    /// Begins to run the SQL; the rows are to be read from the portal.
    fn begin_rows(&mut self, session: &mut Session, outline: &Outline) -> Result<Begun> {
        self.link.begin_if_needed(session)?;
        let prepared = self.ready(session)?;
        let columns = of(&prepared).columns(session, &self.settings)?;
        let mut values = self.bound(session, &prepared)?;
        let is_in_block = session.transaction_status() != TransactionStatus::Idle;
        // In a transaction that has failed, the server says so.
        let in_parts = session.transaction_status() == TransactionStatus::InTransaction
            && columns.is_some()
            && !self.settings.has_whole_results();
        let part_rows = in_parts.then(SessionRows::first_part_rows);
        let text_columns = columns.as_ref().map(|columns| columns.text_columns().to_vec());
        let text_columns = text_columns.unwrap_or_default();
        let mut bytes = Vec::new();
        loop {
            let parameters = match &mut values {
                None => Vec::new(),
                Some(values) => match values.next(&mut bytes)? {
                    Some(parameters) => parameters,
                    None => return Ok(Begun::Over(Prepared::schema(columns.as_ref()))),
                },
            };
            let portal = of(&prepared).run(session, &parameters, &text_columns, part_rows)?;
            let Some(columns) = columns else {
                self.link.has_run(portal.command());
                match values {
                    Some(_) => continue,
                    None => return Ok(Begun::Over(Prepared::schema(None))),
                }
            };
            return Ok(Begun::Rows(Box::new(ToRead {
                portal,
                columns,
                more: values.map(|values| (prepared, values)),
                text_columns,
                part_rows,
                may_cancel: !outline.may_write && !is_in_block,
            })));
        }
    }

    /// The rows of the SQL, on the connection's session.
    fn rows(&mut self, outline: &Outline) -> Result<ResultReader> {
        let (lent, mut session) = self.link.take()?;
        let (cancel, running) = self.begins();
        let attached = cancel.attach(&session);
        let begun = self.begin_rows(&mut session, outline);
        drop(attached);
        let ToRead { portal, columns, more, text_columns, part_rows, may_cancel } = match begun {
            Ok(Begun::Rows(rows)) => *rows,
            other => {
                drop(running);
                lent.give_back(session);
                return match other {
                    Ok(Begun::Over(schema)) => Ok(ResultReader::empty(schema)),
                    Ok(Begun::Rows(_)) => Err(invalid_state("a result without rows")),
                    Err(error) => Err(cancelled_or(&cancel, error)),
                };
            }
        };
        let live = Live {
            link: Arc::clone(&self.link),
            lent,
            session,
            portal,
            rows: columns.rows(),
            more,
            text_columns,
            part_rows,
            may_cancel,
            cancel,
            running,
            progress: Arc::clone(&self.progress),
        };
        let (reader, shared) = results::begin(live, Arc::clone(columns.schema()))?;
        self.result = Some(shared);
        Ok(reader)
    }

    /// Runs SQL whose rows nobody looks at, without parameters.
    fn run_plainly(&self, outline: &Outline) -> Result<Option<u64>> {
        let sql = self.sql()?;
        self.with(|session| {
            self.link.begin_if_needed(session)?;
            // The simple protocol alone takes several statements.
            if outline.statements > 1 {
                let run = session.execute(sql).map_err(of_wire);
                self.link.forget();
                return run.map(|()| None);
            }
            let execution = Execution {
                parse: Some((sql, &[])),
                any_columns: true,
                text_columns: &[true],
                ..Execution::default()
            };
            let mut portal = session.run(&execution).map_err(of_wire)?;
            let counted = results::discard(&mut portal, session)?;
            self.link.has_run(portal.command());
            Ok(counted)
        })
    }

    /// Runs a statement with each of the bound values, all in one transaction.
    fn run_with_values(&mut self, session: &mut Session, outline: &Outline) -> Result<Option<u64>> {
        self.link.begin_if_needed(session)?;
        let prepared = self.ready(session)?;
        let Some(mut values) = self.bound(session, &prepared)? else {
            let mut portal = of(&prepared).run_for_no_rows(session, &[])?;
            let counted = results::discard(&mut portal, session)?;
            self.link.has_run(portal.command());
            return Ok(counted);
        };
        let returns_rows = of(&prepared).description.columns.is_some();
        if !returns_rows {
            let counted = self.run_in_bulk(session, &prepared, &mut values);
            self.link.has_run(Some(&outline.command));
            return counted.map(Some);
        }
        let is_own = session.transaction_status() == TransactionStatus::Idle;
        if is_own {
            session.execute("BEGIN").map_err(of_wire)?;
            of(&prepared).is_no_longer_parsed();
        }
        let counted = self.run_one_by_one(session, &prepared, &mut values);
        self.link.has_run(Some(&outline.command));
        if is_own {
            let ended = match &counted {
                Ok(_) => session.commit(),
                Err(_) => session.execute("ROLLBACK"),
            };
            // What went wrong first says more.
            if counted.is_ok() {
                ended.map_err(of_wire)?;
            }
        }
        counted
    }

    fn run_in_bulk(
        &self,
        session: &mut Session,
        prepared: &SharedPrepared,
        values: &mut Rows,
    ) -> Result<u64> {
        let (sql, types) = (self.sql()?, of(prepared).parameter_oids().to_vec());
        let mut bulk = session.bulk_as(sql, &types, &values.are_texts()).map_err(of_wire)?;
        let mut n_rows = 0;
        while values.write_next(bulk.buffer())? {
            bulk.execute().map_err(of_execution)?;
            n_rows += 1;
            self.progress.note(n_rows);
        }
        let counted = bulk.finish().map_err(of_execution)?;
        self.progress.ended(n_rows);
        Ok(counted)
    }

    fn run_one_by_one(
        &self,
        session: &mut Session,
        prepared: &SharedPrepared,
        values: &mut Rows,
    ) -> Result<Option<u64>> {
        let (mut counted, mut bytes) = (None, Vec::new());
        while let Some(parameters) = values.next(&mut bytes)? {
            let mut portal = of(prepared).run_for_no_rows(session, &parameters)?;
            if let Some(rows) = results::discard(&mut portal, session)? {
                counted = Some(counted.unwrap_or(0_u64).saturating_add(rows));
            }
        }
        Ok(counted)
    }

    /// Loads what is bound into the target table.
    fn load(&mut self) -> Result<u64> {
        let Some(values) = self.values.take() else {
            return Err(invalid_state("nothing is bound: bind the data that is to be ingested"));
        };
        let operations = [self.link.operation(), &self.operation];
        self.ingest.run(&self.link, values, &operations, &self.progress)
    }
}

/// What became of a statement when it was begun.
enum Begun {
    Rows(Box<ToRead>),
    /// It returns no rows, or was run with no values at all.
    Over(SchemaRef),
}

struct ToRead {
    portal: Portal,
    columns: ResultColumns,
    more: Option<(SharedPrepared, Rows)>,
    text_columns: Vec<bool>,
    part_rows: Option<u32>,
    may_cancel: bool,
}

/// An error of one of many executions says which.
fn of_execution(error: pgarrow_protocol::Error) -> Error {
    let execution = error.failed_execution();
    let mut converted = of_wire(error);
    if let Some(execution) = execution {
        converted.message = format!("row {} of the bound values: {}", execution + 1, converted.message);
    }
    converted
}

impl Statement for PgarrowStatement {
    fn bind(&mut self, batch: RecordBatch) -> Result<()> {
        self.values = Values::Batch(batch, false);
        Ok(())
    }

    fn bind_stream(&mut self, reader: Box<dyn RecordBatchReader + Send>) -> Result<()> {
        self.values = Values::Stream(reader);
        Ok(())
    }

    fn execute(&mut self) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        self.end_earlier();
        if self.ingest.has_target() {
            self.load()?;
            return Ok(Box::new(ResultReader::empty(Arc::new(Schema::empty()))));
        }
        let outline = self.outline()?;
        if self.settings.readers().is_some_and(|readers| readers > 1) {
            let read = Parallel { link: &self.link, settings: &self.settings, outline: &outline };
            let (cancel, running) = self.begins();
            return read.reader(self.sql()?, self.values.is_some(), &cancel, running);
        }
        Ok(Box::new(self.rows(&outline)?))
    }

    fn execute_update(&mut self) -> Result<Option<i64>> {
        self.end_earlier();
        let counted = if self.ingest.has_target() {
            Some(self.load()?)
        } else {
            let outline = self.outline()?;
            match self.values.is_some() || self.is_to_be_prepared || outline.parameters > 0 {
                false => self.run_plainly(&outline)?,
                true => {
                    let (lent, mut session) = self.link.take()?;
                    let (cancel, running) = self.begins();
                    let attached = cancel.attach(&session);
                    let run = self.run_with_values(&mut session, &outline);
                    drop(attached);
                    drop(running);
                    lent.give_back(session);
                    run.map_err(|error| cancelled_or(&cancel, error))?
                }
            }
        };
        Ok(counted.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX)))
    }

    fn execute_schema(&mut self) -> Result<Schema> {
        self.end_earlier();
        if self.ingest.has_target() {
            return Err(invalid_state("an ingestion has no result"));
        }
        self.outline()?;
        let (lent, mut session) = self.link.take()?;
        let described = self.link.begin_if_needed(&mut session).and_then(|()| {
            let prepared = self.ready(&mut session)?;
            let columns = of(&prepared).columns(&mut session, &self.settings)?;
            Ok(Prepared::schema(columns.as_ref()))
        });
        lent.give_back(session);
        described.map(|schema| schema.as_ref().clone())
    }

    fn execute_partitions(&mut self) -> Result<PartitionedResult> {
        self.end_earlier();
        if self.ingest.has_target() {
            return Err(invalid_state("an ingestion has no partitions"));
        }
        let outline = self.outline()?;
        let read = Parallel { link: &self.link, settings: &self.settings, outline: &outline };
        let (cancel, running) = self.begins();
        let planned = read.partitions(self.sql()?, self.values.is_some(), &cancel);
        drop(running);
        let (partitions, result) = planned.map_err(|error| cancelled_or(&cancel, error))?;
        self.partitions = Some(partitions);
        Ok(result)
    }

    fn get_parameter_schema(&self) -> Result<Schema> {
        let Some(prepared) = self.prepared.as_ref().filter(|_| self.is_to_be_prepared) else {
            return Err(invalid_state("the statement is not prepared: prepare it first"));
        };
        self.with(|session| of(prepared).parameter_schema(session))
    }

    fn prepare(&mut self) -> Result<()> {
        self.end_earlier();
        self.outline()?;
        self.is_to_be_prepared = true;
        let (lent, mut session) = self.link.take()?;
        let (cancel, running) = self.begins();
        let attached = cancel.attach(&session);
        let ready = self.link.begin_if_needed(&mut session).and_then(|()| self.ready(&mut session));
        drop(attached);
        drop(running);
        lent.give_back(session);
        ready.map(drop).map_err(|error| cancelled_or(&cancel, error))
    }

    fn set_sql_query(&mut self, query: impl AsRef<str>) -> Result<()> {
        self.sql = Some(query.as_ref().to_owned());
        self.values.forget_used();
        self.ingest.clear_target();
        self.is_to_be_prepared = false;
        Ok(())
    }

    fn set_substrait_plan(&mut self, _plan: impl AsRef<[u8]>) -> Result<()> {
        Err(not_implemented("PostgreSQL runs SQL, and no Substrait plans"))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        Box::new(self.operation.clone())
    }
}

impl Optionable for PgarrowStatement {
    type Option = OptionStatement;

    fn set_option(&mut self, key: Self::Option, value: OptionValue) -> Result<()> {
        let name = key.as_ref().to_owned();
        match key {
            OptionStatement::IngestMode
            | OptionStatement::TargetTable
            | OptionStatement::TargetCatalog
            | OptionStatement::TargetDbSchema
            | OptionStatement::Temporary => {
                self.ingest.set(&key, &value)?;
                if self.ingest.has_target() {
                    self.values.forget_used();
                    self.sql = None;
                    self.is_to_be_prepared = false;
                }
                Ok(())
            }
            OptionStatement::Incremental => match flag(&name, &value)? {
                false => Ok(()),
                true => Err(not_implemented(
                    "partitions are not handed out one by one: all are known when the snapshot is taken",
                )),
            },
            OptionStatement::Progress | OptionStatement::MaxProgress => {
                Err(invalid_argument(format!("option {name} can be read, and not set")))
            }
            _ => self.settings.set(&name, &text(&name, &value)?),
        }
    }

    fn get_option_string(&self, key: Self::Option) -> Result<String> {
        let name = key.as_ref();
        match &key {
            OptionStatement::Incremental => Ok("false".to_owned()),
            OptionStatement::Progress => Ok(self.progress.rows().to_string()),
            OptionStatement::MaxProgress => {
                Ok(self.progress.end().map_or("-1".to_owned(), |rows| rows.to_string()))
            }
            OptionStatement::Other(_) => {
                self.settings.get(name).map(str::to_owned).ok_or_else(|| unset(name))
            }
            _ => self.ingest.get(&key).ok_or_else(|| unset(name)),
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
