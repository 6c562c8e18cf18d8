//! The transaction an export reads in: its settings, its locks, its one snapshot.
//!
//! ```text
//!  names are resolved          outside the transaction, on the user's search path
//!  BEGIN … REPEATABLE READ     takes no snapshot yet
//!  SET LOCAL …                 nor does this (SELECT set_config would)
//!  LOCK TABLE … ACCESS SHARE   nor this; from here on nobody rewrites, truncates or drops what is read
//!  first query                 takes the snapshot, and exports it if others are to read
//!  the relations again         must be what was resolved
//! ```
//!
//! The other way round, a TRUNCATE between snapshot and lock makes the export empty without an error.
//!
//! A second session holds what LOCK refuses (materialized views, foreign tables, tables of which the role may
//! read only some columns). Its open transaction has read no row of it before the snapshot is taken.

use pgarrow_protocol::Session;
use pgarrow_session::{Cancel, Error, ErrorKind, Pool, Pooled, Result, begin_anew, without_read_timeout};

use crate::ahead::{Ahead, lock_at_once};
use crate::facts::Facts;
use crate::locks::{Held, Holder, Locked, hold, lock, lock_all};
use crate::options::ExportOptions;
use crate::reader_session::{ReaderSession, import_statements, not_taken_over};
use crate::settings::{WAIT_LESS, begin_statements};
use crate::under::SharedSnapshot;

/// For ranges of a key in tables that are named one by one: see [`exclude_by_constraints`].
pub(crate) const EXCLUDE: &str = "SET LOCAL constraint_exclusion = 'on'";

/// The session that holds the snapshot, in its transaction; and the session that holds what cannot be locked.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Reads as well, if there is no other reader.
    pub(crate) reader: ReaderSession,
    /// BEGIN and the settings, for the readers too.
    pub(crate) begin: String,
    /// What LOCK has locked, quoted.
    pub(crate) locked: Vec<String>,
    /// What readers lock, as LOCK takes it.
    pub(crate) locked_by_readers: Vec<String>,
    /// The server knows no LOCK TABLE: the tables are held by a second session instead.
    pub(crate) is_lock_unknown: bool,
    /// The snapshot is that of another session, which holds it, too.
    pub(crate) under: Option<SharedSnapshot>,
    holder: Option<Holder>,
}

/// From here on, the server leaves out tables that are named one by one if their constraints exclude every
/// wanted row, as it does for partitions. The setting joins `begin`, so it holds in sessions that begin like
/// this one, too.
pub(crate) fn exclude_by_constraints(session: &mut Session, begin: &mut String) -> Result<()> {
    session.execute(EXCLUDE)?;
    begin.push_str("; ");
    begin.push_str(EXCLUDE);
    Ok(())
}

/// How the keeper's transaction begins, if those of readers begin with `begin`.
fn begin_first(begin: &str, options: &ExportOptions) -> Result<String> {
    match &options.under {
        Some(under) => import_statements(begin, &under.facts()),
        None => Ok(begin.to_owned()),
    }
}

/// Does what [`Keeper::begin`] will do and asks what planning will ask, as far as that is known, in one round
/// trip. Returns whether the server has accepted all of it; otherwise nothing has happened.
///
/// # Errors
///
/// As for [`Ahead::ask`].
pub(crate) fn begin_ahead(
    session: &mut Session,
    ahead: Option<&Ahead>,
    held: &[Held],
    no_views: bool,
    options: &ExportOptions,
) -> Result<bool> {
    let begin = begin_statements(session, options, no_views)?;
    let begin = begin_first(&begin, options)?;
    match ahead {
        Some(ahead) => ahead.ask(session, &begin, held),
        None => lock_at_once(session, &begin, held),
    }
}

impl Keeper {
    /// Begins the transaction, locks what has to be held, and takes the snapshot.
    ///
    /// `no_views`: see [`begin_statements`].
    pub(crate) fn begin(
        mut session: Session,
        held: &[Held],
        no_views: bool,
        options: &ExportOptions,
        pooled: Pooled,
        cancel: &Cancel,
    ) -> Result<Self> {
        let attached = cancel.attach_last(&session);
        let begin = begin_statements(&session, options, no_views)?;
        let under = options.under.clone();
        let of_other = under.as_ref().map(SharedSnapshot::facts);
        let begin_first = begin_first(&begin, options)?;
        begin_anew(&mut session, &begin_first).map_err(|error| match under {
            Some(_) => not_taken_over(error, "the held snapshot cannot be taken over"),
            None => error,
        })?;
        let Locked { names, statements, is_unknown } = lock(&mut session, &begin_first, held)?;
        let holder = match statements.is_empty() {
            true => None,
            false => Some(hold(&session, &statements, options, pooled, cancel)?),
        };
        let reader = ReaderSession::under_snapshot(session, attached)?;
        of_other.map_or(Ok(()), |facts| reader.check_same(&facts))?;
        Ok(Self {
            reader,
            begin,
            locked_by_readers: names.clone(),
            locked: names,
            is_lock_unknown: is_unknown,
            under,
            holder,
        })
    }

