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
//! What LOCK refuses (materialized views, foreign tables, tables of which the role may read only some columns)
//! is held by a second session, whose open transaction has read no row of it before the snapshot is taken.

use pgarrow_protocol::Session;
use pgarrow_session::{
    AttachedSession, Cancel, Error, ErrorKind, Pool, Pooled, Result, begin_anew, literal,
    without_read_timeout,
};

use crate::facts::Facts;
use crate::locks::{Held, Locked, hold, lock};
use crate::opened::Opened;
use crate::options::ExportOptions;
use crate::settings::begin_statements;

/// For whoever may wait for somebody who waits for the export.
const WAIT_LESS: &str = "SET LOCAL lock_timeout = '10s'";

/// For ranges of a key in tables that are named one by one: see [`exclude_by_constraints`].
pub(crate) const EXCLUDE: &str = "SET LOCAL constraint_exclusion = 'on'";

/// The session that holds the snapshot, in its transaction; and the one that holds what cannot be locked.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) session: Session,
    pub(crate) facts: Facts,
    /// BEGIN and the settings, for the readers too.
    pub(crate) begin: String,
    /// What LOCK has locked, quoted.
    pub(crate) locked: Vec<String>,
    /// What readers lock, as LOCK takes it.
    pub(crate) locked_by_readers: Vec<String>,
    /// What this session has opened, as far as that was looked at.
    pub(crate) opened: Opened,
    /// The server knows no LOCK TABLE: the tables are held by a second session instead.
    pub(crate) is_lock_unknown: bool,
    holder: Option<Session>,
    /// The holder's process.
    holder_pid: Option<i32>,
    /// Keep the sessions within reach of a cancel.
    attached: Vec<AttachedSession>,
}

/// From here on, tables that are named one by one are left out where their constraints say that no row of
/// theirs is wanted, as if they were read with what they are partitions of; in sessions that begin like this
/// one too, by the statements of `begin`.
pub(crate) fn exclude_by_constraints(session: &mut Session, begin: &mut String) -> Result<()> {
    session.execute(EXCLUDE)?;
    begin.push_str("; ");
    begin.push_str(EXCLUDE);
    Ok(())
}

