//! A session before its export is planned: what its server can do, and what the user asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgarrow_catalog::{
    CatalogError, EXPORT_SNAPSHOT, FirstQuestions, LookUp, Relation, RelationName, ServerTraits, ask_first,
    server_traits,
};
use pgarrow_protocol::{CopyOutStep, Session, TransactionStatus};
use pgarrow_session::{
    Cancel, Error, ErrorKind, Impatient, KnownTables, NamesInUse, Pool, Pooled, Result, ServerFacts,
    must_be_in_transaction, not_begun,
};
use pgarrow_types::Message;

use crate::ahead::{Ahead, QueryAhead, TablesAhead};
use crate::engine::{Engine, Job};
use crate::fewer;
use crate::keeper::Keeper;
use crate::locks::in_the_way;
use crate::options::{ExportOptions, ReadMode};
use crate::phases::Phases;
use crate::plan::Plan;
use crate::planner::{PageWish, Slicing};
use crate::progress::Progress;
use crate::proof::Proof;
use crate::reject::Rejects;
use crate::settings::{look_up, look_up_statements};

/// What came of planning.
pub(super) enum Planned {
    Engine(Box<Engine>),
    /// What an earlier export has found is no longer so: all has to be found anew, on this session.
    Outdated(Box<Session>),
}

/// What will be looked up first.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    pub(super) names: Vec<RelationName>,
    /// A query, as it will be described.
    pub(super) query: Option<String>,
    /// The query has parameters, and can be explained only with values in their place.
    pub(super) has_parameters: bool,
    /// What an earlier export has found will do.
    pub(super) may_be_known: bool,
}

impl LookedUp {
    /// The names as they were typed.
    fn typed(&self) -> Vec<String> {
        self.names.iter().map(RelationName::quoted).collect()
    }
}

/// A session without any lasting work yet, and what is known so far.
pub(super) struct Opening<'a> {
    session: Session,
    pub(super) prepared: Prepared<'a>,
}

/// What the user asked for, as far as the server supports it, and what is known about the server.
pub(super) struct Prepared<'a> {
    pub(super) options: ExportOptions,
    pub(super) traits: ServerTraits,
    pub(super) read_mode: ReadMode,
    pub(super) cancel: &'a Cancel,
    /// Where sessions come from and go to.
    pool: &'a Pool,
    /// The number of readers, if the user named one.
    asked: Option<usize>,
    pub(super) pooled: Pooled,
    warnings: Vec<String>,
    connect: Duration,
    planning: Instant,
    /// What will be looked up first, if it can be known from an earlier export.
    names: Option<NamesInUse>,
    /// What it meant to an earlier export. The traits are from there, too.
    pub(super) known: Option<KnownTables>,
    /// Something is known that the export's transaction has not shown yet.
    pub(super) is_known: bool,
}

