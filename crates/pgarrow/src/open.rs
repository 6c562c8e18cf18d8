//! From what was asked for to a planned export in its transaction.
//!
//! ```text
//!  Request ─▶ prepare session ─▶ resolve names ─▶ Keeper: lock, snapshot ─▶ columns, slices ─▶ Engine
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgarrow_catalog::{
    CatalogError, Leaf, Relation, RelationKind, RelationName, ResolvedColumn, ServerTraits,
    explained_relations, format_types, leaves, query_columns, quote_identifier, relation, resolve,
    server_traits, table_columns,
};
use pgarrow_protocol::{CopyOutStep, Session};
use pgarrow_types::PgColumn;

use crate::cancel::Cancel;
use crate::choose::{Chosen, all_exist, choose, typed};
use crate::engine::{Engine, Job};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Request, What};
use crate::keeper::{Facts, Held, Keeper, begin_statements, literal, prepare};
use crate::options::{ExportOptions, ReadMode};
use crate::phases::Phases;
use crate::plan::{Plan, arrow_schema};
use crate::planner::select::Selection;
use crate::planner::{KeySource, Slices, Slicing, key_slices, table_slices};
use crate::run::Run;
use crate::scan::{self, scan};
use crate::slice::{Slice, SliceSubject};
use crate::statement::Statement;

/// How often planning begins again because tables were attached or replaced meanwhile.
pub(crate) const PLANNINGS_MAX: u32 = 5;

/// A session on which nothing was begun, and what is known of its server.
pub(crate) struct Opening<'a> {
    pub(crate) session: Session,
    pub(crate) options: ExportOptions,
    pub(crate) traits: ServerTraits,
    pub(crate) read_mode: ReadMode,
    pub(crate) cancel: &'a Cancel,
    warnings: Vec<String>,
    connect: Duration,
    planning: Instant,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(
        mut session: Session,
        options: &ExportOptions,
        connect: Duration,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let planning = Instant::now();
        let mut warnings = session.warnings().to_vec();
        let mut options = options.clone();
        prepare(&mut session, &options)?;
        let traits = server_traits(&mut session)?;
        // A snapshot of a standby that was handed on could show transactions as finished that are running: see the
        // fix of PostgreSQL's src/test/recovery/t/056_standby_snapshot_export.pl, which no version number tells.
        if traits.in_recovery && options.readers_wanted() > 1 && !options.inconsistent {
            warnings.push(
                "the server is a standby, so one connection reads: snapshots are not shared there".to_owned(),
            );
            options.readers = Some(1);
        }
        let read_mode = match options.read_mode {
            ReadMode::Auto => probe(&mut session)?,
            asked_for => asked_for,
        };
        Ok(Self { session, options, traits, read_mode, cancel, warnings, connect, planning })
    }

    pub(crate) fn slicing(&self) -> Slicing {
        let Self { options, .. } = self;
        Slicing {
            readers: options.readers_wanted(),
            slice_bytes: options.slice_bytes,
            ordered: options.ordered,
            split_on: options.split_on.clone(),
            only: false,
        }
    }

    /// Everything is known.
    pub(crate) fn engine(keeper: Keeper, plans: Vec<Plan>, opened: Opened<'_>) -> Engine {
        let Opened { options, read_mode, in_recovery, cancel, warnings, connect, planning } = opened;
        let mut plans = plans;
        if let Some(first) = plans.first_mut() {
            first.warnings.splice(0..0, warnings);
        }
        let phases = Phases {
            connect: connect.as_secs_f64(),
            plan: planning.elapsed().as_secs_f64(),
            ..Phases::default()
        };
        let plans = plans.into_iter().map(Arc::new).collect();
        let job = Job {
            plans,
            options,
            read_mode,
            in_recovery,
            cancel: cancel.clone(),
            progress: Arc::default(),
            phases,
            snapshot_taken: Instant::now(),
        };
        Engine { keeper, job }
    }

    /// What is left of this once the keeper has the session.
    pub(crate) fn split(self) -> (Session, Opened<'a>) {
        let Self { session, options, traits, read_mode, cancel, warnings, connect, planning } = self;
        let in_recovery = traits.in_recovery;
        (session, Opened { options, read_mode, in_recovery, cancel, warnings, connect, planning })
    }
}

/// An [`Opening`] without its session.
pub(crate) struct Opened<'a> {
    pub(crate) options: ExportOptions,
    read_mode: ReadMode,
    in_recovery: bool,
    pub(crate) cancel: &'a Cancel,
    warnings: Vec<String>,
    connect: Duration,
    planning: Instant,
}

