//! VACUUM and ANALYZE after the commit of a load. A failure of either is a warning: the rows are committed.
//!
//! ANALYZE runs in a transaction, whose settings end with it. VACUUM cannot. Its settings are those of the
//! session, which is closed afterwards. Behind a pooler they could reach another client, so there are none.

use std::fmt::Write;
use std::time::{Duration, Instant};

use pgarrow_catalog::{OfTarget, Relation, RelationKind, quote_identifier};
use pgarrow_protocol::{Row, ServerError, Session, TransactionStatus, escape_control};
use pgarrow_session::{
    Cancel, Error, ErrorKind, Result, TransactionSettings, literal, server_timeout, without_read_timeout,
};
use pgarrow_types::{Message, OpaqueColumns};
use serde::Serialize;

use crate::options::{LoadMode, LoadOptions};
use crate::progress::{LoadProgress, LoadStage};
use crate::transaction::begin;

/// VACUUM and ANALYZE after the commit of a load. What failed is among the report's warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UpkeepReport {
    /// VACUUM has run.
    pub vacuumed: bool,
    /// ANALYZE has run.
    pub analyzed: bool,
    /// How long both took, in seconds. Not part of the load's `seconds`.
    pub seconds: f64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tended {
    pub(crate) report: UpkeepReport,
    pub(crate) warnings: Vec<Message>,
}

/// How long VACUUM and ANALYZE wait for a lock, if the options do not say. Nobody waits for them.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The rows from which on autovacuum would analyze a table. No row if it never would. A second column says
/// whether a role, or else the current one, may do it as an owner, and a third whether it has a right.
///
/// Source: `relation_needs_vacanalyze` in PostgreSQL's `src/backend/postmaster/autovacuum.c`, and
/// `vacuum_is_permitted_for_relation` in its `src/backend/commands/vacuum.c`. Of a partitioned table that was
/// never analyzed, the estimates of its partitions count.
const THRESHOLD: &str = "WITH RECURSIVE tree(oid) AS ( \
      SELECT $1::pg_catalog.oid \
      UNION \
      SELECT i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid), \
    of_table AS ( \
      SELECT c.reltuples, c.relowner, \
        (SELECT o.option_value FROM pg_catalog.pg_options_to_table(c.reloptions) o \
          WHERE o.option_name OPERATOR(pg_catalog.=) 'autovacuum_enabled') AS enabled, \
        (SELECT o.option_value FROM pg_catalog.pg_options_to_table(c.reloptions) o \
          WHERE o.option_name OPERATOR(pg_catalog.=) 'autovacuum_analyze_threshold') AS base, \
        (SELECT o.option_value FROM pg_catalog.pg_options_to_table(c.reloptions) o \
          WHERE o.option_name OPERATOR(pg_catalog.=) 'autovacuum_analyze_scale_factor') AS scale, \
        (SELECT pg_catalog.sum(p.reltuples) FROM tree t \
          JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) t.oid \
          WHERE p.reltuples OPERATOR(pg_catalog.>) 0::pg_catalog.float4) AS of_tree \
      FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid) \
    SELECT COALESCE(base, pg_catalog.current_setting('autovacuum_analyze_threshold'))::pg_catalog.float8 \
        OPERATOR(pg_catalog.+) \
        (COALESCE(scale, pg_catalog.current_setting('autovacuum_analyze_scale_factor'))::pg_catalog.float8 \
          OPERATOR(pg_catalog.*) CASE WHEN reltuples OPERATOR(pg_catalog.>) 0::pg_catalog.float4 \
            THEN reltuples::pg_catalog.float8 ELSE COALESCE(of_tree, 0)::pg_catalog.float8 END), \
      pg_catalog.pg_has_role(asked.role, relowner, 'USAGE') OR pg_catalog.pg_has_role(asked.role, \
        (SELECT d.datdba FROM pg_catalog.pg_database d \
          WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()), 'USAGE'), \
      pg_catalog.has_table_privilege(asked.role, $1::pg_catalog.oid, $3) \
    FROM (SELECT COALESCE($2::pg_catalog.name, CURRENT_USER) AS role) asked, of_table \
    WHERE COALESCE(enabled, 'true')::pg_catalog.bool";

/// [`THRESHOLD`], asked ahead in the transaction of the load, whose role is the current one.
pub(crate) fn threshold_within(session: &Session) -> OfTarget {
    OfTarget { others: vec![right(session).to_owned()], ..OfTarget::new(sql_within()) }
}

fn sql_within() -> String {
    THRESHOLD.replace("$2::pg_catalog.name", "NULL::pg_catalog.name").replace("$3", "$2")
}

/// The right to analyze a table. Before version 17 there is none, and another one stands for it.
fn right(session: &Session) -> &'static str {
    if has_right(session) { "MAINTAIN" } else { "SELECT" }
}

