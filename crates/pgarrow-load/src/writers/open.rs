//! The beginning of a load with several writers: finds and locks the target, creates the hidden table,
//! starts the writers.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::Schema;
use pgarrow_catalog::{Relation, RelationName, resolve};
use pgarrow_protocol::Session;
use pgarrow_session::{
    AttachedSession, Cancel, Error, ErrorKind, Result, server_timeout, without_read_timeout,
};
use pgarrow_types::option::WRITERS;
use pgarrow_types::{Message, message};

use crate::names::Names;
use crate::options::{LoadMethod, LoadMode, LoadOptions};
use crate::plan::{self, LoadPlan};
use crate::target::{self, TargetTable, has_insert_rules, is_missing};
use crate::transaction::{begin, commit, roll_back, server_error};

use super::Writers;
use super::leader::{Goal, Leader};
use super::start::{Sessions, start};
use crate::hidden::{Hidden, name_beside, sweep};

/// The most time that the leader waits for its first lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A load whose writers have started.
pub(crate) struct OpenWriters {
    pub(crate) target: TargetTable,
    pub(crate) plan: Arc<LoadPlan>,
    pub(crate) writers: Writers,
}

/// Plans the load in this session, and starts it.
///
/// # Errors
///
/// As for [`Load::open`](crate::Load::open). Nothing is changed then.
pub(crate) fn open(
    session: Session,
    attached: AttachedSession,
    cancel: &Cancel,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
) -> Result<OpenWriters> {
    let config = session.config().clone();
    let sessions = Sessions { config, cancel, options };
    let mut session = session;
    let planned = plan_all(&mut session, name, schema, options);
    let (target, goal, plan, hidden) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            roll_back(session);
            return Err(error);
        }
    };
    let (leader, first) = match hidden {
        // The session has created the hidden table, and becomes the first writer.
        Some(hidden) => {
            let kept = keep(&sessions, &hidden, &goal, name, &target.shown);
            let (leader, of_keeper) = match kept {
                Ok(kept) => kept,
                Err(error) => {
                    roll_back(session);
                    return Err(error);
                }
            };
            let leader = keeper_of(leader, of_keeper, hidden, goal, &target, options);
            // Attached before the old handle is dropped, so a cancel can stop the session at any time.
            let aside = cancel.attach_aside(&session);
            drop(attached);
            if let Err(error) = commit(&mut session) {
                drop(session);
                return Err(leader.take_back(not_begun(server_error(error, &target.shown))));
            }
            (leader, (session, aside))
        }
        // The session becomes the leader, and the first writer creates the hidden table.
        None => {
            let mut session = session;
            match stage(&sessions, &mut session, &target, &plan) {
                Ok((hidden, writer)) => {
                    let leader = keeper_of(session, attached, hidden, goal, &target, options);
                    (leader, writer)
                }
                Err(error) => {
                    roll_back(session);
                    return Err(error);
                }
            }
        }
    };
    let plan = Arc::new(plan);
    start(&sessions, leader, first, &target, &plan).map(|writers| OpenWriters { target, plan, writers })
}

type Planned = (TargetTable, Goal, LoadPlan, Option<Hidden>);

/// Finds or creates the table, and plans the columns. Leaves the transaction open.
fn plan_all(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
) -> Result<Planned> {
    let swept = sweep(session, name, options)?;
    begin(session, options)?;
    let mode = match options.mode {
        LoadMode::Replace if is_missing(session, name)? => LoadMode::Create,
        mode => mode,
    };
    let mut planned = plan_mode(session, name, schema, options, mode)?;
    planned.2.warnings.extend(swept.into_iter().map(Message::from));
    Ok(planned)
}