impl<'a> Opening<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        mut session: Session,
        options: &ExportOptions,
        first: &LookedUp,
        connect: Duration,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let planning = Instant::now();
        let mut warnings = session.warnings().to_vec();
        let mut options = options.clone();
        let asked = options.readers;
        session.set_read_timeout(options.read_timeout);
        let role = options.role.clone();
        let facts_before = pool.facts(&session, role.as_deref());
        let (names, query) = (first.typed(), first.query.clone());
        let in_use = NamesInUse::new(&session, role.as_deref(), &options.settings, names, query);
        let known = in_use.as_ref().filter(|_| first.may_be_known).and_then(|names| pool.known_tables(names));
        let tried = to_try(&options, facts_before);
        let (traits, shown, known) = match (known, session.backend_pid()) {
            (Some(known), Some(pid)) if tried == ServerFacts::default() => {
                let traits = ServerTraits { backend_pid: Some(pid), ..known.traits.clone() };
                (traits, tried, Some(known))
            }
            _ => {
                let (traits, shown) = look_up_first(&mut session, &options, first, tried)?;
                (traits, shown, None)
            }
        };
        let pooled = Pooled::of(&session, traits.backend_pid);
        if pooled.is_pooled() {
            check_pooler(&mut session, &traits)?;
        }
        // Behind a pooler, only what this transaction has shown.
        let kept = if pooled.is_pooled() { ServerFacts::default() } else { facts_before };
        let mut facts = kept.and(shown);
        warnings.extend(restrict_readers(&mut session, &traits, &mut options, &mut facts)?);
        let read_mode = match options.read_mode {
            ReadMode::Auto if facts.has_copy => ReadMode::Copy,
            ReadMode::Auto => {
                look_up(&mut session, &options)?;
                let found = probe(&mut session)?;
                facts.has_copy = found == ReadMode::Copy;
                found
            }
            // Rows that are not read by pages come by COPY.
            ReadMode::Pages => ReadMode::Copy,
            asked_for => asked_for,
        };
        if facts != facts_before && !pooled.is_pooled() {
            pool.keep_facts(&session, role.as_deref(), facts);
        }
        let prepared = Prepared {
            options,
            traits,
            read_mode,
            cancel,
            pool,
            asked,
            pooled,
            warnings,
            connect,
            planning,
            names: in_use,
            is_known: known.is_some(),
            known,
        };
        Ok(Self { session, prepared })
    }

    /// For a description: statements are tried out on the server, nothing is opened.
    pub(super) fn of_description(
        pool: &'a Pool,
        session: Session,
        options: &ExportOptions,
        traits: ServerTraits,
        cancel: &'a Cancel,
    ) -> Self {
        let prepared = Prepared {
            options: options.clone(),
            traits,
            read_mode: ReadMode::Copy,
            cancel,
            pool,
            asked: None,
            pooled: Pooled::default(),
            warnings: Vec::new(),
            connect: Duration::ZERO,
            planning: Instant::now(),
            names: None,
            known: None,
            is_known: false,
        };
        Self { session, prepared }
    }

    /// The session, in a look-up transaction. After a failure, the next call begins a new one.
    pub(super) fn session(&mut self) -> Result<&mut Session> {
        look_up(&mut self.session, &self.prepared.options)?;
        Ok(&mut self.session)
    }

    pub(super) fn slicing(&self) -> Slicing {
        Slicing::of(&self.prepared.options)
    }

    /// What the read mode wants. Runs before the transaction begins.
    pub(super) fn pages(&mut self, has_limit: bool) -> Result<PageWish> {
        let Prepared { options, traits, .. } = &self.prepared;
        let read_mode = match (options.read_mode, self.prepared.read_mode) {
            (ReadMode::Auto, ReadMode::Select) => ReadMode::Select,
            // Undecoded values must be the bytes of the type's send function.
            (ReadMode::Auto, _) if !options.opaque.is_empty() || options.has_opaque_tables => ReadMode::Copy,
            (asked_for, _) => asked_for,
        };
        if options.read_mode == ReadMode::Pages || !traits.is_plain_postgres {
            look_up(&mut self.session, options)?;
        }
        PageWish::of(&mut self.session, traits, options, read_mode, has_limit)
    }

    /// The error of a statement that had to wait for locks.
    pub(super) fn not_waited(&mut self, error: CatalogError) -> Error {
        match error {
            CatalogError::Protocol(error) if error.sqlstate() == Some("55P03") => {
                in_the_way(self.session().ok(), error)
            }
            error => error.into(),
        }
    }

    /// Begins again on the session of a failed attempt.
    pub(super) fn reopen(session: Session, prepared: Prepared<'a>) -> Self {
        Self { session, prepared }
    }

    /// The session for a keeper, and the rest.
    pub(super) fn split(self) -> (Session, Prepared<'a>) {
        (self.session, self.prepared)
    }
}

impl Prepared<'_> {
    /// What is known about the names is no longer so.
    pub(super) fn outdated(self, mut session: Session) -> Planned {
        session.forget_answers();
        if let Some(names) = self.names {
            self.pool.keep_tables(names, None);
        }
        Planned::Outdated(Box::new(session))
    }

    /// Notes what names mean, for the next export. Behind a pooler, that may be one of another server.
    pub(super) fn keep_tables(&self, ahead: Option<Ahead>) {
        let (may_be_known, relations, columns) = match ahead {
            Some(Ahead::Tables(TablesAhead { may_be_known, is_known, relations, .. })) => {
                (may_be_known && !is_known, relations, Vec::new())
            }
            Some(Ahead::Query(QueryAhead { may_be_known, is_known, relations, columns, .. })) => {
                (may_be_known && !is_known, relations, columns)
            }
            None => return,
        };
        if !may_be_known || relations.iter().any(Relation::is_temporary) {
            return;
        }
        if let Some(names) = self.names.clone().filter(|_| !self.pooled.is_pooled()) {
            let tables = KnownTables { traits: self.traits.clone(), relations, columns };
            self.pool.keep_tables(names, Some(tables));
        }
    }

    /// The engine, now that everything is known.
    pub(super) fn engine(self, keeper: Keeper, plans: Vec<Plan>, proof: Proof) -> Engine {
        let Self {
            options, traits, read_mode, cancel, pool, asked, pooled, warnings, connect, planning, ..
        } = self;
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
        let plans: Vec<_> = plans.into_iter().map(Arc::new).collect();
        let rejects = options.reject.then(|| Rejects::new(options.reject_limit));
        let job = Job {
            rejects,
            progress: Arc::new(Progress::new(&plans)),
            plans,
            proof,
            options,
            read_mode,
            in_recovery: traits.in_recovery,
            pooled,
            cancel: cancel.clone(),
            impatient: Impatient::default(),
            phases,
            snapshot_taken: Instant::now(),
            pool: pool.clone(),
            completions: None,
            keeps_going: false,
            in_turn: false,
        };
        Engine { keeper, job }
    }
}

