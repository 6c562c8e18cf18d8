//! From a token to an export of its slice, under a snapshot that another session holds.

use pgarrow_catalog::{
    CatalogError, Relation, ResolvedColumn, SliceQuestions, ask_about_slice, query_columns, table_columns,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::option::SLICE_BYTES;
use pgarrow_types::{Hint, Message, PgColumn, message};

use super::opening::Opening;
use super::table::check_filter;
use super::{is_unchanged, plan, refused};
use crate::choose::{all_exist, choose};
use crate::engine::Engine;
use crate::facts::Facts;
use crate::keeper::{EXCLUDE, Keeper};
use crate::options::ReadMode;
use crate::plan::add_pages;
use crate::planner::{PageWish, Slices};
use crate::proof::Proof;
use crate::reader_session::{ReaderSession, import_statements, lock_statement};
use crate::scan;
use crate::settings::{begin_statements, snapshot_query};
use crate::slice::{Slice, SliceRange, SliceSubject};
use crate::source::extract::Request;
use crate::statement::Statement;

impl Request {
    pub(super) fn open_slice(&self, mut opening: Opening<'_>, slice: &Slice) -> Result<Engine> {
        if self.columns.is_some() || self.filter.is_some() || !self.parameters.is_empty() || self.only {
            return Err(refused(
                "a slice brings its own columns, filter and parameters, and whether it is ONLY",
            ));
        }
        if self.limit.is_some() {
            return Err(refused(
                "a limit is for one statement, and a slice is one of several; leave the limit out",
            ));
        }
        slice.check()?;
        // A token may come from anywhere: its filter must pass the same checks as a typed one.
        let filter = slice.filter.as_deref().map(Statement::parse_condition).transpose()?;
        if filter.as_ref().is_some_and(|filter| filter.n_parameters() > 0) {
            return Err(refused("the filter of the slice has a parameter without a value"));
        }
        let read_mode = slice.read_mode;
        let pages = match read_mode {
            ReadMode::Auto => opening.pages(false)?,
            ReadMode::Pages => PageWish::of_token(&opening.prepared.traits),
            ReadMode::Copy | ReadMode::Select | ReadMode::Cursor => PageWish::default(),
        };
        let (mut session, mut prepared) = opening.split();
        match read_mode {
            ReadMode::Auto => {}
            ReadMode::Pages => prepared.read_mode = ReadMode::Copy,
            asked_for => prepared.read_mode = asked_for,
        }
        let mut begin = begin_statements(&session, &prepared.options, false)?;
        let relations = slice.relations();
        let locked = slice.locks();
        if matches!(slice.range, SliceRange::Key { .. })
            && slice.planned().relations.len() > 1
            && !prepared.options.transaction_settings().sets("constraint_exclusion")
        {
            begin.push_str("; ");
            begin.push_str(EXCLUDE);
        }
        let reader = match &slice.snapshot {
            Some(snapshot) => {
                let facts = Facts {
                    snapshot: snapshot.current.clone(),
                    exported: Some(snapshot.exported.clone()),
                    server_start: slice.source.server_started.clone(),
                    ..Facts::default()
                };
                if prepared.traits.is_plain_postgres {
                    ask_ahead(&mut session, slice, &facts, &begin, &locked)?;
                }
                ReaderSession::import(session, &facts, &begin, &locked, prepared.cancel)?
            }
            None => {
                let reader = ReaderSession::begin_inconsistent(session, &begin, &locked, prepared.cancel)?;
                let (facts, source) = (&reader.facts, &slice.source);
                // If there is a snapshot to take over, the server checks this.
                if facts.server_start != source.server_started || facts.database != source.database {
                    let text = "the slice was planned on another server, or before it was started anew, or in another database; plan again";
                    return Err(Error::new(ErrorKind::Options, text));
                }
                reader
            }
        };
        let mut keeper = Keeper::of_slice(reader, begin);
        for relation in &relations {
            if !is_unchanged(&mut keeper.reader.session, relation)? {
                let text = format!("{relation} is not what it was when the slice was planned; plan again");
                return Err(Error::new(ErrorKind::Options, text));
            }
        }
        let proof = {
            let and_of_views = !slice.opens.is_empty();
            Proof::of_slice(&mut keeper, &slice.may_open(), and_of_views, slice.of > 1, &prepared.traits)?
        };
        let (columns, subject) = match (&slice.subject, slice.relation()) {
            (SliceSubject::Query(sql), _) => {
                if Statement::parse(sql)?.n_parameters() > 0 {
                    return Err(refused("the slice's query has a parameter without a value"));
                }
                let description = keeper.reader.session.describe(sql)?;
                let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
                (query_columns(&mut keeper.reader.session, &described)?, "the query".to_owned())
            }
            (SliceSubject::Relations { .. }, Some(relation)) => {
                (self.columns_of_slice(&mut keeper.reader.session, slice, &relation)?, relation.to_string())
            }
            (SliceSubject::Relations { .. }, None) => return Err(refused("the slice names no relation")),
        };
        let planned: Vec<&PgColumn> = columns.iter().map(|column| &column.column).collect();
        slice.check_columns(&planned)?;
        all_exist(&prepared.options, &subject, columns.iter().map(|column| column.column.name.as_str()))?;
        let chosen = choose(&mut keeper.reader.session, &subject, columns, &prepared.options)?;
        if let Some(column) = chosen.columns.iter().find(|column| scan::is_wanted(column)) {
            // Each slice would find other digits.
            let text = format!(
                "{subject}, column {:?}: a slice cannot be scanned for precision and scale, since the others may have \
                 more digits",
                column.name
            );
            let decimal = Hint::column(&column.name, "decimal(P,S)");
            return Err(refused(&text).advice(message!["give the column a decimal (", decimal, ")"]));
        }
        let selection = slice.selection(&chosen.columns);
        if let (Some(relation), Some(filter)) = (slice.relation(), &filter) {
            check_filter(&mut keeper.reader.session, &selection.list(), &relation, filter.text())?;
        }
        let slices = Slices {
            slices: vec![slice.planned()],
            note: format!("slice {} of {}", slice.index.saturating_add(1), slice.of).into(),
            one_stream: Some(message![
                "a slice is one stream; cut smaller ones where it is planned (",
                SLICE_BYTES,
                ")"
            ]),
            is_refused: true,
        };
        let relation = slice.relation();
        let mut plan = plan(
            subject,
            relation.as_ref(),
            chosen,
            selection,
            slices,
            &prepared.options,
            &keeper.reader.facts,
        );
        // Without the plan's snapshot, each slice has another one.
        if slice.snapshot.is_some() {
            add_pages(&mut keeper.reader.session, &pages, std::slice::from_mut(&mut plan))?;
        }
        if read_mode == ReadMode::Pages && plan.pages.names().is_empty() {
            let why_not = Message::join(plan.pages.why_not.iter().cloned(), "; ");
            let text = "the slice was planned to be read by pages of the heap, and is read by COPY: ";
            plan.warnings.push(why_not.behind(text));
        }
        keeper.reader.session.forget_answers();
        Ok(prepared.engine(keeper, vec![plan], proof))
    }

    /// The columns of a slice of a table: those of the table with its children, or, if the plan had these,
    /// those of its own rows alone.
    fn columns_of_slice(
        &self,
        session: &mut Session,
        slice: &Slice,
        relation: &Relation,
    ) -> Result<Vec<ResolvedColumn>> {
        let request = Self { columns: Some(slice.columns.clone()), ..self.clone() };
        let of_tree = request.chosen(relation, table_columns(session, relation, false)?)?;
        let is_planned = |columns: &[ResolvedColumn]| {
            slice.check_columns(&columns.iter().map(|column| &column.column).collect::<Vec<_>>()).is_ok()
        };
        if is_planned(&of_tree) || !slice.is_of_one_alone() {
            return Ok(of_tree);
        }
        request.chosen(relation, table_columns(session, relation, true)?)
    }
}

/// Begins the slice's transaction and asks, in one round trip, what opening it will ask. If the server
/// refuses any of it, each statement is executed by itself, which shows what is wrong.
fn ask_ahead(
    session: &mut Session,
    slice: &Slice,
    facts: &Facts,
    begin: &str,
    locked: &[String],
) -> Result<()> {
    let relations: Vec<u32> = slice.relations().iter().map(|relation| relation.oid).collect();
    let answers = ask_about_slice(
        session,
        &SliceQuestions {
            // As `begin_anew` does, while the transaction to look things up in is open.
            begin: &format!("ROLLBACK; {}", import_statements(begin, facts)?),
            snapshot: &snapshot_query(session),
            lock: lock_statement(locked).as_deref(),
            relations: &relations,
            roots: &slice.may_open(),
            and_of_views: !slice.opens.is_empty(),
        },
    )?;
    session.keep_answers(answers.unwrap_or_default());
    Ok(())
}