fn plan_mode(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
    mode: LoadMode,
) -> Result<Planned> {
    match mode {
        LoadMode::Create => {
            let (target, name) = create(session, name, schema, options)?;
            let plan = plan::plan(session, &target, schema, options)?;
            let hidden = Hidden::hide(session, target.relation.clone(), &target.shown)?;
            Ok((target, Goal::Create(name), plan, Some(hidden)))
        }
        LoadMode::Replace => {
            let target = target::open(session, name, schema, options)?;
            let plan = plan::plan(session, &target, schema, options)?;
            let replacement = target.replacement.clone().ok_or_else(|| {
                Error::new(ErrorKind::Server, format!("{} was dropped while it was looked up", target.shown))
            })?;
            let hidden = Hidden::hide(session, target.relation.clone(), &target.shown)?;
            Ok((target, Goal::Replace(Box::new(replacement)), plan, Some(hidden)))
        }
        LoadMode::Append | LoadMode::Truncate | LoadMode::Upsert => {
            let mut target = target::open(session, name, schema, options)?;
            check_insert(session, &target.relation, options)?;
            let hidden = name_beside(&target.relation.name);
            target.stage = Some(RelationName { schema: Some(target.relation.schema.clone()), name: hidden });
            let plan = plan::plan(session, &target, schema, options)?;
            Ok((target, Goal::Insert, plan, None))
        }
    }
}

/// Creates the table under a hidden name, after a trial under its own name. Returns that name, too.
fn create(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
) -> Result<(TargetTable, String)> {
    let creating = options.clone().with_mode(LoadMode::Create);
    session.execute("SAVEPOINT pgarrow_trial").map_err(Error::without_advice)?;
    let trial = target::open(session, name, schema, &creating)?;
    let back = "ROLLBACK TO SAVEPOINT pgarrow_trial; RELEASE SAVEPOINT pgarrow_trial";
    session.execute(back).map_err(Error::without_advice)?;
    if trial.relation.is_temporary() {
        let text = "a temporary table is of one session: several writers cannot load it";
        return Err(Error::new(ErrorKind::Options, text).advice(with_one()));
    }
    let Relation { schema: of_schema, name, .. } = trial.relation;
    let hidden = RelationName { schema: Some(of_schema), name: name_beside(&name) };
    let mut target = target::open(session, &hidden, schema, &creating)?;
    target.shown = trial.shown;
    target.upkeep = trial.upkeep.map(|upkeep| upkeep.of_relation(target.relation.oid));
    Ok((target, name))
}

fn with_one() -> Message {
    message!["load with one writer (", WRITERS.to("1"), ")"]
}

/// Checks that INSERT treats the table as COPY does.
fn check_insert(session: &mut Session, relation: &Relation, options: &LoadOptions) -> Result<()> {
    let refuse = |why: &str| {
        let text = format!("{relation} cannot be loaded by several writers: {why}");
        Err(Error::new(ErrorKind::Options, text).advice(with_one()))
    };
    if relation.is_temporary() {
        return refuse("it is temporary, and so of one session");
    }
    if options.method != LoadMethod::Insert && has_insert_rules(session, relation)? {
        return refuse(
            "their rows are brought on by INSERT, for which it has rules that COPY does not look at",
        );
    }
    Ok(())
}

/// Begins the leader's transaction: it holds the hidden table, and locks the replaced one, before the other
/// session commits them.
fn keep(
    sessions: &Sessions<'_>,
    hidden: &Hidden,
    goal: &Goal,
    name: &RelationName,
    shown: &str,
) -> Result<(Session, AttachedSession)> {
    let mut session = sessions.connect()?;
    let attached = sessions.cancel.attach(&session);
    let kept = begin(&mut session, sessions.options).and_then(|()| {
        let failed = |error| server_error(error, shown);
        hidden.hold(&mut session).map_err(failed)?;
        let Goal::Replace(replacement) = goal else { return Ok(()) };
        // Others read and write. Until now the other session's lock prevents changes to the definition; from
        // now on, this one does.
        let old = replacement.replaced();
        lock_soon(&mut session, old, sessions.options)?;
        match resolve(&mut session, name) {
            Ok(found) if found.oid == old.oid => Ok(()),
            _ => {
                let text = format!("{shown} was replaced by another table while it was looked up");
                Err(Error::new(ErrorKind::Server, text).advice("start again"))
            }
        }
    });
    match kept {
        Ok(()) => Ok((session, attached)),
        Err(error) => {
            roll_back(session);
            Err(error)
        }
    }
}