impl Keeper {
    /// Begins the transaction, locks what is to be held, and takes the snapshot.
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
        let mut attached = vec![cancel.attach_last(&session)];
        let begin = begin_statements(&session, options, no_views)?;
        begin_anew(&mut session, &begin)?;
        let Locked { names, statements, is_unknown } = lock(&mut session, &begin, held)?;
        let (mut holder, mut holder_pid) = (None, None);
        if !statements.is_empty() {
            let (session, attachment, pid) = hold(&session, &statements, options, pooled, cancel)?;
            (holder, holder_pid) = (Some(session), pid);
            attached.push(attachment);
        }
        let mut keeper = Self {
            session,
            facts: Facts::default(),
            begin,
            locked_by_readers: names.clone(),
            locked: names,
            opened: Opened::default(),
            is_lock_unknown: is_unknown,
            holder,
            holder_pid,
            attached,
        };
        keeper.take_snapshot()?;
        Ok(keeper)
    }

    /// Begins the transaction under a snapshot that somebody else holds, and shows that it is that one.
    ///
    /// `facts` are the holder's.
    pub(crate) fn import(
        mut session: Session,
        facts: &Facts,
        begin: &str,
        locked: &[String],
        cancel: &Cancel,
    ) -> Result<Self> {
        let attached = vec![cancel.attach(&session)];
        let exported = facts.exported.as_deref().unwrap_or_default();
        // A reader that waits for a lock waits for somebody who waits for the keeper: nobody would ever see it.
        let begin_import = format!(
            "{begin}; {WAIT_LESS}; SET LOCAL max_parallel_workers_per_gather = 0; \
             SET TRANSACTION SNAPSHOT {}",
            literal(exported)?
        );
        begin_anew(&mut session, &begin_import).map_err(|error| {
            match (error.kind(), error.sqlstate()) {
                // No such snapshot; since PostgreSQL 17, an undefined object.
                (ErrorKind::Server, Some("22023" | "42704")) => error.context(
                    "a reader cannot take over the snapshot: whoever held it is gone, or this is another server",
                ),
                (ErrorKind::Server, _) => error.context(
                    "a reader cannot take over the snapshot, which this server or pooler does not share",
                ),
                _ => error,
            }
        })?;
        let mut reader = Self::reader(session, begin, attached);
        reader.take_snapshot()?;
        let same = reader.facts.snapshot == facts.snapshot && reader.facts.server_start == facts.server_start;
        if !same {
            let text = "a reader has another snapshot than the export, or is on another server: \
                        a pooler or load balancer sends connections to several servers; connect to one of them";
            return Err(Error::new(ErrorKind::Server, text));
        }
        if !locked.is_empty() {
            let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", locked.join(", "));
            reader.session.execute(&sql)?;
        }
        Ok(reader)
    }

    /// Begins a transaction with a snapshot of its own. What it reads may be of another moment.
    pub(crate) fn begin_inconsistent(
        mut session: Session,
        begin: &str,
        locked: &[String],
        cancel: &Cancel,
    ) -> Result<Self> {
        let attached = vec![cancel.attach(&session)];
        begin_anew(&mut session, &format!("{begin}; SET LOCAL max_parallel_workers_per_gather = 0"))?;
        if !locked.is_empty() {
            session.execute(&format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", locked.join(", ")))?;
        }
        let mut reader = Self::reader(session, begin, attached);
        reader.take_snapshot()?;
        Ok(reader)
    }

    fn reader(session: Session, begin: &str, attached: Vec<AttachedSession>) -> Self {
        Self {
            session,
            facts: Facts::default(),
            begin: begin.to_owned(),
            locked: Vec::new(),
            locked_by_readers: Vec::new(),
            opened: Opened::default(),
            is_lock_unknown: false,
            holder: None,
            holder_pid: None,
            attached,
        }
    }

    fn take_snapshot(&mut self) -> Result<()> {
        let snapshot = if self.session.server_version_num() >= 130_000 {
            "pg_catalog.pg_current_snapshot()"
        } else {
            "pg_catalog.txid_current_snapshot()"
        };
        let sql = format!(
            "SELECT {snapshot}::pg_catalog.text, \
             pg_catalog.concat(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), '+00'), \
             pg_catalog.current_setting('server_version'), pg_catalog.pg_backend_pid(), \
             pg_catalog.current_setting('transaction_isolation')"
        );
        let rows = self.session.query(&sql, &[]).map_err(|error| match error.sqlstate() {
            // What is not there cannot be replaced: the end of a run is only as certain as the snapshot.
            Some("0A000" | "42601" | "42703" | "42704" | "42883") => Error::from(error).context(
                "the server does not say which snapshot it has taken and since when it runs, so that an export \
                 cannot be shown to be of one moment",
            ),
            _ => error.into(),
        })?;
        let text = |index| rows.first().and_then(|row| row.text(index)).unwrap_or_default().to_owned();
        // Readers prove by these that they read what the keeper holds.
        if text(0).is_empty() || text(1).is_empty() {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the server does not say which snapshot it has taken",
            ));
        }
        if !matches!(text(4).as_str(), "repeatable read" | "serializable") {
            let text = "the server has begun a transaction of another kind than REPEATABLE READ, in which rows would \
                        be of different moments; nothing was read";
            return Err(Error::new(ErrorKind::Server, text));
        }
        let backend_pid = text(3).parse().ok();
        self.facts = Facts {
            endpoint: self.session.endpoint().to_owned(),
            is_remote: self.session.config().is_remote(),
            database: self.session.config().dbname().to_owned(),
            snapshot: text(0),
            exported: None,
            server_start: text(1),
            server_version: text(2),
            backend_pid,
            pooled: Pooled::of(&self.session, backend_pid),
        };
        Ok(())
    }

    /// Makes the snapshot one that other sessions can take over, as long as this transaction is open.
    pub(crate) fn export_snapshot(&mut self) -> Result<()> {
        if self.facts.exported.is_none() {
            let rows = self.session.query("SELECT pg_catalog.pg_export_snapshot()", &[])?;
            let exported = rows.first().and_then(|row| row.text(0)).map(str::to_owned);
            let nothing = || Error::new(ErrorKind::Protocol, "the server has exported no snapshot");
            self.facts.exported = Some(exported.ok_or_else(nothing)?);
        }
        Ok(())
    }

    /// From here on, a lock that somebody else has is given up after a while, in other sessions that begin like this one
    /// too.
    pub(crate) fn wait_less(&mut self) -> Result<()> {
        self.session.execute(WAIT_LESS)?;
        self.begin.push_str("; ");
        self.begin.push_str(WAIT_LESS);
        Ok(())
    }

    /// Begins the transaction anew, after the server has aborted it. Another snapshot, the same locks.
    pub(crate) fn begin_again(&mut self) -> Result<()> {
        self.session.execute("ROLLBACK")?;
        self.session.execute(&self.begin)?;
        if !self.locked.is_empty() {
            let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", self.locked.join(", "));
            without_read_timeout(&mut self.session, |session| session.execute(&sql))?;
        }
        self.take_snapshot()
    }

    /// Whether the session that holds what LOCK refuses is there, and with it what it holds.
    pub(crate) fn check_holder(&mut self) -> Result<()> {
        match &mut self.holder {
            Some(holder) => holder.query("SELECT 1", &[]).map(drop).map_err(lost_holder),
            None => Ok(()),
        }
    }

    /// The backends that hold locks for the export.
    pub(crate) fn backend_pids(&self) -> Vec<i32> {
        self.facts.backend_pid.into_iter().chain(self.holder_pid).collect()
    }

    /// Ends the transaction without a word, so that it can be begun again on the same session.
    pub(crate) fn give_up(mut self) -> Result<Session> {
        self.session.execute("ROLLBACK")?;
        if let Some(holder) = self.holder {
            holder.close();
        }
        Ok(self.session)
    }

    /// Ends the transactions, and the sessions but for that which the pool keeps. What is known of them stays.
    ///
    /// # Errors
    ///
    /// One of them was lost before: what was read since then may be something else than what was planned.
    pub(crate) fn finish(mut self, pool: &Pool) -> Result<Facts> {
        // First: as long as the snapshot is held, what was held with it must have been.
        if let Some(holder) = &mut self.holder {
            holder.execute("COMMIT").map_err(lost_holder)?;
        }
        self.session.execute("COMMIT")?;
        // From here on, no cancel request hits what is done with the session next.
        drop(self.attached);
        pool.put(self.session);
        if let Some(holder) = self.holder {
            holder.close();
        }
        Ok(self.facts)
    }
}

/// The session that holds what LOCK refuses does not answer, or says that it is over.
fn lost_holder(error: pgarrow_protocol::Error) -> Error {
    Error::from(error).context("the second connection, which holds what cannot be locked")
}

/// The connection that holds the snapshot, or that which holds what cannot be locked, broke before all was certain.
pub(crate) fn lost_snapshot(error: Error) -> Error {
    error.context("the connection that holds the snapshot was lost").advice("run the export again")
}
