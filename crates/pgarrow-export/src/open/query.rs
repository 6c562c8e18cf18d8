//! From a query to its plan.

use pgarrow_catalog::{
    CatalogError, QUERY_BYTES_MAX, Relation, ResolvedColumn, ask_about_plan, explained_relations,
    query_columns,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, KnownTables, Result, without_read_timeout};
use pgarrow_types::option::{ONLY, READ_MODE, SPLIT_ON};
use pgarrow_types::{NumericForm, PgColumn, message};

use super::fixed::{Fixed, Parts};
use super::opening::{LookedUp, Opening};
use super::parameters::{bind, check_number};
use super::{ONE_LIMIT, Planner, Subject, ToPlan, plan, refused};
use crate::ahead::{Ahead, QueryAhead};
use crate::choose::{Chosen, all_exist, choose};
use crate::locks::Held;
use crate::options::{ExportOptions, ReadMode};
use crate::plan::Plan;
use crate::planner::select::Selection;
use crate::planner::{KeySource, Slices, Slicing, key_slices};
use crate::proof::Proof;
use crate::scan::scan;
use crate::source::extract::{NamedQuery, Request};
use crate::statement::Statement;

/// The longest query that is known to the next export.
const KNOWN_BYTES_MAX: usize = 4096;
/// The most relations that it reads, and the most columns: a pool knows many queries, of which no budget of
/// memory knows.
const KNOWN_RELATIONS_MAX: usize = 64;
const KNOWN_COLUMNS_MAX: usize = 256;

/// A query with its values bound.
pub(super) struct QueryToPlan<'r> {
    request: &'r Request,
    statement: Statement,
    /// `the query`, or `query daily_totals`.
    pub(super) subject: String,
    /// Its name, beside tables.
    name: Option<&'r str>,
    split_on: Option<&'r str>,
}

/// A query as all that is read.
pub(super) struct QuerySubject<'r>(QueryToPlan<'r>);

/// What is known about a query before its transaction.
#[derive(Default)]
pub(super) struct FoundQuery {
    /// The relations it reads, if the server names them.
    relations: Option<Vec<Relation>>,
    /// What may differ in its parts, if it is split.
    fixed: Option<Fixed>,
}

impl FoundQuery {
    /// The OIDs of the relations it reads.
    pub(super) fn roots(&self) -> Vec<u32> {
        self.relations.iter().flatten().map(|relation| relation.oid).collect()
    }
}

impl<'r> QuerySubject<'r> {
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for options that cannot be combined with a query,
    /// and for values that do not fit the parameters.
    pub(super) fn new(request: &'r Request, sql: &str, opening: &mut Opening<'_>) -> Result<Self> {
        request.check_query()?;
        let statement = Statement::parse(sql)?;
        check_number(&statement, &request.parameters, "the query")?;
        let statement = bind(opening, &statement, &request.parameters, statement.text(), "the query")?;
        let (subject, split_on) = ("the query".to_owned(), request.options.split_on.as_deref());
        Ok(Self(QueryToPlan { request, statement, subject, name: None, split_on }))
    }
}

impl<'r> QueryToPlan<'r> {
    /// A query beside tables.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for a name that cannot be used, and for what is no
    /// query, or has parameters.
    pub(super) fn named(request: &'r Request, query: &'r NamedQuery) -> Result<Self> {
        let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if query.name.is_empty() || !query.name.chars().all(is_plain) {
            let text = format!("the name {:?} of a query: write letters, digits, _ and -", query.name);
            return Err(refused(&text));
        }
        let subject = query.subject();
        let parsed = Statement::parse(&query.sql).and_then(|statement| {
            check_number(&statement, &[], "the query")?;
            Ok(statement)
        });
        let statement = parsed.map_err(|error| error.context(&subject))?;
        let (name, split_on) = (Some(query.name.as_str()), query.split_on.as_deref());
        Ok(Self { request, statement, subject, name, split_on })
    }

    fn slicing(&self, slicing: &Slicing) -> Slicing {
        Slicing { split_on: self.split_on.map(str::to_owned), ..slicing.clone() }
    }

    /// Whether the server takes the statement; an error says where in the text. Runs outside of the export's
    /// transaction.
    pub(super) fn try_out(&self, opening: &mut Opening<'_>) -> Result<()> {
        let sql = self.statement.text();
        match without_read_timeout(opening.session()?, |session| session.describe(sql)) {
            Ok(description) if description.columns.is_none() => {
                Err(Error::from(CatalogError::ReturnsNothing).context(&self.subject))
            }
            Ok(_) => Ok(()),
            Err(error) => {
                let place = error.server_error().and_then(|report| report.position);
                let place = place.map(|position| line_and_column(sql, position)).unwrap_or_default();
                Err(opening.not_waited(error.into()).context(format!("{}{place}", self.subject)))
            }
        }
    }