/// Locks a table that the other session has locked, too. A third session that waits for the other one would
/// block this one, and so for ever; hence the timeout.
fn lock_soon(session: &mut Session, old: &Relation, options: &LoadOptions) -> Result<()> {
    let failed = |error| server_error(error, &old.to_string());
    let rows = session.query("SELECT pg_catalog.current_setting('lock_timeout')", &[]).map_err(failed)?;
    let before = rows.first().and_then(|row| row.text(0)).unwrap_or("0").to_owned();
    let timeout = options.lock_timeout.map_or(LOCK_TIMEOUT, |time| time.min(LOCK_TIMEOUT));
    let lock = format!(
        "SET LOCAL lock_timeout = '{}'; LOCK TABLE {} IN ROW EXCLUSIVE MODE; SET LOCAL lock_timeout = '{before}'",
        server_timeout(Some(timeout)),
        old.quoted()
    );
    without_read_timeout(session, |session| session.execute(&lock)).map_err(failed)
}

/// The first writer creates the hidden table; the leader holds it before that commit.
fn stage(
    sessions: &Sessions<'_>,
    leader: &mut Session,
    target: &TargetTable,
    plan: &LoadPlan,
) -> Result<(Hidden, (Session, AttachedSession))> {
    let (Some(name), Some(staging)) = (&target.stage, &plan.staging) else {
        return Err(Error::new(ErrorKind::Options, format!("the data has no column of {}", target.shown)));
    };
    let mut session = sessions.connect()?;
    let attached = sessions.cancel.attach_aside(&session);
    let failed = |error| server_error(error, &target.shown);
    let staged = begin(&mut session, sessions.options).and_then(|()| {
        session.execute(&staging.create).map_err(|error| match error.sqlstate() {
            Some("42501") => Error::without_advice(error)
                .context(format_args!(
                    "{}: several writers need a table in between in the schema {:?}",
                    target.shown, target.relation.schema
                ))
                .advice(with_one().behind("let the role CREATE in that schema, or ")),
            _ => failed(error),
        })?;
        let relation = resolve(&mut session, name)?;
        let hidden = Hidden::hide(&mut session, relation, &target.shown)?;
        hidden.hold(leader).map_err(failed)?;
        Ok(hidden)
    });
    let committed = staged.and_then(|hidden| match commit(&mut session) {
        Ok(()) => Ok(hidden),
        Err(error) => Err(not_begun(failed(error))),
    });
    match committed {
        Ok(hidden) => Ok((hidden, (session, attached))),
        Err(error) => {
            roll_back(session);
            Err(error)
        }
    }
}

/// After a lost connection, an empty table may be left, but no rows.
fn not_begun(error: Error) -> Error {
    match error.kind() {
        ErrorKind::OutcomeUnknown => Error::new(
            ErrorKind::Connection,
            "the connection was lost while a load by several writers was begun",
        )
        .advice("nothing was loaded"),
        _ => error,
    }
}

fn keeper_of(
    session: Session,
    attached: AttachedSession,
    hidden: Hidden,
    goal: Goal,
    target: &TargetTable,
    options: &LoadOptions,
) -> Leader {
    // The leader knows names of tables that another session locked only after it has locked them itself.
    let names = match goal {
        Goal::Insert => target.names.clone(),
        Goal::Create(_) | Goal::Replace(_) => Names::default(),
    };
    let (target, options) = (target.shown.clone(), options.clone());
    Leader { session, hidden, goal, names, target, options, attached: Some(attached) }
}
