//! What an export would read, without opening it: no locks, no snapshot, no transaction that stays.
//!
//! ```text
//!  table   one script asks all ──▶ its answers are there when the functions that plan an export ask
//!  query   BEGIN and a description ──▶ types, estimates, ROLLBACK
//! ```
//!
//! The scripts do not cover filters, a column to split on and types that are not built in. Planning asks for
//! these one by one, in a look-up transaction that ends with the description.

use pgarrow_catalog::{
    Asked, CatalogError, RelationName, ResolvedColumn, ask_about_query, ask_about_relation, estimate,
    query_columns, server_traits, table_columns,
};
use pgarrow_protocol::{Answer, Session, TransactionStatus};
use pgarrow_session::{
    Borrowed, Cancel, Error, Pool, Pooled, Result, ServerFacts, must_be_in_transaction, without_read_timeout,
};
use pgarrow_types::{ColumnForm, ColumnOptions, Hint, Message, PgColumn, message};

use super::fixed::Fixed;
use super::opening::{Opening, restrict_readers};
use super::parameters::{bind, check_number};
use super::table::{leaves_of, readers_of, refuse_of_others, refuse_only};
use super::tables::TablesSubject;
use super::{known, plan, refused};
use crate::choose::{Chosen, all_exist, choose};
use crate::description::Description;
use crate::facts::Facts;
use crate::planner::select::Selection;
use crate::planner::{KeySource, Slicing, key_slices};
use crate::scan;
use crate::settings::{look_up, look_up_statements};
use crate::source::extract::{Named, Request, What};
use crate::statement::Statement;

impl Request {
    /// Describes what the request would read.
    pub(crate) fn describe(self, pool: &Pool, borrowed: Borrowed, cancel: &Cancel) -> Result<Description> {
        let Borrowed { mut session, was_idle } = borrowed;
        let _describing = tracing::info_span!(target: "pgarrow", "describe").entered();
        session.set_read_timeout(self.options.read_timeout);
        let attached = cancel.attach(&session);
        let described = match &self.what {
            What::Table(name) => self.describe_table(session, pool, cancel, name),
            What::Query(sql) => self.describe_query(session, pool, cancel, sql),
            What::Tables(_) => Err(refused("tables are described one by one")),
            What::Slice(_) => {
                Err(refused("a slice is a part of what was planned: describe the table or the query"))
            }
        };
        let ended = described.and_then(|(mut session, description)| {
            if session.transaction_status() != TransactionStatus::Idle {
                session.execute("ROLLBACK")?;
            }
            Ok((session, description))
        });
        // From here on, no cancel request reaches the session's next work.
        drop(attached);
        let (session, description) = ended.map_err(|error| cancel.cancelled_or(error))?;
        pool.give_back(session, was_idle);
        Ok(description)
    }

    fn describe_table(
        &self,
        mut session: Session,
        pool: &Pool,
        cancel: &Cancel,
        name: &str,
    ) -> Result<(Session, Description)> {
        let named = Named { names: vec![name.to_owned()], ..Named::default() };
        TablesSubject::of_one(self, &named)?;
        let name = RelationName::parse(name)?;
        let mut answers = None;
        let mut condition = None;
        if self.filter.is_some() {
            look_up(&mut session, &self.options)?;
            let traits = server_traits(&mut session)?;
            let relation = known(&mut session, &name)?;
            let mut opening = Opening::of_description(pool, session, &self.options, traits, cancel);
            condition = self.condition(&mut opening, &relation)?;
            session = opening.split().0;
        } else if self.options.split_on.is_none() {
            let begin = look_up_statements(&session, &self.options)?;
            // The server returns a table's size once no session has it locked exclusively.
            answers = without_read_timeout(&mut session, |session| {
                ask_about_relation(session, &begin, &name, self.columns.as_deref(), self.only)
            })?;
        }
        let answers = self.look_up_rest(&mut session, answers)?;
        let described = session
            .with_answers(answers, |session| self.describe_relation(session, pool, &name, condition))?;
        Ok((session, described))
    }

    /// Plans as `plan_table` does, but without locks on the relation.
    fn describe_relation(
        &self,
        session: &mut Session,
        pool: &Pool,
        name: &RelationName,
        condition: Option<Fixed>,
    ) -> Result<Description> {
        let traits = server_traits(session)?;
        let relation = known(session, name)?;
        if relation.is_temporary() {
            look_up(session, &self.options)?;
            refuse_of_others(session, &relation)?;
        }
        refuse_only(&relation, self.only)?;
        let mut options = self.options.clone();
        options.readers = readers_of(&relation, options.readers);
        let is_pooled = Pooled::of(session, traits.backend_pid).is_pooled();
        let role = options.role.clone();
        let mut shown = match is_pooled {
            true => ServerFacts::default(),
            false => pool.facts(session, role.as_deref()),
        };
        let shown_before = shown;
        if restrict_readers(session, &traits, &mut options, &mut shown)?.is_some() {
            look_up(session, &options)?;
        }
        if shown != shown_before && !is_pooled {
            pool.keep_facts(session, role.as_deref(), shown);
        }
        let slicing = Slicing { only: self.only, ..Slicing::of(&options) };

        let subject = relation.to_string();
        let columns = table_columns(session, &relation, self.only)?;
        let columns = self.chosen(&relation, columns)?;
        let mut chosen = self.choose(session, &subject, columns)?;
        let rows = self.rows(session, &relation, &chosen.columns, condition, &slicing, &traits)?;
        let leaves = leaves_of(session, &relation, &chosen.columns, &slicing)?;
        let slices = self.slices(session, &relation, &leaves, &rows, &slicing, &traits, |_| Ok(()))?;
        let slices = rows.parts.hold(slices, &options, &mut chosen.warnings);
        let facts = facts(session)?;
        let mut plan = self.plan_of(&relation, chosen, rows, slices, &options, &facts);
        plan.warnings.splice(0..0, session.warnings().iter().cloned().map(Message::from));
        let bytes = plan.slices().iter().fold(0_u64, |sum, slice| sum.saturating_add(slice.estimated_bytes));
        // A relation without storage here has no size, and nobody knows the pages of a limited number of
        // rows.
        let is_known = self.limit.is_none() && (bytes > 0 || plan.estimated_rows == Some(0));
        Ok(Description::new(&plan, is_known.then_some(bytes)))
    }