    /// What it reads. Runs outside of the export's transaction.
    pub(super) fn find(&self, opening: &mut Opening<'_>) -> Result<FoundQuery> {
        let sql = self.statement.text();
        // The relations it reads are locked before the snapshot, if the server names them.
        let explained = without_read_timeout(opening.session()?, |session| explained_relations(session, sql));
        let relations = match explained {
            Ok(relations) => Some(relations),
            // The later description reports the error in better words.
            Err(error) if is_of_statement(&error) => None,
            Err(error) => return Err(opening.not_waited(error)),
        };
        let fixed = self.split_on.map(|_| Fixed::of_query(opening, sql)).transpose()?;
        Ok(FoundQuery { relations, fixed })
    }

    /// What has to be locked.
    pub(super) fn held(&self, found: &FoundQuery) -> Vec<Held> {
        let sql = self.statement.text();
        found.relations.iter().flatten().map(|relation| Held::of_query(relation, sql)).collect()
    }

    /// Its columns, as they are in this transaction.
    pub(super) fn columns(&self, session: &mut Session) -> Result<Vec<ResolvedColumn>> {
        let description = session.describe(self.statement.text())?;
        let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
        Ok(query_columns(session, &described)?)
    }

    /// Plans the query, whose known relations are locked. `None` if it no longer reads these.
    ///
    /// `keys`: its columns as they are; `chosen`: as what they are read. `is_for_check`: nothing will be
    /// read.
    pub(super) fn plan(
        &self,
        planner: &mut Planner<'_>,
        found: FoundQuery,
        keys: &[PgColumn],
        mut chosen: Chosen,
        is_for_check: bool,
    ) -> Result<Option<Plan>> {
        let Self { request, statement, .. } = self;
        let FoundQuery { relations, fixed } = found;
        let Planner { keeper, slicing, traits, options, .. } = planner;
        let (slices, parts) = match fixed.filter(|_| !is_for_check) {
            Some(fixed) => {
                let parts = fixed.fix(&mut keeper.reader.session, None, traits)?;
                let source = KeySource::Query { sql: &parts.text, columns: keys };
                let slices = key_slices(&mut keeper.reader.session, source, &self.slicing(slicing))?;
                (parts.hold(slices, options, &mut chosen.warnings), parts)
            }
            None => (request.query_in_one(), Parts::default()),
        };
        // A single statement has one time anyway, so it stays as written.
        let text = if slices.slices.len() > 1 { &parts.text } else { statement.text() };
        let selection = Selection::of_query(text, &chosen.columns).limited(request.limit);
        let selection = if request.parameters.is_empty() { selection.shown() } else { selection };
        if !is_for_check {
            scan(&mut keeper.reader.session, &mut chosen, &selection, false)?;
        }
        let facts = &keeper.reader.facts;
        let mut plan = plan(self.subject.clone(), None, chosen, selection, slices, options, facts);
        plan.query_name = self.name.map(str::to_owned);
        // Names may belong to other relations since the server named what to lock.
        if let Some(relations) = &relations
            && traits.is_plain_postgres
            && explained_relations(&mut keeper.reader.session, statement.text())? != *relations
        {
            return Ok(None);
        }
        Ok(Some(plan))
    }
}

impl Request {
    /// What will be looked up first for a query.
    pub(super) fn looked_up_for_query(&self, sql: &str) -> LookedUp {
        let statement = self.check_query().and_then(|()| Statement::parse(sql)).ok();
        let has_parameters = !self.parameters.is_empty();
        let query = statement.map(|statement| statement.text().to_owned());
        let query = query.filter(|query| query.len() <= QUERY_BYTES_MAX);
        let may_be_known = !has_parameters
            && opens_no_more(&self.options)
            && query.as_ref().is_some_and(|query| query.len() <= KNOWN_BYTES_MAX);
        LookedUp { names: Vec::new(), query, has_parameters, may_be_known }
    }

    /// Refuses options that cannot be combined with a query.
    pub(super) fn check_query(&self) -> Result<()> {
        if self.columns.is_some() || self.filter.is_some() {
            return Err(refused("columns and filter are for tables; put them into the query"));
        }
        if self.options.read_mode == ReadMode::Pages {
            return Err(refused("pages are those of tables").advice(message![
                "leave ",
                READ_MODE,
                " out, since a query's rows come by COPY"
            ]));
        }
        if self.only {
            let text = message![ONLY, " is for tables; write ONLY in the query"];
            return Err(Error::new(ErrorKind::Options, text));
        }
        self.check_limit()
    }

