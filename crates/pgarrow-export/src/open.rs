//! From what was asked for to a planned export in its transaction.
//!
//! ```text
//!  Request ─▶ prepare session ─▶ resolve names ─▶ Keeper: lock, snapshot ─▶ columns, slices ─▶ Engine
//! ```

mod fixed;
mod query;
mod slice;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgarrow_catalog::{
    Leaf, Relation, RelationKind, RelationName, ResolvedColumn, ServerTraits, leaves, meant,
    quote_identifier, relation, resolve, server_traits, suggest, table_columns,
};
use pgarrow_protocol::{CopyOutStep, Session};
use pgarrow_session::{Cancel, Error, ErrorKind, Impatient, Pool, Pooled, Result};
use pgarrow_types::option::ONLY;
use pgarrow_types::{Message, message};

use crate::choose::{Chosen, all_exist, choose};
use crate::engine::{Engine, Job};
use crate::facts::Facts;
use crate::fewer;
use crate::keeper::Keeper;
use crate::locks::Held;
use crate::options::{ExportOptions, ReadMode};
use crate::phases::Phases;
use crate::plan::{Plan, add_pages, arrow_schema};
use crate::planner::select::Selection;
use crate::planner::{
    KeySource, PageWish, Slices, Slicing, can_be_read_alone, key_slices, reads_of_key_ranges, table_slices,
    whole,
};
use crate::proof::Proof;
use crate::run::Run;
use crate::scan::scan;
use crate::settings::look_up;
use crate::source::extract::{Request, What};
use crate::statement::Statement;
use fixed::{Fixed, Parts};

/// How often planning begins again because tables were attached or replaced meanwhile.
pub(crate) const PLANNINGS_MAX: u32 = 5;

/// A session on which nothing lasting was begun, and what is known of its server.
pub(crate) struct Opening<'a> {
    session: Session,
    pub(crate) options: ExportOptions,
    pub(crate) traits: ServerTraits,
    pub(crate) read_mode: ReadMode,
    pub(crate) cancel: &'a Cancel,
    /// Readers that were asked for by number.
    asked: Option<usize>,
    pooled: Pooled,
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
        let asked = options.readers;
        session.set_read_timeout(options.read_timeout);
        look_up(&mut session, &options)?;
        let traits = server_traits(&mut session)?;
        let pooled = Pooled::of(&session, traits.backend_pid);
        if pooled.is_pooled() {
            check_pooler(&mut session, &traits)?;
        }
        // A snapshot of a standby that was handed on could show transactions as finished that are running: see the
        // fix of PostgreSQL's src/test/recovery/t/056_standby_snapshot_export.pl, which no version number tells.
        if traits.in_recovery && options.readers_wanted() > 1 && !options.inconsistent {
            warnings.push(
                "the server is a standby, so one connection reads: snapshots are not shared there".to_owned(),
            );
            options.readers = Some(1);
        }
        // Where several were asked for, and there is something for several, that is an error: later.
        if options.readers.is_none()
            && options.readers_wanted() > 1
            && let Some(why_not) = why_not_shared(&mut session)?
        {
            warnings.push(format!("one connection reads, since the server hands out no snapshot: {why_not}"));
            options.readers = Some(1);
        }
        let read_mode = match options.read_mode {
            ReadMode::Auto => {
                look_up(&mut session, &options)?;
                probe(&mut session)?
            }
            // What is not read by pages comes by COPY.
            ReadMode::Pages => ReadMode::Copy,
            asked_for => asked_for,
        };
        Ok(Self { session, options, traits, read_mode, cancel, asked, pooled, warnings, connect, planning })
    }

    /// The session, in a transaction to look things up in. What fails there leaves it for another one.
    pub(crate) fn session(&mut self) -> Result<&mut Session> {
        look_up(&mut self.session, &self.options)?;
        Ok(&mut self.session)
    }

    pub(crate) fn slicing(&self) -> Slicing {
        let Self { options, .. } = self;
        Slicing {
            readers: options.readers_wanted(),
            slice_bytes: options.slice_bytes,
            ordered: options.ordered,
            split_on: options.split_on.clone(),
            only: false,
            is_of_many: false,
        }
    }

    /// What the read mode wishes for. Before the transaction begins.
    pub(crate) fn pages(&mut self, has_limit: bool) -> Result<PageWish> {
        let read_mode = match (self.options.read_mode, self.read_mode) {
            (ReadMode::Auto, ReadMode::Select) => ReadMode::Select,
            // What is not decoded has to be what the type's send function sends.
            (ReadMode::Auto, _) if !self.options.opaque.is_empty() => ReadMode::Copy,
            (asked_for, _) => asked_for,
        };
        look_up(&mut self.session, &self.options)?;
        PageWish::of(&mut self.session, &self.traits, &self.options, read_mode, has_limit)
    }

    /// Everything is known.
    pub(crate) fn engine(keeper: Keeper, plans: Vec<Plan>, proof: Proof, opened: Opened<'_>) -> Engine {
        let Opened { options, read_mode, in_recovery, cancel, asked, pooled, warnings, connect, planning } =
            opened;
        let mut warnings: Vec<Message> = warnings.into_iter().map(Message::from).collect();
        warnings.extend(fewer::than_asked(asked, &options, &plans));
        if keeper.is_lock_unknown {
            warnings.push(
                "the server knows no LOCK TABLE: a second connection has what is read open in a transaction instead"
                    .into(),
            );
        }
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
            proof,
            options,
            read_mode,
            in_recovery,
            pooled,
            cancel: cancel.clone(),
            progress: Arc::default(),
            impatient: Impatient::default(),
            phases,
            snapshot_taken: Instant::now(),
            pool: None,
        };
        Engine { keeper, job }
    }

    /// What is left of this once the keeper has the session.
    pub(crate) fn split(self) -> (Session, Opened<'a>) {
        let Self { session, options, traits, read_mode, cancel, asked, pooled, warnings, connect, planning } =
            self;
        let in_recovery = traits.in_recovery;
        (
            session,
            Opened { options, read_mode, in_recovery, cancel, asked, pooled, warnings, connect, planning },
        )
    }
}

