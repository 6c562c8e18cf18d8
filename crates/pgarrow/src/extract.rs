//! `Extract`: one export, described and then planned.

use std::sync::Arc;

use pgarrow_catalog::{
    CatalogError, Relation, RelationName, estimated_rows, format_types, query_columns, quote_identifier,
    resolve, table_columns,
};
use pgarrow_protocol::Session;
use pgarrow_types::PgColumn;

use crate::background;
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::{Keeper, Subject, literal, prepare};
use crate::options::ExportOptions;
use crate::plan::{Plan, arrow_schema, copy_of_query, copy_of_table, select_list, type_warnings};
use crate::run::Run;
use crate::source::Source;
use crate::statement::Statement;
use crate::stream::{BatchReader, BatchStream};

/// An export of one table or query, not started yet.
///
/// Built with consuming methods; started by [`stream`](Self::stream), [`reader`](Self::reader) or
/// [`open`](Self::open).
#[derive(Debug)]
#[must_use]
pub struct Extract<'a> {
    source: &'a Source,
    request: Request,
}

/// What was asked for, independent of the source's lifetime.
#[derive(Clone, Debug)]
struct Request {
    what: What,
    columns: Option<Vec<String>>,
    filter: Option<String>,
    parameters: Vec<Option<String>>,
    options: ExportOptions,
}

#[derive(Clone, Debug)]
enum What {
    Table(String),
    Query(String),
}

impl<'a> Extract<'a> {
    pub(crate) fn of_table(source: &'a Source, name: String) -> Self {
        Self::new(source, What::Table(name))
    }

    pub(crate) fn of_query(source: &'a Source, sql: String) -> Self {
        Self::new(source, What::Query(sql))
    }

    fn new(source: &'a Source, what: What) -> Self {
        let options = ExportOptions::default();
        Self {
            source,
            request: Request { what, columns: None, filter: None, parameters: Vec::new(), options },
        }
    }

    /// Reads only these columns of a table, in this order. Exact names. Default: all.
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.request.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads only the rows of a table for which this SQL condition holds. It runs under the connection's own
    /// search path and time zone.
    pub fn filter(mut self, condition: impl Into<String>) -> Self {
        self.request.filter = Some(condition.into());
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

    /// Plans the export and starts it as a stream of batches, from async code of any runtime.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub async fn stream(self) -> Result<BatchStream> {
        let Self { source, request } = self;
        let (session, cancel) = (source.session_in_background().await?, source.cancel().child());
        let run = background::run(&cancel.clone(), move || request.open(session, &cancel)).await?;
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
    /// [`ErrorKind::Options`] for names that do not exist and options that contradict each other; what the server
    /// refuses; what breaks the connection.
    pub fn open(self) -> Result<Run> {
        self.request.open(self.source.session()?, &self.source.cancel().child())
    }
}

impl Request {
    fn open(self, mut session: Session, cancel: &crate::Cancel) -> Result<Run> {
        let attached = cancel.attach(&session);
        let connection_warnings = session.warnings().to_vec();
        prepare(&mut session, &self.options)?;
        let (keeper, mut plan) = match &self.what {
            What::Table(name) => self.plan_table(session, name, cancel)?,
            What::Query(sql) => self.plan_query(session, sql, cancel)?,
        };
        drop(attached);
        plan.warnings.splice(0..0, connection_warnings);
        Ok(Run::new(keeper, plan, self.options, cancel.clone()))
    }

