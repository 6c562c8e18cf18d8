//! `Extract`: one export, described and then planned.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use pgarrow_catalog::Relation;
use pgarrow_session::{Error, Result, background};
use pgarrow_types::OpaqueColumns;

use crate::description::Description;
use crate::options::ExportOptions;
use crate::plan::Plan;
use crate::run::Run;
use crate::slice::Slice;
use crate::source::Source;
use crate::stream::{BatchReader, BatchStream};
use crate::under::SharedSnapshot;

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

/// What the caller asked for, apart from the source.
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
    Tables(Named),
    Query(String),
    Slice(Box<Slice>),
}

/// Tables by their names, all tables of schemas, and those that match a pattern; without the excluded ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    pub(crate) names: Vec<String>,
    pub(crate) schemas: Vec<String>,
    pub(crate) patterns: Vec<String>,
    pub(crate) excluded: Vec<String>,
    /// What is read of the tables that match a pattern.
    pub(crate) selections: Vec<(String, TableSelection)>,
    /// Queries beside them.
    pub(crate) queries: Vec<NamedQuery>,
    pub(crate) check: Option<Check>,
    /// The columns of single tables that are left undecoded, by schema and name.
    pub(crate) opaque: HashMap<(String, String), OpaqueColumns>,
}

/// A query that is read beside tables, under their snapshot. See [`Tables::query`].
#[derive(Clone, Debug)]
#[must_use]
pub struct NamedQuery {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) split_on: Option<String>,
    pub(crate) opaque: OpaqueColumns,
}

impl NamedQuery {
    /// One SELECT, VALUES, TABLE or WITH. `name` tells it from tables and other queries: letters, digits, `_`
    /// and `-`.
    pub fn new(name: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { name: name.into(), sql: sql.into(), split_on: None, opaque: OpaqueColumns::default() }
    }

    /// Cuts its rows into ranges of this column of its result: [`ExportOptions::with_split_on`].
    pub fn split_on(mut self, column: impl Into<String>) -> Self {
        self.split_on = Some(column.into());
        self
    }

    /// Leaves these columns of its result undecoded, as [`ExportOptions::with_opaque`] does for all queries
    /// and tables.
    pub fn with_opaque(mut self, columns: OpaqueColumns) -> Self {
        self.opaque = columns;
        self
    }

    /// What it is called in messages and reports: `query daily_totals`. No table has such a name, since
    /// theirs have a dot.
    pub(crate) fn subject(&self) -> String {
        format!("query {}", self.name)
    }
}

/// What is read of one of many tables: which columns, and which rows. See [`Tables::select`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TableSelection {
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) filter: Option<String>,
    pub(crate) parameters: Vec<Option<String>>,
}

impl TableSelection {
    /// All columns and all rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these columns: [`Extract::columns`].
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Only the rows for which this condition holds: [`Extract::filter`].
    pub fn filter(mut self, condition: impl Into<String>) -> Self {
        self.filter = Some(condition.into());
        self
    }

    /// Binds the next parameter of the filter: [`Extract::bind`].
    pub fn bind(mut self, value: Option<impl ToString>) -> Self {
        self.parameters.push(value.map(|value| value.to_string()));
        self
    }
}

impl Request {
    fn new(what: What) -> Self {
        Self {
            what,
            columns: None,
            filter: None,
            parameters: Vec::new(),
            only: false,
            limit: None,
            options: ExportOptions::default(),
        }
    }

    /// Plans the request on a session of the source. Blocks.
    fn start(mut self, source: &Source) -> Result<Run> {
        source.complete(&mut self.options);
        let connecting = Instant::now();
        let cancel = source.cancel().child();
        let session = source.pool().take(&cancel)?;
        self.open(source.pool(), session, connecting.elapsed(), &cancel)
    }

