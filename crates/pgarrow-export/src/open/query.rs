//! From a query to its plan.

use pgarrow_catalog::{CatalogError, Relation, explained_relations, query_columns};
use pgarrow_session::{Error, ErrorKind, Result, without_read_timeout};
use pgarrow_types::option::{ONLY, READ_MODE, SPLIT_ON};
use pgarrow_types::{PgColumn, message};

use super::fixed::{Fixed, Parts};
use super::opening::Opening;
use super::parameters::{bind, check_number};
use super::{ONE_LIMIT, Planner, Subject, ToPlan, plan, refused};
use crate::choose::{all_exist, choose};
use crate::locks::Held;
use crate::options::ReadMode;
use crate::plan::Plan;
use crate::planner::select::Selection;
use crate::planner::{KeySource, Slices, key_slices};
use crate::proof::Proof;
use crate::scan::scan;
use crate::source::extract::Request;
use crate::statement::Statement;

/// A query with its values bound.
pub(super) struct QuerySubject<'r> {
    request: &'r Request,
    statement: Statement,
}

/// What is known about a query before its transaction.
pub(super) struct FoundQuery {
    /// The relations it reads, if the server names them.
    relations: Option<Vec<Relation>>,
    /// What may differ in its parts, if it is split.
    fixed: Option<Fixed>,
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
        Ok(Self { request, statement })
    }
}

impl Request {
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
        let sql = self.statement.text();
        // The relations it reads are locked before the snapshot, if the server names them.
        let explained = without_read_timeout(opening.session()?, |session| explained_relations(session, sql));
        let relations = match explained {
            Ok(relations) => Some(relations),
            // The later description reports the error in better words.
            Err(error) if is_of_statement(&error) => None,
            Err(error) => return Err(opening.not_waited(error)),
        };
        let held = relations.iter().flatten().map(|relation| Held::of_query(relation, sql)).collect();
        let slicing = opening.slicing();
        let fixed = slicing.split_on.as_ref().map(|_| Fixed::of_query(opening, sql)).transpose()?;
        Ok(ToPlan {
            found: FoundQuery { relations, fixed },
            held,
            no_views: false,
            slicing,
            problems: Vec::new(),
            subject_was: "the tables of the query were".to_owned(),
        })
    }

    /// Plans a query whose known relations are locked. `None` if it no longer reads these.
    fn plan(&self, planner: &mut Planner<'_>, found: FoundQuery) -> Result<Option<(Vec<Plan>, Proof)>> {
        let Self { request, statement } = self;
        let FoundQuery { relations, fixed } = found;
        let Planner { keeper, slicing, traits, options, .. } = planner;
        let description = keeper.reader.session.describe(statement.text())?;
        let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
        let columns = query_columns(&mut keeper.reader.session, &described)?;
        let subject = "the query".to_owned();
        all_exist(options, &subject, columns.iter().map(|column| column.column.name.as_str()))?;
        // A key is compared in its own type, whatever type it is read as.
        let keys: Vec<PgColumn> = columns.iter().map(|column| column.column.clone()).collect();
        let mut chosen = choose(&mut keeper.reader.session, &subject, columns, options)?;
        let (slices, parts) = match fixed {
            Some(fixed) => {
                let parts = fixed.fix(&mut keeper.reader.session, None, traits)?;
                let source = KeySource::Query { sql: &parts.text, columns: &keys };
                let slices = key_slices(&mut keeper.reader.session, source, slicing)?;
                (parts.hold(slices, options, &mut chosen.warnings), parts)
            }
            None => (request.query_in_one(), Parts::default()),
        };
        // A single statement has one time anyway, so it stays as written.
        let text = if slices.slices.len() > 1 { &parts.text } else { statement.text() };
        let selection = Selection::of_query(text, &chosen.columns).limited(request.limit);
        let selection = if request.parameters.is_empty() { selection.shown() } else { selection };
        scan(&mut keeper.reader.session, &mut chosen, &selection, false)?;
        let plan = plan(subject, None, chosen, selection, slices, options, &keeper.reader.facts);
        // Names may belong to other relations since the server named what to lock.
        if let Some(relations) = &relations
            && traits.is_plain_postgres
            && explained_relations(&mut keeper.reader.session, statement.text())? != *relations
        {
            return Ok(None);
        }
        let roots: Vec<u32> = relations.iter().flatten().map(|relation| relation.oid).collect();
        let plans = vec![plan];
        let proof = Proof::plan(keeper, &plans, &roots, traits)?;
        Ok(proof.map(|proof| (plans, proof)))
    }
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