/// Checks that statements of one transaction reach one server process.
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

/// Whether only one connection may read, since the server is a standby.
///
/// A snapshot that a standby exports could show running transactions as finished: see the fix of PostgreSQL's
/// src/test/recovery/t/056_standby_snapshot_export.pl, which no version number indicates.
fn is_alone_on_standby(traits: &ServerTraits, options: &ExportOptions) -> bool {
    traits.in_recovery && options.readers_wanted() > 1 && !options.inconsistent
}

/// Begins the transaction to look things up in and asks about the server and about `first`, in one round trip
/// if it can be. Also returns what the server has shown of what was to be `tried`.
fn look_up_first(
    session: &mut Session,
    options: &ExportOptions,
    first: &LookedUp,
    tried: ServerFacts,
) -> Result<(ServerTraits, ServerFacts)> {
    if session.transaction_status() == TransactionStatus::Idle {
        let begin = look_up_statements(session, options)?;
        let questions = FirstQuestions {
            begin: &begin,
            names: &first.names,
            query: first.query.as_deref().map(|sql| match first.has_parameters {
                true => LookUp::Description(sql),
                false => LookUp::Plan(sql),
            }),
            tries_copy: tried.has_copy,
            tries_snapshot: tried.exports_snapshots,
        };
        let answers = ask_first(session, &questions).map_err(|error| not_begun(error.into()))?;
        if let Some(answers) = answers {
            must_be_in_transaction(session, "an export")?;
            session.keep_answers(answers);
            return Ok((server_traits(session)?, tried));
        }
    }
    look_up(session, options)?;
    Ok((server_traits(session)?, ServerFacts::default()))
}

/// What the server has to show, besides what is known.
fn to_try(options: &ExportOptions, known: ServerFacts) -> ServerFacts {
    ServerFacts {
        has_copy: options.read_mode == ReadMode::Auto && !known.has_copy,
        exports_snapshots: wants_to_know_of_snapshots(options) && !known.exports_snapshots,
    }
}

/// Whether the number of readers depends on whether the server exports snapshots.
fn wants_to_know_of_snapshots(options: &ExportOptions) -> bool {
    options.readers.is_none() && options.readers_wanted() > 1
}

/// Reduces the readers to one where no more can read, and returns the reason. `facts` keeps what the server
/// showed.
///
/// The user may have asked for several readers: then nothing is restricted, and sharing the snapshot fails
/// later.
pub(super) fn restrict_readers(
    session: &mut Session,
    traits: &ServerTraits,
    options: &mut ExportOptions,
    facts: &mut ServerFacts,
) -> Result<Option<String>> {
    if is_alone_on_standby(traits, options) {
        options.readers = Some(1);
        let text = "the server is a standby, so one connection reads: snapshots are not shared there";
        return Ok(Some(text.to_owned()));
    }
    if !wants_to_know_of_snapshots(options) || facts.exports_snapshots {
        return Ok(None);
    }
    look_up(session, options)?;
    let Some(why_not) = why_not_shared(session)? else {
        facts.exports_snapshots = true;
        return Ok(None);
    };
    options.readers = Some(1);
    Ok(Some(format!("one connection reads, since the server hands out no snapshot: {why_not}")))
}

/// Why the server exports no snapshots. Afterwards, the transaction may have failed.
fn why_not_shared(session: &mut Session) -> Result<Option<pgarrow_protocol::Error>> {
    match session.query(EXPORT_SNAPSHOT, &[]) {
        Ok(_) => Ok(None),
        // A session that has ended is another matter.
        Err(error) if error.server_error().is_some_and(|report| !report.is_fatal()) => Ok(Some(error)),
        Err(error) => Err(error.into()),
    }
}

/// COPY if the server knows it, else SELECT.
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
