//! The transaction an export reads in: its settings, its locks, its one snapshot.
//!
//! ```text
//!  names are resolved          outside the transaction, on the user's search path
//!  BEGIN … REPEATABLE READ     takes no snapshot yet
//!  SET LOCAL …                 nor does this (SELECT set_config would)
//!  LOCK TABLE … ACCESS SHARE   nor this; from here on nobody rewrites, truncates or drops what is read
//!  first query                 takes the snapshot
//!  the relation again          must be what was resolved
//! ```
//!
//! The other way round, a TRUNCATE between snapshot and lock makes the export empty without an error.
//!
//! What LOCK refuses (materialized views, foreign tables, tables of which the role may read only some columns)
//! is held by a second session, whose open transaction has read no row of it before the snapshot is taken.

use pgarrow_catalog::{Relation, RelationKind, quote_identifier, quote_literal, relation};
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

/// The session that reads, in its transaction; and the one that holds what cannot be locked.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) session: Session,
    pub(crate) facts: Facts,
    holder: Option<Session>,
    /// Keep the sessions within reach of a cancel.
    attached: Vec<AttachedSession>,
}

/// What is known once the snapshot is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// `host:port`, or the socket's path.
    pub(crate) endpoint: String,
    /// The database's name.
    pub(crate) database: String,
    /// `pg_current_snapshot()`.
    pub(crate) snapshot: String,
    /// `pg_postmaster_start_time()`.
    pub(crate) server_start: String,
    /// `server_version`.
    pub(crate) server_version: String,
}

/// What has to stay as it is until the export is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) relation: &'a Relation,
    /// The SELECT list, for a relation of which only some columns may be read.
    pub(crate) select_list: &'a str,
    /// Nothing but the relation is read: no filter that might use a view.
    pub(crate) is_plain: bool,
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
    /// Begins the transaction, locks the subject if it is a relation, and takes the snapshot.
    pub(crate) fn begin(
        mut session: Session,
        subject: Option<Subject<'_>>,
        options: &ExportOptions,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut attached = vec![cancel.attach(&session)];
        let restrict = subject.is_some_and(|subject| {
            subject.is_plain
                && matches!(subject.relation.kind, RelationKind::Table | RelationKind::PartitionedTable)
        });
        let begin = begin_statements(&mut session, options, restrict)?;
        session.execute(&begin)?;
        let mut holder = None;
        if let Some(subject) = subject {
            let quoted = subject.relation.quoted();
            let is_locked = is_lockable(subject.relation.kind)
                && match session.execute(&format!("LOCK TABLE {quoted} IN ACCESS SHARE MODE")) {
                    Ok(()) => true,
                    Err(error) if error.sqlstate() == Some("42501") => {
                        session.execute("ROLLBACK")?;
                        session.execute(&begin)?;
                        false
                    }
                    Err(error) => return Err(error.into()),
                };
            if !is_locked {
                let (session, attachment) = hold(&session, subject, options, cancel)?;
                holder = Some(session);
                attached.push(attachment);
            }
        }
        let mut keeper = Self { session, facts: Facts::default(), holder, attached };
        keeper.take_snapshot()?;
        if let Some(subject) = subject {
            keeper.check_unchanged(subject.relation)?;
        }
        Ok(keeper)
    }

    fn take_snapshot(&mut self) -> Result<()> {
        let snapshot = if self.session.server_version_num() >= 130_000 {
            "pg_catalog.pg_current_snapshot()"
        } else {
            "pg_catalog.txid_current_snapshot()"
        };
        let sql = format!(
            "SELECT {snapshot}::pg_catalog.text, pg_catalog.pg_postmaster_start_time()::pg_catalog.text, \
             pg_catalog.current_setting('server_version')"
        );
        let rows = self.session.query(&sql, &[])?;
        let text = |index| rows.first().and_then(|row| row.text(index)).unwrap_or_default().to_owned();
        self.facts = Facts {
            endpoint: self.session.endpoint().to_owned(),
            database: self.session.config().dbname().to_owned(),
            snapshot: text(0),
            server_start: text(1),
            server_version: text(2),
        };
        Ok(())
    }

    /// Between resolving the name and locking it, somebody may have put another relation in its place.
    fn check_unchanged(&mut self, planned: &Relation) -> Result<()> {
        if relation(&mut self.session, planned.oid)?.as_ref() == Some(planned) {
            return Ok(());
        }
        let text = format!("{planned} was changed while the export was planned; run it again");
        Err(Error::new(ErrorKind::Server, text))
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

/// BEGIN and the settings that hold for the transaction. The user's own settings come first.
fn begin_statements(session: &mut Session, options: &ExportOptions, restrict: bool) -> Result<String> {
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
    if restrict {
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
    Ok(statements)
}

/// Opens a second session whose transaction has the relation open, and leaves it so.
fn hold(
    keeper: &Session,
    subject: Subject<'_>,
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
    let (list, relation) = (subject.select_list, subject.relation.quoted());
    session.execute(&format!("SELECT {list} FROM {relation} LIMIT 0"))?;
    Ok((session, attached))
}

/// A string literal, or why there is none.
pub(crate) fn literal(text: &str) -> Result<String> {
    quote_literal(text).ok_or_else(|| {
        Error::new(ErrorKind::Options, "a value has a NUL byte, which PostgreSQL's text cannot hold")
    })
}