    /// For a slice, whose snapshot and locks another process holds, if any.
    pub(crate) fn of_slice(reader: ReaderSession, begin: String) -> Self {
        Self {
            reader,
            begin,
            locked: Vec::new(),
            locked_by_readers: Vec::new(),
            is_lock_unknown: false,
            under: None,
            holder: None,
        }
    }

    /// Exports the snapshot: other sessions can take it over as long as this transaction is open.
    pub(crate) fn export_snapshot(&mut self) -> Result<()> {
        if self.reader.facts.exported.is_none() {
            let rows = self.reader.session.query("SELECT pg_catalog.pg_export_snapshot()", &[])?;
            let exported = rows.first().and_then(|row| row.text(0)).map(str::to_owned);
            let nothing = || Error::new(ErrorKind::Protocol, "the server has exported no snapshot");
            self.reader.facts.exported = Some(exported.ok_or_else(nothing)?);
        }
        Ok(())
    }

    /// From here on, waiting for another session's lock ends after a while, also in other sessions that begin
    /// like this one.
    pub(crate) fn wait_less(&mut self) -> Result<()> {
        self.reader.session.execute(WAIT_LESS)?;
        self.begin.push_str("; ");
        self.begin.push_str(WAIT_LESS);
        Ok(())
    }

    /// Begins the transaction anew, after the server has aborted it: a new snapshot, the same locks.
    pub(crate) fn begin_again(&mut self) -> Result<()> {
        self.reader.session.execute("ROLLBACK")?;
        self.reader.session.execute(&self.begin)?;
        if !self.locked.is_empty() {
            let sql = lock_all(&self.locked.join(", "));
            without_read_timeout(&mut self.reader.session, |session| session.execute(&sql))?;
        }
        self.reader.take_snapshot()
    }

    /// Checks that the session that holds what LOCK refuses is alive.
    pub(crate) fn check_holder(&mut self) -> Result<()> {
        match &mut self.holder {
            Some(holder) => holder.session.query("SELECT 1", &[]).map(drop).map_err(lost_holder),
            None => Ok(()),
        }
    }

    /// The backends that hold locks for the export.
    pub(crate) fn backend_pids(&self) -> Vec<i32> {
        let of_holder = self.holder.as_ref().and_then(|holder| holder.pid);
        self.reader.facts.backend_pid.into_iter().chain(of_holder).collect()
    }

    /// Whether the keeper's own session holds everything. Otherwise, the other session ends first: what it
    /// holds must be held as long as the snapshot.
    pub(crate) fn ends_alone(&self) -> bool {
        self.holder.is_none()
    }

    /// Ends the transaction without checks, so that planning can begin again on the same session.
    pub(crate) fn give_up(mut self) -> Result<Session> {
        self.reader.session.execute("ROLLBACK")?;
        if let Some(holder) = self.holder {
            holder.session.close();
        }
        Ok(self.reader.session)
    }

    /// Ends the transactions and closes the sessions, except one that the pool keeps. Returns the facts.
    ///
    /// # Errors
    ///
    /// A session was lost before: what was read since then may not be what was planned.
    pub(crate) fn finish(mut self, pool: &Pool) -> Result<Facts> {
        // First: what the holder holds must have been held as long as the snapshot.
        if let Some(holder) = &mut self.holder {
            holder.session.execute("COMMIT").map_err(lost_holder)?;
        }
        let facts = self.reader.finish(pool)?;
        if let Some(holder) = self.holder {
            holder.session.close();
        }
        Ok(facts)
    }
}

/// The session that holds what LOCK refuses does not answer, or says that it is over.
fn lost_holder(error: pgarrow_protocol::Error) -> Error {
    Error::from(error).context("the second connection, which holds what cannot be locked")
}

/// The connection that holds the snapshot, or the one that holds what cannot be locked, broke before the end.
pub(crate) fn lost_snapshot(error: Error) -> Error {
    error.context("the connection that holds the snapshot was lost").advice("run the export again")
}