    /// The same, from async code.
    async fn start_async(mut self, source: Source) -> Result<Run> {
        source.complete(&mut self.options);
        let connecting = Instant::now();
        let cancel = source.cancel().child();
        let session = source.pool().take_in_background(&cancel).await?;
        let connect = connecting.elapsed();
        let of_run = cancel.clone();
        background::run(&cancel, move || self.open(source.pool(), session, connect, &of_run)).await
    }
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
        Self { source, request: Request::new(what) }
    }

    #[cfg(test)]
    pub(crate) fn into_request(self) -> Request {
        self.request
    }

    /// Reads only these columns of a table, in this order. Exact names. Default: all. An empty list gives
    /// batches with a number of rows and no columns.
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.request.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads only the rows of a table for which this SQL condition holds. It runs under the connection's own
    /// search path and time zone. `now()` and similar calls give one time in the whole export, that of its
    /// transaction. If anything else in the condition may differ between sessions, one connection reads all.
    /// Its parameters (`$1`, `$2`, …) are [bound](Self::bind).
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

    /// Reads at most `rows` rows: the first that come, by one connection, like `LIMIT`. The server chooses
    /// them, unless a query has an ORDER BY. Default: all.
    pub fn limit(mut self, rows: u64) -> Self {
        self.request.limit = Some(rows);
        self
    }

    /// Binds the next parameter of a query or a filter (`$1`, `$2`, …): a value's text form, or `None` for
    /// NULL.
    ///
    /// The server decides the parameter's type, as it would for a prepared statement. COPY takes no
    /// parameters, so the value becomes a quoted literal cast to that type.
    pub fn bind(mut self, value: Option<impl ToString>) -> Self {
        self.request.parameters.push(value.map(|value| value.to_string()));
        self
    }

    /// Batches, types and settings of the session.
    pub fn options(mut self, options: ExportOptions) -> Self {
        self.request.options = options;
        self
    }

    /// Leaves these columns undecoded: [`ExportOptions::with_opaque`] on top of the
    /// [`options`](Self::options).
    pub fn with_opaque(mut self, columns: OpaqueColumns) -> Self {
        self.request.options = self.request.options.with_opaque(columns);
        self
    }

    /// The same with columns that somebody will know: [`ExportOptions::with_opaque_from`] on top of the
    /// [`options`](Self::options).
    pub fn with_opaque_from(
        mut self,
        ask: impl Fn() -> Result<OpaqueColumns> + Send + Sync + 'static,
    ) -> Self {
        self.request.options = self.request.options.with_opaque_from(ask);
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

    /// Plans the export and starts it as a reader of batches. Blocks.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn reader(self) -> Result<BatchReader> {
        self.open()?.into_reader()
    }

    /// What the export would read: schema, estimates, slices, as they are now. Takes no lock and no snapshot,
    /// reads no rows, and leaves no transaction. Waits for the server; from async code, call
    /// [`describe_async`](Self::describe_async).
    ///
    /// Takes one round trip for a table and two for a query, once the source knows whether the server exports
    /// snapshots. It takes more for a filter, parameters, a column to split on (whose ranges may have to be
    /// read, as [`open`](Self::open) reads them), and types that are not built in, arrays included.
    ///
    /// The server looks at sizes and parses queries. For that it waits until no session has the tables locked
    /// exclusively ([`ExportOptions::with_lock_timeout`]); nothing stays locked. Only opening the export
    /// shows whether the role may read the rows of a table.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), as far as a description finds them.
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for a slice, and for a numeric whose precision only
    /// reading can find ([`NumericForm::Scan`](crate::NumericForm::Scan)).
    pub fn describe(&self) -> Result<Description> {
        let Self { source, mut request } = self.clone();
        source.complete(&mut request.options);
        request.options.learn_opaque()?;
        let cancel = source.cancel().child();
        let session = source.pool().borrow(&cancel)?;
        request.describe(source.pool(), session, &cancel)
    }

    /// The same, from async code of any runtime. Dropping the future before it is done cancels it.
    ///
    /// # Errors
    ///
    /// As for [`describe`](Self::describe).
    pub async fn describe_async(&self) -> Result<Description> {
        let extract = self.clone();
        let cancel = extract.source.cancel().child();
        let of_task = cancel.clone();
        background::run(&cancel, move || {
            let Self { source, mut request } = extract;
            source.complete(&mut request.options);
            request.options.learn_opaque()?;
            let session = source.pool().borrow(&of_task)?;
            request.describe(source.pool(), session, &of_task)
        })
        .await
    }

    /// Plans the export: resolves names, begins the transaction, locks, takes the snapshot. Waits for the
    /// server; from async code, call [`open_async`](Self::open_async).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for names that do not exist and options that
    /// contradict each other; what the server refuses; what breaks the connection.
    pub fn open(self) -> Result<Run> {
        self.request.start(&self.source)
    }

    /// The same, from async code of any runtime. Dropping the future before it is done cancels the planning.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn open_async(self) -> Result<Run> {
        self.request.start_async(self.source).await
    }
}

/// An export of many tables under one snapshot, not started yet. See [`Source::tables`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Tables {
    source: Source,
    named: Named,
    only: bool,
    under: Option<SharedSnapshot>,
    options: ExportOptions,
}