/// An [`Opening`] without its session.
pub(crate) struct Opened<'a> {
    pub(crate) options: ExportOptions,
    read_mode: ReadMode,
    in_recovery: bool,
    pub(crate) cancel: &'a Cancel,
    asked: Option<usize>,
    pub(crate) pooled: Pooled,
    warnings: Vec<String>,
    connect: Duration,
    planning: Instant,
}

/// Statements of one transaction have to reach one server process.
fn check_pooler(session: &mut Session, traits: &ServerTraits) -> Result<()> {
    let rows = session.query("SELECT pg_catalog.pg_backend_pid()", &[])?;
    let now: Option<i32> = rows.first().and_then(|row| row.text(0)?.parse().ok());
    if now == traits.backend_pid {
        return Ok(());
    }
    let text = "the pooler sends the statements of one transaction to several server processes, so that nothing that \
                is read would be of one moment; use its session or transaction mode, or connect past it";
    Err(Error::new(ErrorKind::Server, text))
}

/// Why the server hands out no snapshots. Afterwards, the transaction may have failed.
fn why_not_shared(session: &mut Session) -> Result<Option<pgarrow_protocol::Error>> {
    match session.query("SELECT pg_catalog.pg_export_snapshot()", &[]) {
        Ok(_) => Ok(None),
        // A session that has ended is another matter.
        Err(error) if error.server_error().is_some_and(|report| !report.is_fatal()) => Ok(Some(error)),
        Err(error) => Err(error.into()),
    }
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
    pub(crate) fn open(
        self,
        pool: &Pool,
        session: Session,
        connect: Duration,
        cancel: &Cancel,
    ) -> Result<Run> {
        let _planning = tracing::info_span!(target: "pgarrow", "plan").entered();
        let attached = cancel.attach(&session);
        let opened =
            Opening::new(session, &self.options, connect, cancel).and_then(|opening| match &self.what {
                What::Table(name) => self.open_table(opening, name),
                What::Query(sql) => self.open_query(opening, sql),
                What::Slice(slice) => self.open_slice(opening, slice),
            });
        drop(attached);
        let mut engine = opened.map_err(|error| cancel.told(error))?;
        engine.job.pool = Some(pool.clone());
        match engine.job.plans.first().map(Arc::clone) {
            Some(plan) => Ok(Run::new(engine, plan)),
            None => Err(refused("nothing was planned; please report it")),
        }
    }

    fn open_table(&self, mut opening: Opening<'_>, name: &str) -> Result<Engine> {
        if !self.parameters.is_empty() {
            return Err(refused("parameters are for queries; a table's filter takes none"));
        }
        self.check_limit()?;
        let filter = self.filter.as_deref().map(Statement::parse_condition).transpose()?;
        let name = RelationName::parse(name)?;
        let names = self
            .columns
            .as_ref()
            .map(|names| names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", "));
        let select_list_to_hold = names.unwrap_or_else(|| "*".to_owned());
        let traits = opening.traits.clone();
        let pages = opening.pages(self.limit.is_some())?;
        let mut n_plannings = 0;
        loop {
            n_plannings += 1;
            let relation = known(opening.session()?, &name)?;
            refuse_of_others(opening.session()?, &relation)?;
            opening.options.readers = readers_of(&relation, opening.options.readers);
            let slicing = Slicing { only: self.only, ..opening.slicing() };
            if self.only && relation.kind == RelationKind::PartitionedTable {
                let text = format!(
                    "{relation} is a partitioned table, which has no rows of its own: all are in its partitions"
                );
                return Err(refused(&text).advice(message!["leave out ", ONLY, ", or name a partition"]));
            }
            let condition = match &filter {
                Some(filter) => Some(Fixed::of_filter(&mut opening, filter.text(), &relation)?),
                None => None,
            };
            let held = Held::relation(&relation, &select_list_to_hold);
            let is_plain = filter.is_none() && is_table(relation.kind);
            let (session, opened) = opening.split();
            let Opened { options, pooled, cancel, .. } = &opened;
            let mut keeper = Keeper::begin(session, &[held], is_plain, options, *pooled, cancel)?;
            let planned =
                self.plan_table(&mut keeper, &relation, condition, &slicing, &traits, &opened.options)?;
            match planned {
                Some((plan, proof)) => {
                    let mut plans = vec![plan];
                    add_pages(&mut keeper.session, &pages, &mut plans)?;
                    return Ok(Opening::engine(keeper, plans, proof, opened));
                }
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
        condition: Option<Fixed>,
        slicing: &Slicing,
        traits: &ServerTraits,
        options: &ExportOptions,
    ) -> Result<Option<(Plan, Proof)>> {
        if !is_unchanged(&mut keeper.session, relation)? {
            return Ok(None);
        }
        let all = table_columns(&mut keeper.session, relation, slicing.only)?;
        let columns = self.chosen(relation, all)?;
        let subject = relation.to_string();
        all_exist(options, &subject, columns.iter().map(|column| column.column.name.as_str()))?;
        let mut chosen = choose(&mut keeper.session, &subject, columns, options)?;
        if let Some(condition) = &condition {
            let selection = Selection::of_table(relation, &chosen.columns, None);
            check_filter(&mut keeper.session, &selection, relation, condition.text())?;
        }
        let has_filter = condition.is_some();
        let parts = match condition {
            Some(condition) => condition.fix(&mut keeper.session, Some(relation), traits)?,
            None if relation.kind == RelationKind::View && slicing.split_on.is_some() => {
                Fixed::default().fix(&mut keeper.session, Some(relation), traits)?
            }
            None => Parts::default(),
        };
        let filter = has_filter.then_some(parts.text.as_str());
        let selection = Selection::of_table(relation, &chosen.columns, filter).limited(self.limit);
        let mut names: Vec<String> = chosen.columns.iter().map(|column| column.name.clone()).collect();
        names.extend(slicing.split_on.clone());
        let mut leaves = leaves(&mut keeper.session, relation, &names)?;
        leaves.retain(|leaf| !slicing.only || leaf.relation.oid == relation.oid);
        if !are_held(keeper, relation, &leaves)? {
            return Ok(None);
        }
        let slices = match &slicing.split_on {
            _ if self.limit.is_some() => {
                whole(relation, slicing.only || can_be_read_alone(relation, traits), ONE_LIMIT)
            }
            Some(_) => {
                let session = &mut keeper.session;
                let reads = reads_of_key_ranges(session, relation, &leaves, traits, filter, slicing)?;
                if reads.len() > 1 && !options.transaction_settings().sets("constraint_exclusion") {
                    keeper.exclude_by_constraints()?;
                }
                let source = KeySource::Relation { relation, reads: &reads, only: slicing.only, filter };
                key_slices(&mut keeper.session, source, slicing)?
            }
            None => table_slices(&mut keeper.session, relation, &leaves, traits, filter, slicing)?,
        };
        let slices = parts.hold(slices, options, &mut chosen.warnings);
        scan(&mut keeper.session, &mut chosen, &selection, slicing.only)?;
        let mut plan = plan(subject, Some(relation), chosen, selection, slices, options, &keeper.facts);
        if has_filter {
            plan.estimated_rows = None;
        }
        plan.estimated_rows = plan.estimated_rows.map(|rows| rows.min(self.limit.unwrap_or(u64::MAX)));
        let proof = Proof::plan(keeper, std::slice::from_ref(&plan), &[relation.oid], traits)?;
        Ok(proof.map(|proof| (plan, proof)))
    }

    /// What a limit does not go together with.
    fn check_limit(&self) -> Result<()> {
        match self.limit.is_some() && self.options.split_on.is_some() {
            true => {
                Err(refused("a limit is for one statement: leave out the column to split on, or the limit"))
            }
            false => Ok(()),
        }
    }

    /// The columns that were asked for, in that order.
    fn chosen(&self, relation: &Relation, mut all: Vec<ResolvedColumn>) -> Result<Vec<ResolvedColumn>> {
        let Some(names) = &self.columns else {
            return Ok(all);
        };
        let known =
            all.iter().map(|column| quote_identifier(&column.column.name)).collect::<Vec<_>>().join(", ");
        let mut chosen = Vec::with_capacity(names.len());
        for name in names {
            if chosen.iter().any(|column: &ResolvedColumn| column.column.name == *name) {
                return Err(refused(&format!("column {name:?} is named twice")));
            }
            let Some(index) = all.iter().position(|column| column.column.name == *name) else {
                let names = all.iter().map(|column| column.column.name.as_str());
                return Err(refused(&format!(
                    "{relation} has no column {name:?}{}; it has {known}",
                    meant(name, names)
                )));
            };
            chosen.push(all.remove(index));
        }
        Ok(chosen)
    }
}

impl<'a> Opened<'a> {
    /// Back to the start, on the same session.
    pub(crate) fn reopen(self, session: Session, traits: ServerTraits) -> Opening<'a> {
        let Self { options, read_mode, cancel, asked, pooled, warnings, connect, planning, .. } = self;
        Opening { session, options, traits, read_mode, cancel, asked, pooled, warnings, connect, planning }
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

/// How many may read a relation: a temporary table is there for its own session only.
pub(crate) fn readers_of(relation: &Relation, wanted: Option<usize>) -> Option<usize> {
    if relation.is_temporary() { Some(1) } else { wanted }
}

pub(crate) fn is_table(kind: RelationKind) -> bool {
    matches!(kind, RelationKind::Table | RelationKind::PartitionedTable)
}

/// Finds a relation, or says what its name may have meant.
pub(crate) fn known(session: &mut Session, name: &RelationName) -> Result<Relation> {
    Ok(resolve(session, name).map_err(|error| suggest(session, error))?)
}

/// Why what has a limit is one slice.
const ONE_LIMIT: &str = "it has a limit, which counts the rows of one statement";

/// Refuses a temporary table of another session: its rows are in that one's memory. PostgreSQL 17.10 reads what is in the
/// file, and says nothing.
pub(crate) fn refuse_of_others(session: &mut Session, relation: &Relation) -> Result<()> {
    if !relation.is_temporary() {
        return Ok(());
    }
    let sql = "SELECT pg_catalog.pg_is_other_temp_schema(c.relnamespace)::pg_catalog.text \
               FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";
    let rows = session.query(sql, &[Some(&relation.oid.to_string())])?;
    if rows.first().is_none_or(|row| row.text(0) != Some("true")) {
        return Ok(());
    }
    let text = format!("{relation} is a temporary table of another session, and only that one can read it");
    Err(Error::as_server("0A000", text).advice("copy it into a table that is not temporary"))
}

pub(crate) fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}
