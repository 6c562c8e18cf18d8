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

use pgarrow_catalog::{Relation, RelationKind, quote_identifier, quote_literal};
use pgarrow_protocol::Session;

use crate::cancel::{AttachedSession, Cancel};
use crate::error::{Error, ErrorKind, Result};
use crate::options::ExportOptions;

/// Parameters that decide how values look on the wire or in text, and how a statement is read: ours alone.
const FIXED: [&str; 7] = [
    "client_encoding",
    "standard_conforming_strings",
    "datestyle",
    "intervalstyle",
    "extra_float_digits",
    "bytea_output",
    "transaction_isolation",
];

/// The session that holds the snapshot, in its transaction; and the one that holds what cannot be locked.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) session: Session,
    pub(crate) facts: Facts,
    /// BEGIN and the settings, for the readers too.
    pub(crate) begin: String,
    /// What LOCK has locked, quoted: readers lock it again.
    pub(crate) locked: Vec<String>,
    holder: Option<Session>,
    /// Keep the sessions within reach of a cancel.
    attached: Vec<AttachedSession>,
}

/// What is known once the snapshot is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// `host:port`, or the socket's path.
    pub(crate) endpoint: String,
    /// There is a network in between.
    pub(crate) is_remote: bool,
    /// The database's name.
    pub(crate) database: String,
    /// `pg_current_snapshot()`.
    pub(crate) snapshot: String,
    /// `pg_export_snapshot()`, once others are to read.
    pub(crate) exported: Option<String>,
    /// `pg_postmaster_start_time()` in UTC, whatever the session's time zone.
    pub(crate) server_start: String,
    /// `server_version`.
    pub(crate) server_version: String,
}

/// What has to stay as it is until the export is done.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Schema and name, quoted.
    pub(crate) quoted: String,
    /// LOCK TABLE takes it.
    pub(crate) is_lockable: bool,
    /// What opens it in a transaction without reading it, where LOCK is refused.
    pub(crate) statement: String,
}

impl Held {
    /// A relation of which `select_list` is read.
    pub(crate) fn relation(relation: &Relation, select_list: &str) -> Self {
        let quoted = relation.quoted();
        let statement = format!("SELECT {select_list} FROM {quoted} LIMIT 0");
        Self { statement, is_lockable: is_lockable(relation.kind), quoted }
    }

    /// A relation that a query reads.
    pub(crate) fn of_query(relation: &Relation, query: &str) -> Self {
        let statement = format!("EXPLAIN (COSTS OFF)\n{query}");
        Self { statement, is_lockable: is_lockable(relation.kind), quoted: relation.quoted() }
    }
}

/// Applies role and settings to a session, for good. Outside of a transaction.
pub(crate) fn prepare(session: &mut Session, options: &ExportOptions) -> Result<()> {
    if let Some(role) = &options.role {
        session.execute(&format!("SET ROLE {}", quote_identifier(role)))?;
    }
    for (name, value) in &options.settings {
        if FIXED.iter().any(|fixed| fixed.eq_ignore_ascii_case(name.trim())) {
            let text = format!(
                "the setting {name} is fixed by pgarrow, since it changes how values are sent or read"
            );
            return Err(Error::new(ErrorKind::Options, text));
        }
        // As a function, it takes lists such as search_path's as one text.
        session.query("SELECT pg_catalog.set_config($1, $2, false)", &[Some(name), Some(value)])?;
    }
    Ok(())
}

