//! Connects writers and starts them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;

use pgarrow_protocol::{Config, Session};
use pgarrow_session::{AttachedSession, Cancel, Error, ErrorKind, Result, without_read_timeout};

use crate::names::Names;
use crate::options::LoadOptions;
use crate::plan::LoadPlan;
use crate::queue::Queue;
use crate::target::TargetTable;
use crate::transaction::{begin, roll_back, server_error};

use super::leader::{Goal, Leader};
use super::writer::Writer;
use super::{Failure, Writers, lock};

/// Opens sessions to the same server.
pub(super) struct Sessions<'a> {
    pub(super) config: Config,
    pub(super) cancel: &'a Cancel,
    pub(super) options: &'a LoadOptions,
}

impl Sessions<'_> {
    pub(super) fn connect(&self) -> Result<Session> {
        let mut session = self.cancel.connect_patiently(&self.config).map_err(|error| {
            let writers = self.options.writers.unwrap_or(1);
            error.context(format_args!("a load with {writers} writers has {} connections", writers + 1))
        })?;
        session.set_read_timeout(self.options.read_timeout);
        Ok(session)
    }
}

/// Begins the transactions of all writers, and starts their threads.
pub(super) fn start(
    sessions: &Sessions<'_>,
    mut leader: Leader,
    first: (Session, AttachedSession),
    target: &TargetTable,
    plan: &Arc<LoadPlan>,
) -> Result<Writers> {
    let n_writers = sessions.options.writers.unwrap_or(1);
    let failure = Arc::new(Failure { error: Mutex::default(), cancel: Cancel::new() });
    let queue = Arc::new(Queue::for_takers(n_writers));
    let begun = lock_for_good(&mut leader).and_then(|()| {
        let mut first = Some(first);
        let mut writers = Vec::new();
        for _ in 0..n_writers {
            let (session, attached) = match first.take() {
                Some(first) => first,
                None => {
                    let session = sessions.connect()?;
                    let attached = sessions.cancel.attach_aside(&session);
                    (session, attached)
                }
            };
            let attached = [attached, failure.cancel.attach(&session)];
            let inserts_from_staging = plan.staging.is_some() && target.stage.is_none();
            let has_keys = matches!(leader.goal, Goal::Replace(_));
            let session = begin_writer(session, sessions.options, &leader, plan, inserts_from_staging)?;
            let (plan, target) = (Arc::clone(plan), target.shown.clone());
            let (queue, failure) = (Arc::clone(&queue), Arc::clone(&failure));
            let hidden = leader.hidden.relation.clone();
            writers.push(Writer {
                session,
                plan,
                target,
                hidden,
                inserts_from_staging,
                has_keys,
                queue,
                failure,
                attached,
            });
        }
        Ok(writers)
    });
    let writers = match begun {
        Ok(writers) => writers,
        Err(error) => return Err(leader.take_back(error)),
    };
    let (threads, leader) = (Mutex::default(), Mutex::new(Some(leader)));
    let all = Writers { queue, failure, threads, leader, is_unnumbered: AtomicBool::new(false) };
    for writer in writers {
        let thread = thread::Builder::new().name("pgarrow-load".to_owned());
        // Dropping `all` then rolls back the other writers, too.
        let thread = thread.spawn(|| writer.run()).map_err(|error| {
            Error::new(ErrorKind::Connection, format!("no thread could be started: {error}"))
        })?;
        lock(&all.threads).push(thread);
    }
    Ok(all)
}

/// Takes the leader's locks: until its transaction ends, nobody drops or changes the hidden table or the
/// replaced one.
fn lock_for_good(leader: &mut Leader) -> Result<()> {
    let mut tables = vec![leader.hidden.relation.quoted()];
    if let Goal::Replace(replacement) = &leader.goal {
        tables.push(replacement.replaced().quoted());
    }
    let lock = format!("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE", tables.join(", "));
    without_read_timeout(&mut leader.session, |session| session.execute(&lock))
        .map_err(|error| server_error(error, &leader.target))?;
    let mut tables = vec![&leader.hidden.relation];
    if let Goal::Replace(replacement) = &leader.goal {
        tables.push(replacement.replaced());
    }
    let locked = Names::of(&mut leader.session, &tables)?;
    leader.names = std::mem::take(&mut leader.names).and(locked);
    Ok(())
}

/// Begins a writer's transaction.
fn begin_writer(
    mut session: Session,
    options: &LoadOptions,
    leader: &Leader,
    plan: &LoadPlan,
    inserts_from_staging: bool,
) -> Result<Session> {
    let begun = begin(&mut session, options).and_then(|()| {
        let failed = |error| server_error(error, &leader.target);
        leader.hidden.hold(&mut session).map_err(failed)?;
        match &plan.staging {
            Some(staging) => staging
                .set_zone(&mut session)
                .and_then(|()| if inserts_from_staging { session.execute(&staging.create) } else { Ok(()) })
                .map_err(failed),
            None => Ok(()),
        }
    });
    match begun {
        Ok(()) => Ok(session),
        Err(error) => {
            roll_back(session);
            Err(error)
        }
    }
}
