//! `ReaderSession`: a session in its transaction, under the snapshot of an export or one of its own.

use pgarrow_protocol::Session;
use pgarrow_session::{AttachedSession, Cancel, Error, ErrorKind, Pool, Pooled, Result, begin_anew, literal};

use crate::ahead::begin_reader;
use crate::facts::Facts;
use crate::opened::Opened;
use crate::settings::{PID_INDEX, WAIT_LESS, snapshot_query};

/// A session in its transaction, whose snapshot is taken: a reader's, or the keeper's, which can read as
/// well.
#[derive(Debug)]
pub(crate) struct ReaderSession {
    pub(crate) session: Session,
    pub(crate) facts: Facts,
    /// What this session has opened, as far as it was checked.
    pub(crate) opened: Opened,
    /// Lets a cancel reach the session.
    attached: AttachedSession,
}

impl ReaderSession {
    /// Takes the snapshot of a transaction that was begun.
    pub(crate) fn under_snapshot(session: Session, attached: AttachedSession) -> Result<Self> {
        let mut reader = Self { session, facts: Facts::default(), opened: Opened::default(), attached };
        reader.take_snapshot()?;
        Ok(reader)
    }

    /// Begins the transaction under a snapshot that another session holds, and proves that it is that one.
    ///
    /// `facts` are the holder's.
    pub(crate) fn import(
        mut session: Session,
        facts: &Facts,
        begin: &str,
        locked: &[String],
        cancel: &Cancel,
    ) -> Result<Self> {
        let attached = cancel.attach(&session);
        let begin_import = import_statements(begin, facts)?;
        let lock = lock_statement(locked);
        begin_reader(&mut session, &begin_import, lock.as_deref())?;
        begin_anew(&mut session, &begin_import)
            .map_err(|error| not_taken_over(error, "a reader cannot take over the snapshot"))?;
        let mut reader = Self::under_snapshot(session, attached)?;
        reader.check_same(facts)?;
        if let Some(lock) = lock {
            reader.session.execute(&lock)?;
        }
        Ok(reader)
    }

    /// Checks that the snapshot is that of its holder.
    pub(crate) fn check_same(&self, holder: &Facts) -> Result<()> {
        let Facts { snapshot, server_start, .. } = &self.facts;
        if *snapshot == holder.snapshot && *server_start == holder.server_start {
            return Ok(());
        }
        let text = "a reader has another snapshot than the export, or is on another server: \
                    a pooler or load balancer sends connections to several servers; connect to one of them";
        Err(Error::new(ErrorKind::Server, text))
    }

    /// Begins a transaction with a snapshot of its own. Its rows may be of another moment.
    pub(crate) fn begin_inconsistent(
        mut session: Session,
        begin: &str,
        locked: &[String],
        cancel: &Cancel,
    ) -> Result<Self> {
        let attached = cancel.attach(&session);
        begin_anew(&mut session, &format!("{begin}; SET LOCAL max_parallel_workers_per_gather = 0"))?;
        if let Some(lock) = lock_statement(locked) {
            session.execute(&lock)?;
        }
        Self::under_snapshot(session, attached)
    }

    /// Runs the first query of the transaction, which takes the snapshot and returns what it is.
    pub(crate) fn take_snapshot(&mut self) -> Result<()> {
        let sql = snapshot_query(&self.session);
        let rows = self.session.query(&sql, &[]).map_err(|error| match error.sqlstate() {
            // Nothing replaces a missing function here: the end of a run is only as certain as the snapshot.
            Some("0A000" | "42601" | "42703" | "42704" | "42883") => Error::from(error).context(
                "the server does not say which snapshot it has taken and since when it runs, so that an export \
                 cannot be shown to be of one moment",
            ),
            _ => error.into(),
        })?;
        let text = |index| rows.first().and_then(|row| row.text(index)).unwrap_or_default().to_owned();
        // With these, readers prove that they read under the keeper's snapshot.
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
        let backend_pid = text(PID_INDEX).parse().ok();
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

    /// Ends the transaction and hands the session to the pool. Returns the facts.
    pub(crate) fn finish(mut self, pool: &Pool) -> Result<Facts> {
        self.session.execute("COMMIT")?;
        // From here on, no cancel request reaches the session's next work.
        drop(self.attached);
        pool.put(self.session);
        Ok(self.facts)
    }
}

/// Begins the transaction under a snapshot that another session has exported. `facts` are the holder's.
pub(crate) fn import_statements(begin: &str, facts: &Facts) -> Result<String> {
    let exported = facts.exported.as_deref().unwrap_or_default();
    // A reader that waits for a lock waits for somebody who waits for the keeper: nobody would ever see it.
    Ok(format!(
        "{begin}; {WAIT_LESS}; SET LOCAL max_parallel_workers_per_gather = 0; SET TRANSACTION SNAPSHOT {}",
        literal(exported)?
    ))
}

/// The error of a session that could not take over a snapshot. `what`: who could not, in a sentence.
pub(crate) fn not_taken_over(error: Error, what: &str) -> Error {
    match (error.kind(), error.sqlstate()) {
        // No such snapshot; since PostgreSQL 17, an undefined object.
        (ErrorKind::Server, Some("22023" | "42704")) => {
            error.context(format!("{what}: its holder is gone, or this is another server"))
        }
        (ErrorKind::Server, _) => {
            error.context(format!("{what}, which this server or pooler does not share"))
        }
        _ => error,
    }
}

/// Locks what a reader reads.
pub(crate) fn lock_statement(locked: &[String]) -> Option<String> {
    let lock = || format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", locked.join(", "));
    (!locked.is_empty()).then(lock)
}