fn has_right(session: &Session) -> bool {
    session.server_version_num() >= 170_000
}

/// What a load does to its table after the commit.
#[derive(Clone, Debug)]
pub(crate) struct Upkeep {
    oid: u32,
    /// Quoted.
    table: String,
    /// Schema and name as the user knows them.
    shown: String,
    vacuum: bool,
    analyze: Analyze,
    /// What [`threshold`](Self::threshold) has found, if it was asked ahead.
    known: Option<Option<f64>>,
    /// Role, parameters and lock timeout.
    options: LoadOptions,
    is_pooled: bool,
}

/// When statistics are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Analyze {
    Never,
    /// If autovacuum would make them, too.
    IfMany,
    Always,
}

impl Upkeep {
    /// What there is to do after loading this table. `is_plain`: the server is PostgreSQL itself, which has
    /// autovacuum's settings.
    pub(crate) fn of(
        relation: &Relation,
        shown: &str,
        options: &LoadOptions,
        is_plain: bool,
        is_pooled: bool,
    ) -> Self {
        let has_statistics = match relation.kind {
            RelationKind::Table | RelationKind::PartitionedTable => !relation.is_temporary(),
            RelationKind::View | RelationKind::MaterializedView | RelationKind::ForeignTable => false,
        };
        let analyze = match options.mode {
            _ if options.no_analyze || !has_statistics => Analyze::Never,
            LoadMode::Create | LoadMode::Truncate | LoadMode::Replace => Analyze::Always,
            LoadMode::Append | LoadMode::Upsert if is_plain => Analyze::IfMany,
            LoadMode::Append | LoadMode::Upsert => Analyze::Never,
        };
        Self {
            oid: relation.oid,
            table: relation.quoted(),
            shown: shown.to_owned(),
            vacuum: options.vacuum && has_statistics,
            analyze,
            known: None,
            options: LoadOptions { holders: None, opaque: OpaqueColumns::default(), ..options.clone() },
            is_pooled,
        }
    }

    /// Asks now, in the transaction of the load, what is to be known after its commit.
    pub(crate) fn learn(&mut self, session: &mut Session) -> Result<()> {
        if self.analyze == Analyze::IfMany {
            let parameters = [Some(self.oid.to_string()), Some(right(session).to_owned())];
            let parameters = parameters.each_ref().map(Option::as_deref);
            let rows = session.query(&sql_within(), &parameters).map_err(Error::without_advice)?;
            self.known = Some(threshold_of(&rows, has_right(session)));
        }
        Ok(())
    }

    /// The same for another relation, which will have the name when the load ends.
    pub(crate) fn of_relation(self, oid: u32) -> Self {
        Self { oid, ..self }
    }

    /// Whether a set does it after its commit. Otherwise only the caller can, whose the transaction is.
    pub(crate) fn is_of_set(&self) -> bool {
        self.options.is_of_set
    }

    /// The warning for a caller who asked for VACUUM and has to run it.
    pub(crate) fn left_to_caller(&self) -> Option<Message> {
        let text = "VACUUM is not possible in a transaction of the caller; run it after the commit";
        self.vacuum.then(|| Message::from(format!("{}: {text}", self.shown)))
    }

    /// What came of it if there is no session to do it.
    pub(crate) fn not_begun(&self, error: &Error) -> Tended {
        let statement = match (self.vacuum, self.analyze) {
            (false, Analyze::Never | Analyze::IfMany) => return Tended::default(),
            (true, _) => VACUUM,
            (false, Analyze::Always) => ANALYZE,
        };
        let warning = match error.kind() {
            ErrorKind::Cancelled => self.committed_but(statement, "was stopped"),
            _ => self.committed_but(statement, &format!("failed: {error}")),
        };
        Tended { warnings: vec![warning], ..Tended::default() }
    }

    /// Does it after a load of so many rows. The session must be idle; a cancel of the load stops it.
    pub(crate) fn run(
        &self,
        session: &mut Session,
        rows: u64,
        cancel: &Cancel,
        progress: &LoadProgress,
    ) -> Tended {
        let started = Instant::now();
        let Some(statement) = self.statement(session, rows) else { return Tended::default() };
        progress.enter(LoadStage::Tending);
        session.take_notices();
        let done = match cancel.is_requested() {
            true => Err(cancel.error()),
            false => without_read_timeout(session, |session| self.execute(session, statement)),
        };
        progress.enter(LoadStage::Committed);
        let warnings: Vec<Message> = match &done {
            Err(_) if cancel.is_requested() => vec![self.committed_but(statement, "was stopped")],
            Err(error) => vec![self.committed_but(statement, &format!("failed: {error}"))],
            Ok(()) => {
                let notices = session.take_notices();
                notices.iter().filter_map(|notice| self.refused(statement, notice)).collect()
            }
        };
        let is_done = warnings.is_empty();
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(target: "pgarrow", table = %self.shown, seconds, is_done, "{statement}");
        let report = UpkeepReport {
            vacuumed: is_done && self.vacuum,
            analyzed: is_done && statement != VACUUM,
            seconds,
        };
        Tended { report, warnings }
    }