impl Keeper {
    /// Begins the transaction, locks what is to be held, and takes the snapshot.
    ///
    /// `is_plain`: nothing but tables is read, by statements of ours without a user's filter.
    pub(crate) fn begin(
        mut session: Session,
        held: &[Held],
        is_plain: bool,
        options: &ExportOptions,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut attached = vec![cancel.attach(&session)];
        let begin = begin_statements(&mut session, options, is_plain)?;
        session.execute(&begin)?;
        let (locked, refused) = lock(&mut session, held)?;
        let mut holder = None;
        if !refused.is_empty() {
            let (session, attachment) = hold(&session, &refused, options, cancel)?;
            holder = Some(session);
            attached.push(attachment);
        }
        let mut keeper = Self { session, facts: Facts::default(), begin, locked, holder, attached };
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
            "{begin}; SET LOCAL lock_timeout = '10s'; SET LOCAL max_parallel_workers_per_gather = 0; \
             SET TRANSACTION SNAPSHOT {}",
            literal(exported)?
        );
        session.execute(&begin_import).map_err(|error| {
            let error = Error::from(error);
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
        let begin = begin.to_owned();
        let mut reader =
            Self { session, facts: Facts::default(), begin, locked: Vec::new(), holder: None, attached };
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
        session.execute(&format!("{begin}; SET LOCAL max_parallel_workers_per_gather = 0"))?;
        if !locked.is_empty() {
            session.execute(&format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", locked.join(", ")))?;
        }
        let begin = begin.to_owned();
        let mut reader =
            Self { session, facts: Facts::default(), begin, locked: Vec::new(), holder: None, attached };
        reader.take_snapshot()?;
        Ok(reader)
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
             pg_catalog.current_setting('server_version')"
        );
        let rows = self.session.query(&sql, &[])?;
        let text = |index| rows.first().and_then(|row| row.text(index)).unwrap_or_default().to_owned();
        // Readers prove by these that they read what the keeper holds.
        if text(0).is_empty() || text(1).is_empty() {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the server does not say which snapshot it has taken",
            ));
        }
        self.facts = Facts {
            endpoint: self.session.endpoint().to_owned(),
            is_remote: self.session.config().is_remote(),
            database: self.session.config().dbname().to_owned(),
            snapshot: text(0),
            exported: None,
            server_start: text(1),
            server_version: text(2),
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

    /// Begins the transaction anew, after the server has aborted it. Another snapshot, the same locks.
    pub(crate) fn begin_again(&mut self) -> Result<()> {
        self.session.execute("ROLLBACK")?;
        self.session.execute(&self.begin)?;
        if !self.locked.is_empty() {
            self.session.execute(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", self.locked.join(", ")))?;
        }
        self.take_snapshot()
    }

    /// The backends that hold locks for the export.
    pub(crate) fn backend_pids(&self) -> Vec<i32> {
        std::iter::once(&self.session).chain(&self.holder).filter_map(Session::backend_pid).collect()
    }

    /// Ends the transaction without a word, so that it can be begun again on the same session.
    pub(crate) fn give_up(mut self) -> Result<Session> {
        self.session.execute("ROLLBACK")?;
        if let Some(holder) = self.holder {
            holder.close();
        }
        Ok(self.session)
    }

    /// Ends the transaction and the sessions. What is known of them stays.
    pub(crate) fn finish(mut self) -> Result<Facts> {
        self.session.execute("COMMIT")?;
        drop(self.attached);
        self.session.close();
        if let Some(holder) = self.holder {
            holder.close();
        }
        Ok(self.facts)
    }
}

/// LOCK TABLE takes tables and views, and neither materialized views nor foreign tables.
fn is_lockable(kind: RelationKind) -> bool {
    match kind {
        RelationKind::Table | RelationKind::PartitionedTable | RelationKind::View => true,
        RelationKind::MaterializedView | RelationKind::ForeignTable => false,
    }
}

/// Locks what can be locked, descendants included. What was locked, and the statements that open the rest.
fn lock(session: &mut Session, held: &[Held]) -> Result<(Vec<String>, Vec<String>)> {
    let (lockable, others): (Vec<&Held>, Vec<&Held>) = held.iter().partition(|held| held.is_lockable);
    let mut refused: Vec<&Held> = others;
    let mut locked: Vec<String> = Vec::new();
    // All at once; and where that is refused, one by one.
    let names: Vec<String> = lockable.iter().map(|held| held.quoted.clone()).collect();
    if !names.is_empty() {
        if try_lock(session, &names.join(", "))? {
            locked = names;
        } else {
            for held in lockable {
                match names.len() > 1 && try_lock(session, &held.quoted)? {
                    true => locked.push(held.quoted.clone()),
                    false => refused.push(held),
                }
            }
        }
    }
    let mut statements: Vec<String> = refused.into_iter().map(|held| held.statement.clone()).collect();
    statements.dedup();
    Ok((locked, statements))
}

/// Whether the lock was had. False if the role may not.
fn try_lock(session: &mut Session, names: &str) -> Result<bool> {
    // A savepoint takes no snapshot, and outlives the refusal.
    session.execute("SAVEPOINT pgarrow_lock")?;
    match session.execute(&format!("LOCK TABLE {names} IN ACCESS SHARE MODE")) {
        Ok(()) => {
            session.execute("RELEASE SAVEPOINT pgarrow_lock")?;
            Ok(true)
        }
        Err(error) if error.sqlstate() == Some("42501") => {
            session.execute("ROLLBACK TO SAVEPOINT pgarrow_lock; RELEASE SAVEPOINT pgarrow_lock")?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// BEGIN and the settings that hold for the transaction. The user's own settings come first.
pub(crate) fn begin_statements(
    session: &mut Session,
    options: &ExportOptions,
    is_plain: bool,
) -> Result<String> {
    let mut settings = vec![
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        // Off: a policy that would filter rows is an error, not a silent subset.
        ("row_security", "off"),
        // Values in text, the server's own, are the same whatever role or database are set to.
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        // Where strings end is decided here as the server decides it.
        ("standard_conforming_strings", "on"),
        // Rows come in the order of the table's pages, from its first one.
        ("synchronize_seqscans", "off"),
    ];
    if session.server_version_num() >= 170_000 {
        settings.push(("transaction_timeout", "0"));
    }
    // Where a table is read, no view may stand in for it and run functions of its owner (CVE-2024-7348).
    // A foreign table may be one of its partitions. The setting came with minor releases, so the server is asked.
    if is_plain {
        let sql = "SELECT pg_catalog.current_setting('restrict_nonsystem_relation_kind', true)";
        let rows = session.query(sql, &[])?;
        if rows.first().is_some_and(|row| row.text(0).is_some()) {
            settings.push(("restrict_nonsystem_relation_kind", "view"));
        }
    }
    let mut statements = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    for (name, value) in settings {
        let is_users = options.settings.iter().any(|(users, _)| users.trim().eq_ignore_ascii_case(name));
        if !is_users {
            // A list may be one literal, as long as it has no names in it; a word with a hyphen must be.
            statements.push_str(&format!("; SET LOCAL {name} = '{value}'"));
        }
    }
    if options.ordered {
        // Rows of several workers come in no order.
        statements.push_str("; SET LOCAL max_parallel_workers_per_gather = 0");
    }
    Ok(statements)
}

/// Opens a second session whose transaction has these relations open, and leaves it so.
fn hold(
    keeper: &Session,
    statements: &[String],
    options: &ExportOptions,
    cancel: &Cancel,
) -> Result<(Session, AttachedSession)> {
    let mut session = cancel.connect(keeper.config()).map_err(|error| match error.kind() {
        ErrorKind::Cancelled => error,
        _ => error.context("a second connection, which holds what cannot be locked"),
    })?;
    let attached = cancel.attach(&session);
    prepare(&mut session, options)?;
    let begin = begin_statements(&mut session, options, false)?;
    session.execute(&begin)?;
    for statement in statements {
        session.execute(statement)?;
    }
    Ok((session, attached))
}

/// A string literal, or why there is none.
pub(crate) fn literal(text: &str) -> Result<String> {
    quote_literal(text).ok_or_else(|| {
        Error::new(ErrorKind::Options, "a value has a NUL byte, which PostgreSQL's text cannot hold")
    })
}