    fn describe_query(
        &self,
        mut session: Session,
        pool: &Pool,
        cancel: &Cancel,
        sql: &str,
    ) -> Result<(Session, Description)> {
        self.check_query()?;
        let mut statement = Statement::parse(sql)?;
        let is_split = self.options.split_on.is_some();
        let mut fixed = None;
        check_number(&statement, &self.parameters, "the query")?;
        if is_split || !self.parameters.is_empty() {
            look_up(&mut session, &self.options)?;
            let traits = server_traits(&mut session)?;
            let mut opening = Opening::of_description(pool, session, &self.options, traits, cancel);
            statement = bind(&mut opening, &statement, &self.parameters, statement.text(), "the query")?;
            if is_split {
                fixed = Some(Fixed::of_query(&mut opening, statement.text())?);
            }
            // The trial of a text may have ended the transaction.
            opening.session()?;
            session = opening.split().0;
        }
        let description = without_read_timeout(&mut session, |session| match session.transaction_status() {
            TransactionStatus::InTransaction => Ok::<_, Error>(session.describe(statement.text())?),
            TransactionStatus::Idle | TransactionStatus::Failed => {
                let begin = look_up_statements(session, &self.options)?;
                let description = session.execute_and_describe(&begin, statement.text())?;
                must_be_in_transaction(session, "an export")?;
                Ok(description)
            }
        })?;
        let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
        let asked = match is_split {
            true => None,
            false => without_read_timeout(&mut session, |session| {
                ask_about_query(session, statement.text(), &described)
            })?,
        };
        // Without an EXPLAIN from the server, there is no estimate.
        let is_explained = asked.is_some();
        let answers = self.look_up_rest(&mut session, asked)?;
        let described = session.with_answers(answers, |session| {
            let traits = server_traits(session)?;
            let subject = "the query".to_owned();
            let columns = query_columns(session, &described)?;
            let keys: Vec<PgColumn> = columns.iter().map(|column| column.column.clone()).collect();
            let mut chosen = self.choose(session, &subject, columns)?;
            let slices = match fixed {
                Some(fixed) => {
                    let parts = fixed.fix(session, None, &traits)?;
                    let source = KeySource::Query { sql: &parts.text, columns: &keys };
                    let slices = key_slices(session, source, &Slicing::of(&self.options))?;
                    parts.hold(slices, &self.options, &mut chosen.warnings)
                }
                None => self.query_in_one(),
            };
            let selection = Selection::of_query(statement.text(), &chosen.columns).limited(self.limit);
            let facts = facts(session)?;
            let mut plan = plan(subject, None, chosen, selection, slices, &self.options, &facts);
            plan.warnings.splice(0..0, session.warnings().iter().cloned().map(Message::from));
            let estimate = match is_explained {
                true => estimate(session, statement.text())?,
                false => None,
            };
            let rows = estimate.map(|estimate| estimate.rows.min(self.limit.unwrap_or(u64::MAX)));
            plan.estimated_rows = rows.or(plan.estimated_rows);
            let bytes = estimate.zip(rows).map(|(estimate, rows)| rows.saturating_mul(estimate.row_bytes));
            Ok::<_, Error>(Description::new(&plan, bytes))
        })?;
        Ok((session, described))
    }

    /// Returns the answers, and begins a transaction if more has to be asked.
    fn look_up_rest(&self, session: &mut Session, asked: Option<Asked>) -> Result<Vec<Answer>> {
        let is_array = |options: &ColumnOptions| matches!(options.form, Some(ColumnForm::Array { .. }));
        let Asked { answers, is_all } = asked.unwrap_or(Asked { answers: Vec::new(), is_all: false });
        if !is_all || self.options.columns.values().any(is_array) {
            look_up(session, &self.options)?;
        }
        Ok(answers)
    }

    fn choose(&self, session: &mut Session, subject: &str, columns: Vec<ResolvedColumn>) -> Result<Chosen> {
        all_exist(&self.options, subject, columns.iter().map(|column| column.column.name.as_str()))?;
        let chosen = choose(session, subject, columns, &self.options)?;
        if let Some(column) = chosen.columns.iter().find(|column| scan::is_wanted(column)) {
            let text = format!(
                "{subject}, column {:?}: its precision and scale are found by reading all rows, which a description \
                 does not",
                column.name
            );
            let decimal = Hint::column(&column.name, "decimal(P,S)");
            return Err(refused(&text).advice(message![
                "give the column a decimal (",
                decimal,
                "), or open it"
            ]));
        }
        Ok(chosen)
    }
}

/// The facts about the server that a schema names.
fn facts(session: &mut Session) -> Result<Facts> {
    let server_version = match session.parameter("server_version") {
        Some(version) => version.to_owned(),
        None => {
            let rows = session.query("SELECT pg_catalog.current_setting('server_version')", &[])?;
            rows.first().and_then(|row| row.text(0)).unwrap_or_default().to_owned()
        }
    };
    Ok(Facts { server_version, ..Facts::default() })
}