/// COPY where the server knows it, SELECT where it does not.
fn probe(session: &mut Session) -> Result<ReadMode> {
    let refused = |error: pgarrow_protocol::Error| match error.sqlstate() {
        // Not supported; not understood; not allowed.
        Some("0A000" | "42601" | "42501") => Ok(ReadMode::Select),
        _ => Err(Error::from(error)),
    };
    let mut copy = match session.copy_out("COPY (SELECT 1) TO STDOUT (FORMAT binary)") {
        Ok(copy) => copy,
        Err(error) => return refused(error),
    };
    loop {
        match copy.advance() {
            Ok(CopyOutStep::Done { .. }) => return Ok(ReadMode::Copy),
            Ok(CopyOutStep::Data) => {
                // One whole CopyData: its tag, and a length that counts itself.
                let length = copy.buffered().get(1..5).and_then(|bytes| bytes.try_into().ok());
                let length = length.map_or(0, u32::from_be_bytes) as usize;
                copy.consume(1 + length);
            }
            Err(error) => return refused(error),
        }
    }
}

impl Request {
    pub(crate) fn open(self, session: Session, connect: Duration, cancel: &Cancel) -> Result<Run> {
        let _planning = tracing::info_span!(target: "pgarrow", "plan").entered();
        let attached = cancel.attach(&session);
        let opened =
            Opening::new(session, &self.options, connect, cancel).and_then(|opening| match &self.what {
                What::Table(name) => self.open_table(opening, name),
                What::Query(sql) => self.open_query(opening, sql),
                What::Slice(slice) => self.open_slice(opening, slice),
            });
        drop(attached);
        let engine = opened.map_err(|error| cancel.told(error))?;
        match engine.job.plans.first().map(Arc::clone) {
            Some(plan) => Ok(Run::new(engine, plan)),
            None => Err(refused("nothing was planned; please report it")),
        }
    }

