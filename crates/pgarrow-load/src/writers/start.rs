//! Writers are connected, and set to work.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;

use pgarrow_protocol::{Config, Session};
use pgarrow_session::{AttachedSession, Cancel, Error, ErrorKind, Result, without_read_timeout};

use crate::names::Names;
use crate::options::LoadOptions;
use crate::plan::Plan;
use crate::queue::Queue;
use crate::target::Target;
use crate::transaction::{begin, roll_back, server_error};

use super::keeper::{Goal, Keeper};
use super::writer::Writer;
use super::{Failure, Writers, lock};

/// Makes sessions for the same server.
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

/// Begins all writers' transactions, and starts them.
pub(super) fn start(
    sessions: &Sessions<'_>,
    mut keeper: Keeper,
    first: (Session, AttachedSession),
    target: &Target,
    plan: &Arc<Plan>,
) -> Result<Writers> {
    let n_writers = sessions.options.writers.unwrap_or(1);
    let failure = Arc::new(Failure { error: Mutex::default(), cancel: Cancel::new() });
    let queue = Arc::new(Queue::for_takers(n_writers));
    let begun = lock_for_good(&mut keeper).and_then(|()| {
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
            let brings_on = plan.staging.is_some() && target.stage.is_none();
            let has_keys = matches!(keeper.goal, Goal::Replace(_));
            let session = begin_writer(session, sessions.options, &keeper, plan, brings_on)?;
            let (plan, target) = (Arc::clone(plan), target.shown.clone());
            let (queue, failure) = (Arc::clone(&queue), Arc::clone(&failure));
            let hidden = keeper.hidden.relation.clone();
            writers.push(Writer {
                session,
                plan,
                target,
                hidden,
                brings_on,
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
        Err(error) => return Err(keeper.take_back(error)),
    };
    let (threads, keeper) = (Mutex::default(), Mutex::new(Some(keeper)));
    let all = Writers { queue, failure, threads, keeper, is_unnumbered: AtomicBool::new(false) };
    for writer in writers {
        let thread = thread::Builder::new().name("pgarrow-load".to_owned());
        // What is dropped then takes back the others, too.
        let thread = thread.spawn(|| writer.run()).map_err(|error| {
            Error::new(ErrorKind::Connection, format!("no thread could be started: {error}"))
        })?;
        lock(&all.threads).push(thread);
    }
    Ok(all)
}

/// The keeper's locks: nobody drops or changes the hidden table, nor the one that is replaced, until its transaction ends.
fn lock_for_good(keeper: &mut Keeper) -> Result<()> {
    let mut tables = vec![keeper.hidden.relation.quoted()];
    if let Goal::Replace(replacement) = &keeper.goal {
        tables.push(replacement.replaced().quoted());
    }
    let lock = format!("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE", tables.join(", "));
    without_read_timeout(&mut keeper.session, |session| session.execute(&lock))
        .map_err(|error| server_error(error, &keeper.target))?;
    let mut tables = vec![&keeper.hidden.relation];
    if let Goal::Replace(replacement) = &keeper.goal {
        tables.push(replacement.replaced());
    }
    let locked = Names::of(&mut keeper.session, &tables)?;
    keeper.names = std::mem::take(&mut keeper.names).and(locked);
    Ok(())
}

/// Begins a writer's transaction.
fn begin_writer(
    mut session: Session,
    options: &LoadOptions,
    keeper: &Keeper,
    plan: &Plan,
    brings_on: bool,
) -> Result<Session> {
    let begun = begin(&mut session, options).and_then(|()| {
        let failed = |error| server_error(error, &keeper.target);
        keeper.hidden.hold(&mut session).map_err(failed)?;
        match &plan.staging {
            Some(staging) => staging
                .set_zone(&mut session)
                .and_then(|()| if brings_on { session.execute(&staging.create) } else { Ok(()) })
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
