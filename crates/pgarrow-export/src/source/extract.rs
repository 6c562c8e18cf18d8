//! `Extract`: one export, described and then planned.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use pgarrow_session::{Error, Result, background};
use pgarrow_types::OpaqueColumns;

use crate::options::ExportOptions;
use crate::plan::Plan;
use crate::run::{Run, TablesRun};
use crate::slice::Slice;
use crate::source::Source;
use crate::stream::{BatchReader, BatchStream};

/// An export of one table or query, not started yet.
///
/// Built with consuming methods; started by [`stream`](Self::stream), [`reader`](Self::reader) or
/// [`open`](Self::open).
#[derive(Clone, Debug)]
#[must_use]
pub struct Extract {
    source: Source,
    request: Request,
}

/// What was asked for, whatever the source.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) what: What,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) filter: Option<String>,
    pub(crate) parameters: Vec<Option<String>>,
    pub(crate) only: bool,
    pub(crate) limit: Option<u64>,
    pub(crate) options: ExportOptions,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Table(String),
    Query(String),
    Slice(Box<Slice>),
}

impl Extract {
    pub(crate) fn of_table(source: Source, name: String) -> Self {
        Self::new(source, What::Table(name))
    }

    pub(crate) fn of_query(source: Source, sql: String) -> Self {
        Self::new(source, What::Query(sql))
    }

    pub(crate) fn of_slice(source: Source, slice: Slice) -> Self {
        Self::new(source, What::Slice(Box::new(slice)))
    }

    fn new(source: Source, what: What) -> Self {
        let options = ExportOptions::default();
        Self {
            source,
            request: Request {
                what,
                columns: None,
                filter: None,
                parameters: Vec::new(),
                only: false,
                limit: None,
                options,
            },
        }
    }

    #[cfg(test)]
    pub(crate) fn into_request(self) -> Request {
        self.request
    }

    /// Reads only these columns of a table, in this order. Exact names. Default: all. None of them (an empty list) gives
    /// batches that have a number of rows and no columns.
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.request.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads only the rows of a table for which this SQL condition holds. It runs under the connection's own
    /// search path and time zone. `now()` and its relatives are one time in all of the export, that of its transaction; what
    /// else may differ between sessions has one connection read all.
    pub fn filter(mut self, condition: impl Into<String>) -> Self {
        self.request.filter = Some(condition.into());
        self
    }

    /// Reads only the table's own rows, not those of the tables that inherit from it (`ONLY`). Default: all.
    ///
    /// For tables; a partitioned table has no rows of its own, so that is an error.
    pub fn only(mut self, only: bool) -> Self {
        self.request.only = only;
        self
    }

    /// Reads at most so many rows: the first ones that come, by one connection, as `LIMIT` does. Which these are is up to
    /// the server, unless a query has an ORDER BY. Default: all.
    pub fn limit(mut self, rows: u64) -> Self {
        self.request.limit = Some(rows);
        self
    }

    /// Binds the next parameter of a query (`$1`, `$2`, …): a value's text form, or `None` for NULL.
    ///
    /// The server decides the parameter's type, as it would for a prepared statement. COPY takes no parameters,
    /// so the value becomes a quoted literal cast to that type.
    pub fn bind(mut self, value: Option<impl ToString>) -> Self {
        self.request.parameters.push(value.map(|value| value.to_string()));
        self
    }

    /// Batches, types and settings of the session.
    pub fn options(mut self, options: ExportOptions) -> Self {
        self.request.options = options;
        self
    }

    /// Leaves these columns undecoded: [`ExportOptions::with_opaque`] on top of the [`options`](Self::options).
    pub fn with_opaque(mut self, columns: OpaqueColumns) -> Self {
        self.request.options = self.request.options.with_opaque(columns);
        self
    }

    /// Plans the export and starts it as a stream of batches, from async code of any runtime.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn stream(self) -> Result<BatchStream> {
        self.open_async().await?.into_stream()
    }

    /// Plans the export and starts it as a reader of batches. Waits.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn reader(self) -> Result<BatchReader> {
        self.open()?.into_reader()
    }

    /// Plans the export: resolves names, begins the transaction, locks, takes the snapshot. Waits for the server; from
    /// async code, call [`open_async`](Self::open_async).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for names that do not exist and options that contradict each
    /// other; what the server refuses; what breaks the connection.
    pub fn open(self) -> Result<Run> {
        let Self { source, request } = self;
        let connecting = Instant::now();
        let cancel = source.cancel().child();
        let session = source.pool().take(&cancel)?;
        request.open(source.pool(), session, connecting.elapsed(), &cancel)
    }

    /// The same, from async code of any runtime. Dropping the future before it is done cancels the planning.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn open_async(self) -> Result<Run> {
        let Self { source, request } = self;
        let connecting = Instant::now();
        let cancel = source.cancel().child();
        let session = source.pool().take_in_background(&cancel).await?;
        let connect = connecting.elapsed();
        let of_run = cancel.clone();
        background::run(&cancel, move || request.open(source.pool(), session, connect, &of_run)).await
    }
}

/// An export of many tables under one snapshot, not started yet. See [`Source::tables`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Tables {
    source: Source,
    pub(crate) request: TablesRequest,
}

#[derive(Clone, Debug)]
pub(crate) struct TablesRequest {
    pub(crate) names: Vec<String>,
    pub(crate) schemas: Vec<String>,
    pub(crate) only: bool,
    pub(crate) options: ExportOptions,
    pub(crate) check: Option<Check>,
}

/// What callers find wrong with planned tables.
#[derive(Clone)]
pub(crate) struct Check(pub(crate) Arc<CheckPlans>);

type CheckPlans = dyn Fn(&[Plan]) -> Vec<Error> + Send + Sync;

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check")
    }
}

impl Tables {
    pub(crate) fn new(source: Source, names: Vec<String>) -> Self {
        let options = ExportOptions::default();
        let request = TablesRequest { names, schemas: Vec::new(), only: false, options, check: None };
        Self { source, request }
    }

    /// Adds all tables and materialized views of a schema: partitioned ones as a whole. The exact name.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.request.schemas.push(name.into());
        self
    }

    /// Reads of each table only its own rows, not those of the tables that inherit from it (`ONLY`), so that every row
    /// of a schema is read once. Partitioned tables are read as a whole all the same. Default: no.
    pub fn only(mut self, only: bool) -> Self {
        self.request.only = only;
        self
    }

    /// Batches, types, readers, memory and settings of the sessions, for all tables alike.
    pub fn options(mut self, options: ExportOptions) -> Self {
        self.request.options = options;
        self
    }

    /// Says what is wrong with tables that could be read, such as a type that the output does not have: an error for
    /// each, which [`open`](Self::open) reports together with its own. It may be given fewer tables than were asked for,
    /// when something is wrong with the others.
    pub fn check(mut self, check: impl Fn(&[Plan]) -> Vec<Error> + Send + Sync + 'static) -> Self {
        self.request.check = Some(Check(Arc::new(check)));
        self
    }

    /// Plans the export of all tables: one transaction, one snapshot. Waits.
    ///
    /// # Errors
    ///
    /// As for [`Extract::open`]. What is wrong with the tables is said of all of them at once ([`Error::problems`]).
    pub fn open(self) -> Result<TablesRun> {
        let Self { source, request } = self;
        let connecting = Instant::now();
        let cancel = source.cancel().child();
        let session = source.pool().take(&cancel)?;
        request.open(source.pool(), session, connecting.elapsed(), &cancel)
    }
}