    /// A query in one slice.
    pub(super) fn query_in_one(&self) -> Slices {
        let why = match self.limit {
            Some(_) => ONE_LIMIT.into(),
            None => message!["it is a query; name a column of it to split on (", SPLIT_ON, ")"],
        };
        Slices::one(Vec::new(), why).refused()
    }
}

impl Subject for QuerySubject<'_> {
    type Found = FoundQuery;

    fn find(&self, opening: &mut Opening<'_>) -> Result<ToPlan<FoundQuery>> {
        let sql = self.0.statement.text();
        let has_parameters = !self.0.request.parameters.is_empty();
        // Locks, and the questions behind them, show whether it is still so.
        let known = opening.prepared.known.take();
        let is_known = known.is_some();
        let (found, columns) = match known {
            Some(KnownTables { relations, columns, .. }) => {
                (FoundQuery { relations: Some(relations), fixed: None }, Some(columns))
            }
            None => {
                let session = opening.session()?;
                // With values in the place of parameters, it is new to the server.
                if has_parameters && sql.len() <= QUERY_BYTES_MAX {
                    let answers = ask_about_plan(session, sql)?;
                    session.keep_answers(answers);
                }
                let description = session.take_description(sql);
                (self.0.find(opening)?, description.and_then(|description| description.columns))
            }
        };
        let opens_no_more = opens_no_more(&opening.prepared.options);
        let known = found.relations.clone().zip(columns).filter(|_| opens_no_more);
        let ahead = known.map(|(relations, columns)| QueryAhead {
            sql: sql.to_owned(),
            is_known,
            may_be_known: !has_parameters
                && sql.len() <= KNOWN_BYTES_MAX
                && relations.len() <= KNOWN_RELATIONS_MAX
                && columns.len() <= KNOWN_COLUMNS_MAX,
            relations,
            columns,
        });
        Ok(ToPlan {
            held: self.0.held(&found),
            ahead: ahead.map(Ahead::Query),
            found,
            no_views: false,
            slicing: opening.slicing(),
            problems: Vec::new(),
            subject_was: "the tables of the query were".to_owned(),
        })
    }

    /// Plans a query whose known relations are locked. `None` if it no longer reads these.
    fn plan(&self, planner: &mut Planner<'_>, found: FoundQuery) -> Result<Option<(Vec<Plan>, Proof)>> {
        let (query, options) = (&self.0, planner.options);
        let columns = query.columns(&mut planner.keeper.reader.session)?;
        all_exist(options, &query.subject, columns.iter().map(|column| column.column.name.as_str()))?;
        // A key is compared in its own type, whatever type it is read as.
        let keys: Vec<PgColumn> = columns.iter().map(|column| column.column.clone()).collect();
        let chosen = choose(&mut planner.keeper.reader.session, &query.subject, columns, options)?;
        let roots = found.roots();
        let Some(plan) = query.plan(planner, found, &keys, chosen, false)? else { return Ok(None) };
        let plans = vec![plan];
        let proof = Proof::plan(planner.keeper, &plans, &roots, planner.traits)?;
        Ok(proof.map(|proof| (plans, proof)))
    }
}

/// Planning a query opens nothing. To find bounds or digits it reads, and what that opens must be asked
/// afterwards.
fn opens_no_more(options: &ExportOptions) -> bool {
    let ExportOptions { types, columns, split_on, .. } = options;
    split_on.is_none() && types.numeric != NumericForm::Scan && columns.is_empty()
}

/// Where a character of a text is, counted from 1.
fn line_and_column(text: &str, position: u32) -> String {
    let before: String = text.chars().take(position.saturating_sub(1) as usize).collect();
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    format!(", line {line}, column {column}")
}

/// Whether the statement is wrong or the server explains nothing: another attempt changes neither.
///
/// A lock that was not available is a different case: its holder may end in the next moment, and a snapshot
/// taken before that would not show its changes.
fn is_of_statement(error: &CatalogError) -> bool {
    match error {
        // Class 42, syntax error or access rule violation; feature_not_supported.
        CatalogError::Protocol(error) => {
            error.server_error().is_some_and(|report| !report.is_fatal())
                && error.sqlstate().is_some_and(|state| state.starts_with("42") || state == "0A000")
        }
        CatalogError::Unexpected(_) => true,
        _ => false,
    }
}