/// The caller's check of planned tables.
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
        let named = Named { names, ..Named::default() };
        Self { source, named, only: false, under: None, options: ExportOptions::default() }
    }

    /// Adds a table by its name: [`Source::table`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.named.names.push(name.into());
        self
    }

    /// Adds all tables and materialized views of a schema, partitioned tables as a whole. `name` is the exact
    /// name.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.named.schemas.push(name.into());
        self
    }

    /// Adds the tables and materialized views whose names match a pattern as psql takes it: `sales.*`,
    /// `order_?`. Partitioned tables match as a whole; PostgreSQL's own schemas never match. Without a
    /// schema, a pattern matches what the search path finds by its name alone. Without a wildcard, it is a
    /// name, also of a view.
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.named.patterns.push(pattern.into());
        self
    }

    /// Leaves out what matches a pattern, in whichever way it was named.
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.named.excluded.push(pattern.into());
        self
    }

    /// Says what is read of the tables that match a pattern, among those that the export has. For each table,
    /// one pattern may do so.
    ///
    /// The filters of all tables share the export's one moment: `now()` is the same in all of them.
    pub fn select(mut self, pattern: impl Into<String>, selection: TableSelection) -> Self {
        self.named.selections.push((pattern.into(), selection));
        self
    }

    /// Adds a query, which is read under the snapshot of the tables. There may be queries alone. Its plan has
    /// its name: [`Plan::query_name`]. Choices that are only for tables, such as [`only`](Self::only), do not
    /// concern it.
    pub fn query(mut self, query: NamedQuery) -> Self {
        self.named.queries.push(query);
        self
    }

    /// Reads only each table's own rows, not those of the tables that inherit from it (`ONLY`), so that every
    /// row of a schema is read once. Partitioned tables are still read as a whole. Default: no.
    pub fn only(mut self, only: bool) -> Self {
        self.only = only;
        self
    }

    /// Reads under a snapshot that another session holds ([`Slice::shared_snapshot`]), and takes none of its
    /// own. The session that holds it must have locked all tables that are read, as a [`HeldSnapshot`] of
    /// them has. Once the run is open, it holds the snapshot itself.
    ///
    /// [`HeldSnapshot`]: crate::HeldSnapshot
    pub fn under(mut self, snapshot: SharedSnapshot) -> Self {
        self.under = Some(snapshot);
        self
    }

    /// Batches, types, readers, memory and settings of the sessions, for all tables alike.
    pub fn options(mut self, options: ExportOptions) -> Self {
        self.options = options;
        self
    }

    /// Leaves columns of one table undecoded, as [`ExportOptions::with_opaque`] does for all of them. Exact
    /// names.
    pub fn opaque_of(
        mut self,
        schema: impl Into<String>,
        table: impl Into<String>,
        columns: OpaqueColumns,
    ) -> Self {
        self.named.opaque.insert((schema.into(), table.into()), columns);
        self
    }

    /// Adds a check of the planned tables, for example for types that the output does not have.
    /// [`open`](Self::open) reports the errors it returns together with its own. The check may get fewer
    /// tables than were asked for, if something is wrong with the others.
    pub fn check(mut self, check: impl Fn(&[Plan]) -> Vec<Error> + Send + Sync + 'static) -> Self {
        self.named.check = Some(Check(Arc::new(check)));
        self
    }

    /// The tables that the export has, as they are now, each with the indexes of those of `patterns` that
    /// match it. Locks nothing. Waits for the server.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), as far as they are about names.
    pub fn find(&self, patterns: &[String]) -> Result<Vec<(Relation, Vec<usize>)>> {
        self.source.find_tables(&self.named, patterns, &self.options)
    }

    /// Plans the export of all tables: one transaction, one snapshot. Blocks.
    ///
    /// # Errors
    ///
    /// As for [`Extract::open`]. One error lists the problems of all tables ([`Error::problems`]).
    pub fn open(self) -> Result<Run> {
        let (source, request) = self.into_request();
        request.start(&source)
    }

    /// The same, from async code of any runtime. Dropping the future before it is done cancels the planning.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn open_async(self) -> Result<Run> {
        let (source, request) = self.into_request();
        request.start_async(source).await
    }

    fn into_request(self) -> (Source, Request) {
        let Self { source, named, only, under, mut options } = self;
        let of_queries = named.queries.iter().map(|query| &query.opaque);
        options.has_opaque_tables =
            named.opaque.values().chain(of_queries).any(|columns| !columns.is_empty());
        options.under = under;
        (source, Request { only, options, ..Request::new(What::Tables(named)) })
    }
}