    fn open_table(&self, mut opening: Opening<'_>, name: &str) -> Result<Engine> {
        if !self.parameters.is_empty() {
            return Err(refused("parameters are for queries; a table's filter takes none"));
        }
        let filter = self.filter.as_deref().map(Statement::parse_condition).transpose()?;
        let filter = filter.as_ref().map(Statement::text);
        let name = RelationName::parse(name)?;
        let names = self
            .columns
            .as_ref()
            .map(|names| names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", "));
        let select_list_to_hold = names.unwrap_or_else(|| "*".to_owned());
        let slicing = Slicing { only: self.only, ..opening.slicing() };
        let traits = opening.traits.clone();
        let mut n_plannings = 0;
        loop {
            n_plannings += 1;
            let relation = resolve(&mut opening.session, &name)?;
            if self.only && relation.kind == RelationKind::PartitionedTable {
                let text = format!(
                    "{relation} is a partitioned table, which has no rows of its own: all are in its partitions; \
                     leave out --only, or name a partition"
                );
                return Err(refused(&text));
            }
            let held = Held::relation(&relation, &select_list_to_hold);
            let is_plain = filter.is_none() && is_table(relation.kind);
            let (session, opened) = opening.split();
            let mut keeper = Keeper::begin(session, &[held], is_plain, &opened.options, opened.cancel)?;
            let planned =
                self.plan_table(&mut keeper, &relation, filter, &slicing, &traits, &opened.options)?;
            match planned {
                Some(plan) => return Ok(Opening::engine(keeper, vec![plan], opened)),
                None if n_plannings < PLANNINGS_MAX => {
                    opening = opened.reopen(keeper.give_up()?, traits.clone());
                }
                None => {
                    let text = format!(
                        "{relation} was changed again and again while the export was planned; run it again"
                    );
                    return Err(Error::new(ErrorKind::Server, text));
                }
            }
        }
    }

    /// Plans a table that is locked. `None` if it, or what it consists of, is no longer what was locked.
    fn plan_table(
        &self,
        keeper: &mut Keeper,
        relation: &Relation,
        filter: Option<&str>,
        slicing: &Slicing,
        traits: &ServerTraits,
        options: &ExportOptions,
    ) -> Result<Option<Plan>> {
        if !is_unchanged(&mut keeper.session, relation)? {
            return Ok(None);
        }
        let all = table_columns(&mut keeper.session, relation, slicing.only)?;
        let columns = self.chosen(relation, all)?;
        let subject = relation.to_string();
        all_exist(options, &subject, columns.iter().map(|column| column.column.name.as_str()))?;
        let mut chosen = choose(&mut keeper.session, &subject, columns, options)?;
        let selection = Selection::of_table(relation, &chosen.columns, filter);
        if let Some(filter) = filter {
            check_filter(&mut keeper.session, &selection, relation, filter)?;
        }
        let names: Vec<String> = chosen.columns.iter().map(|column| column.name.clone()).collect();
        let mut leaves = leaves(&mut keeper.session, relation, &names)?;
        leaves.retain(|leaf| !slicing.only || leaf.relation.oid == relation.oid);
        if !are_held(keeper, relation, &leaves)? {
            return Ok(None);
        }
        let slices = match &slicing.split_on {
            Some(_) => {
                let source = KeySource::Relation { relation, only: slicing.only, filter };
                key_slices(&mut keeper.session, source, slicing)?
            }
            None => table_slices(&mut keeper.session, relation, &leaves, traits, filter, slicing)?,
        };
        scan(&mut keeper.session, &mut chosen, &selection, slicing.only)?;
        let mut plan = plan(subject, Some(relation), chosen, selection, slices, options, &keeper.facts);
        if filter.is_some() {
            plan.estimated_rows = None;
        }
        Ok(Some(plan))
    }

    /// The columns that were asked for, in that order.
    fn chosen(&self, relation: &Relation, mut all: Vec<ResolvedColumn>) -> Result<Vec<ResolvedColumn>> {
        let Some(names) = &self.columns else {
            return Ok(all);
        };
        if names.is_empty() {
            return Err(refused("the list of columns is empty; leave it out to read all"));
        }
        let known =
            all.iter().map(|column| quote_identifier(&column.column.name)).collect::<Vec<_>>().join(", ");
        let mut chosen = Vec::with_capacity(names.len());
        for name in names {
            if chosen.iter().any(|column: &ResolvedColumn| column.column.name == *name) {
                return Err(refused(&format!("column {name:?} is named twice")));
            }
            let Some(index) = all.iter().position(|column| column.column.name == *name) else {
                return Err(refused(&format!("{relation} has no column {name:?}; it has {known}")));
            };
            chosen.push(all.remove(index));
        }
        Ok(chosen)
    }

    fn open_query(&self, mut opening: Opening<'_>, sql: &str) -> Result<Engine> {
        if self.columns.is_some() || self.filter.is_some() {
            return Err(refused("columns and filter are for tables; put them into the query"));
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
        let mut chosen = choose(&mut keeper.session, &subject, columns, &opened.options)?;
        let slices = match slicing.split_on {
            Some(_) => {
                let source = KeySource::Query { sql: statement.text(), columns: &chosen.columns };
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

    fn open_slice(&self, opening: Opening<'_>, slice: &Slice) -> Result<Engine> {
        if self.columns.is_some() || self.filter.is_some() || !self.parameters.is_empty() || self.only {
            return Err(refused(
                "a slice brings its own columns, filter and parameters, and whether it is ONLY",
            ));
        }
        slice.check()?;
        // A token may come from anywhere: its filter is held to what a filter that was typed is held to.
        let filter = slice.filter.as_deref().map(Statement::parse_condition).transpose()?;
        let read_mode = slice.read_mode;
        let (mut session, mut opened) = opening.split();
        if read_mode != ReadMode::Auto {
            opened.read_mode = read_mode;
        }
        let begin = begin_statements(&mut session, &opened.options, false)?;
        let relations = slice.relations();
        let lockable = relations.iter().map(|relation| Held::relation(relation, "*"));
        let locked: Vec<String> = lockable.filter(|held| held.is_lockable).map(|held| held.quoted).collect();
        let mut keeper = match &slice.snapshot {
            Some(snapshot) => {
                let facts = Facts {
                    snapshot: snapshot.current.clone(),
                    exported: Some(snapshot.exported.clone()),
                    server_start: slice.source.server_started.clone(),
                    ..Facts::default()
                };
                Keeper::import(session, &facts, &begin, &locked, opened.cancel)?
            }
            None => {
                let keeper = Keeper::begin_inconsistent(session, &begin, &locked, opened.cancel)?;
                let (facts, source) = (&keeper.facts, &slice.source);
                // Where there is a snapshot to take over, the server sees to this.
                if facts.server_start != source.server_started || facts.database != source.database {
                    let text = "the slice was planned on another server, or before it was started anew, or in another database; plan again";
                    return Err(Error::new(ErrorKind::Options, text));
                }
                keeper
            }
        };
        for relation in &relations {
            if !is_unchanged(&mut keeper.session, relation)? {
                let text = format!("{relation} is not what it was when the slice was planned; plan again");
                return Err(Error::new(ErrorKind::Options, text));
            }
        }
        let (columns, subject) = match (&slice.subject, slice.relation()) {
            (SliceSubject::Query(sql), _) => {
                if Statement::parse(sql)?.n_parameters() > 0 {
                    return Err(refused("the slice's query has a parameter without a value"));
                }
                let description = keeper.session.describe(sql)?;
                let described = description.columns.ok_or(CatalogError::ReturnsNothing)?;
                (query_columns(&mut keeper.session, &described)?, "the query".to_owned())
            }
            (SliceSubject::Relations { .. }, Some(relation)) => {
                (self.columns_of_slice(&mut keeper.session, slice, &relation)?, relation.to_string())
            }
            (SliceSubject::Relations { .. }, None) => return Err(refused("the slice names no relation")),
        };
        let planned: Vec<&PgColumn> = columns.iter().map(|column| &column.column).collect();
        slice.check_columns(&planned)?;
        all_exist(&opened.options, &subject, columns.iter().map(|column| column.column.name.as_str()))?;
        let chosen = choose(&mut keeper.session, &subject, columns, &opened.options)?;
        if let Some(column) = chosen.columns.iter().find(|column| scan::is_wanted(column)) {
            // Every slice would find something else.
            let text = format!(
                "{subject}, column {:?}: a slice cannot be scanned for precision and scale, since the others may have \
                 more digits; give the column a decimal (--column {}:decimal(P,S))",
                column.name,
                typed(&column.name)
            );
            return Err(refused(&text));
        }
        let selection = slice.selection(&chosen.columns);
        if let (Some(relation), Some(filter)) = (slice.relation(), &filter) {
            check_filter(&mut keeper.session, &selection, &relation, filter.text())?;
        }
        let note = format!("slice {} of {}", slice.index.saturating_add(1), slice.of);
        let slices = Slices { slices: vec![slice.planned()], note };
        let relation = slice.relation();
        let plan =
            plan(subject, relation.as_ref(), chosen, selection, slices, &opened.options, &keeper.facts);
        Ok(Opening::engine(keeper, vec![plan], opened))
    }
}

impl Request {
    /// The columns of a slice of a table: as the whole table has them, or, if they were planned so, its own rows alone.
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

impl<'a> Opened<'a> {
    /// Back to the start, on the same session.
    pub(crate) fn reopen(self, session: Session, traits: ServerTraits) -> Opening<'a> {
        let Self { options, read_mode, cancel, warnings, connect, planning, .. } = self;
        Opening { session, options, traits, read_mode, cancel, warnings, connect, planning }
    }
}

/// A plan, its schema made.
pub(crate) fn plan(
    subject: String,
    relation: Option<&Relation>,
    chosen: Chosen,
    selection: Selection,
    slices: Slices,
    options: &ExportOptions,
    facts: &Facts,
) -> Plan {
    let schema = Arc::new(arrow_schema(&chosen.columns, relation, &facts.server_version, options.field_ids));
    Plan::new(subject, relation.cloned(), chosen, schema, selection, slices)
}

/// Asks the server whether a filter is one of this relation. Its errors should name the filter, not COPY.
fn check_filter(
    session: &mut Session,
    selection: &Selection,
    relation: &Relation,
    filter: &str,
) -> Result<()> {
    let sql = format!("SELECT {} FROM {} WHERE (\n{filter}\n)", selection.list(), relation.quoted());
    let described = session.describe(&sql);
    described.map_err(|error| Error::from(error).context("the filter cannot be used"))?;
    Ok(())
}

/// Between resolving a name and locking it, somebody may have put another relation in its place.
pub(crate) fn is_unchanged(session: &mut Session, planned: &Relation) -> Result<bool> {
    Ok(relation(session, planned.oid)?.as_ref() == Some(planned))
}

/// Whether all tables that belong to a relation in this snapshot were locked before it was taken: one that was attached
/// between the two may have been rewritten since.
pub(crate) fn are_held(keeper: &mut Keeper, relation: &Relation, leaves: &[Leaf]) -> Result<bool> {
    if leaves.iter().all(|leaf| leaf.relation.oid == relation.oid) {
        return Ok(true);
    }
    let pids: Vec<String> = keeper.backend_pids().iter().map(i32::to_string).collect();
    let sql = "SELECT DISTINCT relation::pg_catalog.text FROM pg_catalog.pg_locks \
               WHERE locktype OPERATOR(pg_catalog.=) 'relation' AND granted \
               AND pid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int4[])";
    let rows = keeper.session.query(sql, &[Some(&format!("{{{}}}", pids.join(",")))])?;
    let held: HashSet<u32> = rows.iter().filter_map(|row| row.text(0)?.parse().ok()).collect();
    Ok(leaves.iter().all(|leaf| held.contains(&leaf.relation.oid)))
}

pub(crate) fn is_table(kind: RelationKind) -> bool {
    matches!(kind, RelationKind::Table | RelationKind::PartitionedTable)
}

pub(crate) fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}
