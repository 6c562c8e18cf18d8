//! Who owns the transaction of a load: the load itself, which ends it, or the caller. In the caller's
//! transaction, the load is only a part.

use std::sync::{Arc, Mutex, PoisonError};

use pgarrow_protocol::Session;
use pgarrow_session::{
    AttachedSession, Cancel, Connection, Error, ErrorKind, Lent, Result, Savepoint, TransactionSettings,
};
use pgarrow_types::option::{COMMIT_EVERY, RESTART_KEY, WRITERS};
use pgarrow_types::{Message, message};

use crate::options::LoadOptions;
use crate::transaction::{BESIDE, ROLLBACK_TIME, commit, roll_back, server_error, with_outcome};

/// Who begins and ends the transaction. Clones share one owner.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// The load: it commits, or rolls back, and closes the session.
    Load,
    /// The caller: the load releases its savepoint, or rolls back to it, and then returns the session to its
    /// connection.
    Caller(Arc<Guest>),
}

/// A load in a transaction of the caller.
#[derive(Debug)]
pub(crate) struct Guest {
    savepoint: Savepoint,
    stay: Mutex<Stay>,
}

/// The session while the load has it. Both are `None` once it is returned.
#[derive(Debug, Default)]
struct Stay {
    lent: Option<Lent>,
    /// A later stop of the load must not stop what the caller does next.
    attached: Option<AttachedSession>,
}

impl Owner {
    /// Sets a savepoint in the connection's open transaction, and the settings of the load. The caller's
    /// lock timeout becomes one of the options, unless the options set their own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a load that cannot be part of a transaction, and for a transaction that no
    /// load can be part of. The transaction is then as before.
    pub(crate) fn enter(
        connection: &Connection,
        options: &mut LoadOptions,
        cancel: &Cancel,
    ) -> Result<(Session, Self)> {
        options.check_within_transaction()?;
        if cancel.is_requested() {
            return Err(cancel.error());
        }
        let (lent, mut session) = Lent::of(connection)?;
        let attached = cancel.attach(&session);
        session.set_read_timeout(options.read_timeout);
        let settings = TransactionSettings {
            role: options.role.as_deref(),
            parameters: &options.settings,
            lock_timeout: options.lock_timeout,
        };
        let savepoint = match Savepoint::begin(&mut session, &settings, &BESIDE) {
            Ok(savepoint) => savepoint,
            Err(error) => {
                drop(attached);
                lent.give_back(session);
                return Err(cancel.cancelled_or(error));
            }
        };
        let own = options.lock_timeout.is_some() || settings.sets("lock_timeout");
        if let Some(time) = savepoint.before("lock_timeout").filter(|time| !own && *time != "0") {
            options.settings.push(("lock_timeout".to_owned(), time.to_owned()));
        }
        let stay = Mutex::new(Stay { lent: Some(lent), attached: Some(attached) });
        Ok((session, Self::Caller(Arc::new(Guest { savepoint, stay }))))
    }

    /// Whether the load begins and ends the transaction.
    pub(crate) fn is_load(&self) -> bool {
        matches!(self, Self::Load)
    }

    /// Commits, or makes the load a part of the caller's transaction. `between`: a staging table that is no
    /// longer needed, and would otherwise exist until the transaction ends.
    pub(crate) fn commit(&self, session: &mut Session, between: Option<&str>, target: &str) -> Result<()> {
        match self {
            Self::Load => commit(session).map_err(|error| server_error(error, target)),
            Self::Caller(guest) => {
                if let Some(table) = between {
                    let dropped = session.execute(&format!("DROP TABLE {table}"));
                    dropped.map_err(|error| server_error(error, target))?;
                }
                guest.savepoint.release(session).map_err(|error| with_outcome(error, 0))
            }
        }
    }

    /// Ends a successful load: the session is closed, or returned. `attached`: the handle by which a cancel
    /// stops the session.
    pub(crate) fn leave(&self, session: Session, attached: Option<AttachedSession>) {
        drop(attached);
        match self {
            Self::Load => session.close(),
            Self::Caller(guest) => guest.give_back(session),
        }
    }

    /// Ends a failed load: when this returns, the target is as before, if the server answers. `attached`:
    /// the handle by which a cancel stops the session.
    pub(crate) fn roll_back(&self, mut session: Session, attached: Option<AttachedSession>) {
        match self {
            Self::Load => {
                roll_back(session);
                // Only now: if the server does not answer the rollback, a cancel must still stop the
                // session.
                drop(attached);
            }
            Self::Caller(guest) => {
                drop(attached);
                guest.detach();
                Savepoint::roll_back(&mut session, ROLLBACK_TIME);
                guest.give_back(session);
            }
        }
    }
}

impl Guest {
    /// From now on, stopping the load does not stop the session.
    fn detach(&self) {
        let attached = self.stay.lock().unwrap_or_else(PoisonError::into_inner).attached.take();
        // Outside the lock: the drop waits for a cancel request that is on its way.
        drop(attached);
    }

    fn give_back(&self, session: Session) {
        self.detach();
        let lent = self.stay.lock().unwrap_or_else(PoisonError::into_inner).lent.take();
        if let Some(lent) = lent {
            lent.give_back(session);
        }
    }
}

impl LoadOptions {
    /// Refuses options that a load in a transaction of the caller cannot have.
    pub(crate) fn check_within_transaction(&self) -> Result<()> {
        let refuse = |what: &str, option: Message| {
            let text = format!("a load in a transaction of the caller cannot {what}");
            let advice: Message =
                message!["leave that out (", option, "), or load in a transaction of its own"];
            Err(Error::new(ErrorKind::Options, text).advice(advice))
        };
        if self.has_writers() {
            return refuse(
                "have several writers, which are sessions of their own",
                message![WRITERS.to("1")],
            );
        }
        if self.commit_every.is_some() {
            return refuse("commit in parts", message![COMMIT_EVERY]);
        }
        if self.restart_key.is_some() {
            return refuse("have a restart key, which says what was committed", message![RESTART_KEY]);
        }
        if self.reject {
            let text = "a load in a transaction of the caller cannot leave out bad rows";
            return Err(Error::new(ErrorKind::Options, text).advice("load them in a transaction of its own"));
        }
        Ok(())
    }
}