    fn plan_table(&self, mut session: Session, name: &str, cancel: &crate::Cancel) -> Result<(Keeper, Plan)> {
        if !self.parameters.is_empty() {
            return Err(refused("parameters are for queries; a table's filter takes none"));
        }
        // Checked as a statement of its own would be, and in parentheses it can only be a condition.
        let filter = self
            .filter
            .as_deref()
            .map(|filter| Statement::parse(filter).map_err(|e| e.context("the filter")));
        let filter = filter.transpose()?;
        if filter.as_ref().is_some_and(|filter| filter.n_parameters() > 0) {
            return Err(refused("the filter has a placeholder; only queries take parameters"));
        }
        let filter = filter.as_ref().map(Statement::text);
        let relation = resolve(&mut session, &RelationName::parse(name)?)?;
        let names = self
            .columns
            .as_ref()
            .map(|names| names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", "));
        let select_list_to_hold = names.unwrap_or_else(|| "*".to_owned());
        let subject =
            Subject { relation: &relation, select_list: &select_list_to_hold, is_plain: filter.is_none() };
        let mut keeper = Keeper::begin(session, Some(subject), &self.options, cancel)?;
        let all = table_columns(&mut keeper.session, &relation)?;
        let columns = self.chosen(&relation, all)?;
        // A filter's errors should name the filter, not COPY.
        if let Some(filter) = filter {
            let (list, from) = (select_list(&columns), relation.quoted());
            let sql = format!("SELECT {list} FROM {from} WHERE (\n{filter}\n)");
            keeper
                .session
                .describe(&sql)
                .map_err(|error| Error::from(error).context("the filter cannot be used"))?;
        }
        let estimated_rows = match filter {
            None => estimated_rows(&mut keeper.session, relation.oid)?,
            Some(_) => None,
        };
        let schema =
            arrow_schema(&columns, &self.options.types, Some(&relation), &keeper.facts.server_version);
        let plan = Plan {
            subject: relation.to_string(),
            copy_statement: copy_of_table(&relation, &columns, filter),
            warnings: type_warnings(&columns),
            relation: Some(relation),
            schema: Arc::new(schema),
            estimated_rows,
            columns,
        };
        Ok((keeper, plan))
    }

    /// The columns that were asked for, in that order.
    fn chosen(&self, relation: &Relation, mut all: Vec<PgColumn>) -> Result<Vec<PgColumn>> {
        let Some(names) = &self.columns else {
            return Ok(all);
        };
        if names.is_empty() {
            return Err(refused("the list of columns is empty; leave it out to read all"));
        }
        let known = all.iter().map(|column| quote_identifier(&column.name)).collect::<Vec<_>>().join(", ");
        let mut chosen = Vec::with_capacity(names.len());
        for name in names {
            if chosen.iter().any(|column: &PgColumn| column.name == *name) {
                return Err(refused(&format!("column {name:?} is named twice")));
            }
            let Some(index) = all.iter().position(|column| column.name == *name) else {
                return Err(refused(&format!("{relation} has no column {name:?}; it has {known}")));
            };
            chosen.push(all.remove(index));
        }
        Ok(chosen)
    }

    fn plan_query(&self, session: Session, sql: &str, cancel: &crate::Cancel) -> Result<(Keeper, Plan)> {
        if self.columns.is_some() || self.filter.is_some() {
            return Err(refused("columns and filter are for tables; put them into the query"));
        }
        let statement = Statement::parse(sql)?;
        let mut keeper = Keeper::begin(session, None, &self.options, cancel)?;
        let statement = self.bound(&mut keeper.session, statement)?;
        let description = keeper.session.describe(statement.text())?;
        let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
        let columns = query_columns(&mut keeper.session, &described)?;
        let schema = arrow_schema(&columns, &self.options.types, None, &keeper.facts.server_version);
        let plan = Plan {
            subject: "the query".to_owned(),
            relation: None,
            copy_statement: copy_of_query(statement.text(), &columns),
            warnings: type_warnings(&columns),
            schema: Arc::new(schema),
            estimated_rows: None,
            columns,
        };
        Ok((keeper, plan))
    }

    /// The statement with its parameters as literals of the types that the server gives them.
    fn bound(&self, session: &mut Session, statement: Statement) -> Result<Statement> {
        let (n_expected, n_bound) = (statement.n_parameters(), self.parameters.len());
        if n_expected != n_bound {
            let text =
                format!("the query takes {n_expected} parameters ($1, $2, …), but {n_bound} were given");
            return Err(refused(&text));
        }
        if n_expected == 0 {
            return Ok(statement);
        }
        let types = session.describe(statement.text())?.parameters;
        if types.len() != n_expected {
            return Err(refused("the query's parameters are not numbered from $1 without a gap"));
        }
        let types = types.into_iter().map(|oid| (oid, -1)).collect::<Vec<_>>();
        let names = format_types(session, &types)?;
        let expressions = self.parameters.iter().zip(names).map(|(value, pg_type)| {
            let literal = value.as_deref().map_or(Ok("NULL".to_owned()), literal)?;
            Ok(format!("({literal}::{pg_type})"))
        });
        Ok(statement.with_parameters(&expressions.collect::<Result<Vec<_>>>()?))
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}
