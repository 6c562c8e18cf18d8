//! From a query to a planned export in its transaction.

use pgarrow_catalog::{
    CatalogError, Relation, ServerTraits, explained_relations, format_types, query_columns,
};
use pgarrow_session::{Error, ErrorKind, Result, literal, without_read_timeout};
use pgarrow_types::option::{ONLY, READ_MODE, SPLIT_ON};
use pgarrow_types::{PgColumn, message};

use super::fixed::{Fixed, Parts};
use super::{ONE_LIMIT, Opened, Opening, PLANNINGS_MAX, plan, refused};
use crate::choose::{all_exist, choose};
use crate::engine::Engine;
use crate::keeper::Keeper;
use crate::locks::{Held, in_the_way};
use crate::options::ReadMode;
use crate::plan::Plan;
use crate::planner::select::Selection;
use crate::planner::{KeySource, Slices, Slicing, key_slices};
use crate::proof::Proof;
use crate::scan::scan;
use crate::source::extract::Request;
use crate::statement::Statement;

impl Request {
    pub(super) fn open_query(&self, mut opening: Opening<'_>, sql: &str) -> Result<Engine> {
        if self.columns.is_some() || self.filter.is_some() {
            return Err(refused("columns and filter are for tables; put them into the query"));
        }
        if opening.options.read_mode == ReadMode::Pages {
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
        self.check_limit()?;
        let statement = Statement::parse(sql)?;
        let statement = self.bound(&mut opening, statement)?;
        let traits = opening.traits.clone();
        let mut n_plannings = 0;
        loop {
            n_plannings += 1;
            // What it reads is locked before the snapshot, as far as the server says what that is.
            let session = opening.session()?;
            let relations =
                match without_read_timeout(session, |session| explained_relations(session, statement.text()))
                {
                    Ok(relations) => Some(relations),
                    // Describing it says in better words what is wrong with it.
                    Err(error) if is_of_statement(&error) => None,
                    Err(error) => return Err(opening.not_waited(error)),
                };
            let held: Vec<Held> = relations
                .iter()
                .flatten()
                .map(|relation| Held::of_query(relation, statement.text()))
                .collect();
            let slicing = opening.slicing();
            let fixed = match slicing.split_on {
                Some(_) => Some(Fixed::of_query(&mut opening, statement.text())?),
                None => None,
            };
            let (session, opened) = opening.split();
            let mut keeper =
                Keeper::begin(session, &held, false, &opened.options, opened.pooled, opened.cancel)?;
            match self.plan_query(
                &mut keeper,
                &statement,
                fixed,
                relations.as_deref(),
                &slicing,
                &traits,
                &opened,
            )? {
                Some((plan, proof)) => return Ok(Opening::engine(keeper, vec![plan], proof, opened)),
                None if n_plannings < PLANNINGS_MAX => {
                    opening = opened.reopen(keeper.give_up()?, traits.clone());
                }
                None => {
                    let text = "the tables of the query were changed again and again while the export was planned; run it again";
                    return Err(Error::new(ErrorKind::Server, text));
                }
            }
        }
    }

    /// Plans a query whose relations are locked, as far as they are known. `None` if it does not read these any more.
    #[expect(clippy::too_many_arguments, reason = "what is known of a query before it is planned")]
    fn plan_query(
        &self,
        keeper: &mut Keeper,
        statement: &Statement,
        fixed: Option<Fixed>,
        relations: Option<&[Relation]>,
        slicing: &Slicing,
        traits: &ServerTraits,
        opened: &Opened<'_>,
    ) -> Result<Option<(Plan, Proof)>> {
        let description = keeper.session.describe(statement.text())?;
        let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
        let columns = query_columns(&mut keeper.session, &described)?;
        let subject = "the query".to_owned();
        all_exist(&opened.options, &subject, columns.iter().map(|column| column.column.name.as_str()))?;
        // A key is compared as what it is, whatever it is read as.
        let keys: Vec<PgColumn> = columns.iter().map(|column| column.column.clone()).collect();
        let mut chosen = choose(&mut keeper.session, &subject, columns, &opened.options)?;
        let (slices, parts) = match fixed {
            Some(fixed) => {
                let parts = fixed.fix(&mut keeper.session, None, traits)?;
                let source = KeySource::Query { sql: &parts.text, columns: &keys };
                let slices = key_slices(&mut keeper.session, source, slicing)?;
                (parts.hold(slices, &opened.options, &mut chosen.warnings), parts)
            }
            None => {
                let why = match self.limit {
                    Some(_) => ONE_LIMIT.into(),
                    None => message!["it is a query; name a column of it to split on (", SPLIT_ON, ")"],
                };
                (Slices::one(Vec::new(), why).refused(), Parts::default())
            }
        };
        // One statement has one time, whatever stands for it.
        let text = if slices.slices.len() > 1 { &parts.text } else { statement.text() };
        let selection = Selection::of_query(text, &chosen.columns).limited(self.limit);
        let selection = if self.parameters.is_empty() { selection.told() } else { selection };
        scan(&mut keeper.session, &mut chosen, &selection, false)?;
        let plan = plan(subject, None, chosen, selection, slices, &opened.options, &keeper.facts);
        // Names may have gone to others since the server was asked what to lock.
        if let Some(relations) = relations
            && traits.is_plain_postgres
            && explained_relations(&mut keeper.session, statement.text())?.as_slice() != relations
        {
            return Ok(None);
        }
        let roots: Vec<u32> = relations.unwrap_or_default().iter().map(|relation| relation.oid).collect();
        let proof = Proof::plan(keeper, std::slice::from_ref(&plan), &roots, traits)?;
        Ok(proof.map(|proof| (plan, proof)))
    }

    /// The statement with its parameters as literals of the types that the server gives them.
    fn bound(&self, opening: &mut Opening<'_>, statement: Statement) -> Result<Statement> {
        let (n_expected, n_bound) = (statement.n_parameters(), self.parameters.len());
        if n_expected != n_bound {
            let text =
                format!("the query takes {n_expected} parameters ($1, $2, …), but {n_bound} were given");
            return Err(refused(&text));
        }
        if n_expected == 0 {
            return Ok(statement);
        }
        let described =
            without_read_timeout(opening.session()?, |session| session.describe(statement.text()));
        let types = described.map_err(|error| opening.not_waited(error.into()))?.parameters;
        if types.len() != n_expected {
            return Err(refused("the query's parameters are not numbered from $1 without a gap"));
        }
        let types = types.into_iter().map(|oid| (oid, -1)).collect::<Vec<_>>();
        let names = format_types(opening.session()?, &types)?;
        let expressions = self.parameters.iter().zip(names).map(|(value, pg_type)| {
            let literal = value.as_deref().map_or(Ok("NULL".to_owned()), literal)?;
            Ok(format!("({literal}::{pg_type})"))
        });
        Ok(statement.with_parameters(&expressions.collect::<Result<Vec<_>>>()?))
    }
}

impl Opening<'_> {
    /// The error of a statement that had to wait for locks.
    pub(super) fn not_waited(&mut self, error: CatalogError) -> Error {
        match error {
            CatalogError::Protocol(error) if error.sqlstate() == Some("55P03") => {
                in_the_way(self.session().ok(), error)
            }
            error => error.into(),
        }
    }
}

/// Whether it is the statement that is wrong, or a server that explains nothing: trying once more changes neither.
///
/// A lock that was not had is none of these: whoever has it may end in the next moment, and a snapshot that was
/// taken before that would not show what they have done.
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
