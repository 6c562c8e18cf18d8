//! From a query to a planned export in its transaction.

use pgarrow_catalog::{CatalogError, explained_relations, format_types, query_columns};
use pgarrow_protocol::Session;
use pgarrow_types::PgColumn;

use super::{Opening, plan, refused};
use crate::choose::{all_exist, choose};
use crate::engine::Engine;
use crate::error::Result;
use crate::extract::Request;
use crate::keeper::{Held, Keeper, literal};
use crate::options::ReadMode;
use crate::planner::select::Selection;
use crate::planner::{KeySource, Slices, key_slices};
use crate::scan::scan;
use crate::statement::Statement;

impl Request {
    pub(super) fn open_query(&self, mut opening: Opening<'_>, sql: &str) -> Result<Engine> {
        if self.columns.is_some() || self.filter.is_some() {
            return Err(refused("columns and filter are for tables; put them into the query"));
        }
        if opening.options.read_mode == ReadMode::Pages {
            return Err(refused(
                "pages are those of tables; leave --read-mode out, since a query's rows come by COPY",
            ));
        }
        if self.only {
            return Err(refused("--only is for tables; write ONLY in the query"));
        }
        let statement = Statement::parse(sql)?;
        let statement = self.bound(&mut opening.session, statement)?;
        // What it reads is locked before the snapshot, as far as the server says what that is.
        let held: Vec<Held> = match explained_relations(&mut opening.session, statement.text()) {
            Ok(relations) => {
                relations.iter().map(|relation| Held::of_query(relation, statement.text())).collect()
            }
            Err(CatalogError::Protocol(error)) if error.server_error().is_none() => return Err(error.into()),
            // Describing it says in better words what is wrong with it.
            Err(_) => Vec::new(),
        };
        let slicing = opening.slicing();
        let (session, opened) = opening.split();
        let mut keeper = Keeper::begin(session, &held, false, &opened.options, opened.cancel)?;
        let description = keeper.session.describe(statement.text())?;
        let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
        let columns = query_columns(&mut keeper.session, &described)?;
        let subject = "the query".to_owned();
        all_exist(&opened.options, &subject, columns.iter().map(|column| column.column.name.as_str()))?;
        // A key is compared as what it is, whatever it is read as.
        let keys: Vec<PgColumn> = columns.iter().map(|column| column.column.clone()).collect();
        let mut chosen = choose(&mut keeper.session, &subject, columns, &opened.options)?;
        let slices = match slicing.split_on {
            Some(_) => {
                let source = KeySource::Query { sql: statement.text(), columns: &keys };
                key_slices(&mut keeper.session, source, &slicing)?
            }
            None => Slices::one(Vec::new(), "it is a query; name a column of it to split on (--split-on)"),
        };
        let selection = Selection::of_query(statement.text(), &chosen.columns);
        scan(&mut keeper.session, &mut chosen, &selection, false)?;
        let plan = plan(subject, None, chosen, selection, slices, &opened.options, &keeper.facts);
        Ok(Opening::engine(keeper, vec![plan], opened))
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
