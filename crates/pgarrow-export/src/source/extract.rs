//! `Extract`: one export, described and then planned.

use std::fmt;
use std::sync::Arc;

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
pub struct Extract<'a> {
    source: &'a Source,
    request: Request,
}

/// What was asked for, independent of the source's lifetime.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) what: What,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) filter: Option<String>,
    pub(crate) parameters: Vec<Option<String>>,
    pub(crate) only: bool,
    pub(crate) options: ExportOptions,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Table(String),
    Query(String),
    Slice(Box<Slice>),
}

impl<'a> Extract<'a> {
    pub(crate) fn of_table(source: &'a Source, name: String) -> Self {
        Self::new(source, What::Table(name))
    }

    pub(crate) fn of_query(source: &'a Source, sql: String) -> Self {
        Self::new(source, What::Query(sql))
    }

    pub(crate) fn of_slice(source: &'a Source, slice: Slice) -> Self {
        Self::new(source, What::Slice(Box::new(slice)))
    }

    fn new(source: &'a Source, what: What) -> Self {
        let options = ExportOptions::default();
        Self {
            source,
            request: Request {
                what,
                columns: None,
                filter: None,
                parameters: Vec::new(),
                only: false,
                options,
            },
        }
    }

    #[cfg(test)]
    pub(crate) fn into_request(self) -> Request {
        self.request
    }

    /// Reads only these columns of a table, in this order. Exact names. Default: all.
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
        let Self { source, request } = self;
        let connecting = std::time::Instant::now();
        let (session, cancel) = (source.session_in_background().await?, source.cancel().child());
        let connect = connecting.elapsed();
        let run = background::run(&cancel.clone(), move || request.open(session, connect, &cancel)).await?;
        BatchStream::start(run)
    }

    /// Plans the export and starts it as a blocking reader of batches.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn reader(self) -> Result<BatchReader> {
        Ok(BatchReader::new(BatchStream::start(self.open()?)?))
    }

    /// Plans the export: resolves names, begins the transaction, locks, takes the snapshot. Waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for names that do not exist and options that contradict each
    /// other; what the server refuses; what breaks the connection.
    pub fn open(self) -> Result<Run> {
        let connecting = std::time::Instant::now();
        let session = self.source.session()?;
        self.request.open(session, connecting.elapsed(), &self.source.cancel().child())
    }
}

/// An export of many tables under one snapshot, not started yet. See [`Source::tables`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Tables<'a> {
    source: &'a Source,
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

impl<'a> Tables<'a> {
    pub(crate) fn new(source: &'a Source, names: Vec<String>) -> Self {
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
        let connecting = std::time::Instant::now();
        let session = self.source.session()?;
        self.request.open(session, connecting.elapsed(), &self.source.cancel().child())
    }
}