    /// The statement without the table's name, if there is something to do after a load of so many rows.
    fn statement(&self, session: &mut Session, rows: u64) -> Option<&'static str> {
        let analyze = match self.analyze {
            Analyze::Never => false,
            Analyze::Always => true,
            // Without an answer, autovacuum does it.
            Analyze::IfMany => {
                rows > 0 && self.threshold(session).is_some_and(|threshold| rows as f64 > threshold)
            }
        };
        match (self.vacuum, analyze) {
            (false, false) => None,
            (true, false) => Some(VACUUM),
            (false, true) => Some(ANALYZE),
            (true, true) => Some(VACUUM_ANALYZE),
        }
    }

    /// None also for a role that may not analyze the table: the server would do nothing, and say so each
    /// time.
    fn threshold(&self, session: &mut Session) -> Option<f64> {
        if let Some(known) = self.known {
            return known;
        }
        let parameters =
            [Some(self.oid.to_string()), self.options.role.clone(), Some(right(session).to_owned())];
        let rows = session.query(THRESHOLD, &parameters.each_ref().map(Option::as_deref)).ok()?;
        threshold_of(&rows, has_right(session))
    }

    fn execute(&self, session: &mut Session, statement: &str) -> Result<()> {
        let Self { table, options, .. } = self;
        let lock_timeout = options.lock_timeout.or(Some(LOCK_TIMEOUT));
        let done = match statement {
            ANALYZE => {
                let options = LoadOptions { lock_timeout, ..options.clone() };
                begin(session, &options)?;
                session.execute(&format!("{statement} {table}; COMMIT"))
            }
            _ if self.is_pooled => session.execute(&format!("{statement} {table}")),
            _ => {
                let settings = self.settings(session, lock_timeout)?;
                session.execute(&settings).and_then(|()| session.execute(&format!("{statement} {table}")))
            }
        };
        if done.is_err() && session.transaction_status() != TransactionStatus::Idle {
            // The session may be used for other tables.
            let _ = session.execute("ROLLBACK");
        }
        done.map_err(Error::without_advice)
    }

    /// The statements that set the session as [`begin`] sets a transaction.
    fn settings(&self, session: &Session, lock_timeout: Option<Duration>) -> Result<String> {
        let LoadOptions { role, settings, .. } = &self.options;
        let role = role.as_deref();
        let of_user = TransactionSettings { role, parameters: settings, lock_timeout };
        let lock_timeout = server_timeout(lock_timeout);
        let has_transaction_timeout = session.server_version_num() >= 170_000;
        let ours = [("statement_timeout", "0"), ("lock_timeout", lock_timeout.as_str())];
        let ours = ours.into_iter().chain(has_transaction_timeout.then_some(("transaction_timeout", "0")));
        let ours = ours.filter(|(name, _)| !of_user.sets(name));
        let of_user = settings.iter().map(|(name, value)| (name.trim(), value.as_str()));
        let mut statements = String::new();
        for (name, value) in ours.chain(of_user) {
            let (name, value) = (literal(name)?, literal(value)?);
            let _ = write!(statements, "SELECT pg_catalog.set_config({name}, {value}, false); ");
        }
        if let Some(role) = role {
            let _ = write!(statements, "SET ROLE {}", quote_identifier(role));
        }
        Ok(statements)
    }

    /// The warning for a notice. The server gives one where it skips a table, for lack of a right.
    fn refused(&self, statement: &str, notice: &ServerError) -> Option<Message> {
        let words = escape_control(&notice.message);
        (notice.severity == "WARNING").then(|| self.committed_but(statement, &format!("says: {words}")))
    }

    fn committed_but(&self, statement: &str, what: &str) -> Message {
        Message::from(format!("{}: the rows are committed, but {statement} {what}", self.shown))
    }
}

/// The answer to [`THRESHOLD`].
fn threshold_of(rows: &[Row], has_right: bool) -> Option<f64> {
    let row = rows.first()?;
    let may = row.text(1) == Some("t") || (has_right && row.text(2) == Some("t"));
    row.text(0)?.parse().ok().filter(|_| may)
}

const VACUUM: &str = "VACUUM";
const ANALYZE: &str = "ANALYZE";
const VACUUM_ANALYZE: &str = "VACUUM (ANALYZE)";
