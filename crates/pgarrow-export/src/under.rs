//! A snapshot that another session holds, and under which this one reads tables.
//!
//! ```text
//!  holder   locks ─▶ snapshot, exported ──────────────────────── … ─▶ end
//!  keeper             └▶ takes it over ─▶ locks ─▶ has the holder locked the same? ─▶ exports it for its readers
//! ```
//!
//! Locks that the keeper takes are later than the snapshot. Between the two, a TRUNCATE would make a table
//! empty, and columns could change their names. So the transaction that has exported the snapshot must have
//! locked all that is read: it has done so before, and holds the locks as long as the snapshot.

use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result, literal};
use serde::{Deserialize, Serialize};

use crate::facts::Facts;

/// The most names that an error lists.
const NAMED_MAX: usize = 4;

/// A snapshot that another session holds, see [`Tables::under`](crate::Tables::under).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SharedSnapshot {
    source: SliceSource,
    snapshot: SliceSnapshot,
}

/// The server that a slice was planned on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SliceSource {
    /// `host:port`, or the socket's path.
    pub endpoint: String,
    /// The database's name.
    pub database: String,
    /// `pg_postmaster_start_time()`: a restarted server does not have the snapshot.
    pub server_started: String,
}

/// A snapshot that a session holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SliceSnapshot {
    /// What `pg_export_snapshot()` returned.
    pub exported: String,
    /// `pg_current_snapshot()`: a session that imports the snapshot compares it with its own.
    pub current: String,
}

impl SliceSource {
    pub(crate) fn of(facts: &Facts) -> Self {
        Self {
            endpoint: facts.endpoint.clone(),
            database: facts.database.clone(),
            server_started: facts.server_start.clone(),
        }
    }
}

impl SharedSnapshot {
    pub(crate) fn new(source: SliceSource, snapshot: SliceSnapshot) -> Self {
        Self { source, snapshot }
    }

    /// Whether two are one: the same database of a server that was not started anew, the same name, which the
    /// server gives again only after that, and the same transactions. Not how the server is reached.
    pub fn is_same(&self, other: &Self) -> bool {
        self.snapshot == other.snapshot
            && self.source.database == other.source.database
            && self.source.server_started == other.source.server_started
    }

    /// That of a transaction that has exported its own.
    pub(crate) fn of(facts: &Facts) -> Option<Self> {
        let snapshot = SliceSnapshot { exported: facts.exported.clone()?, current: facts.snapshot.clone() };
        Some(Self::new(SliceSource::of(facts), snapshot))
    }

    /// What its transaction must turn out to see.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            snapshot: self.snapshot.current.clone(),
            exported: Some(self.snapshot.exported.clone()),
            server_start: self.source.server_started.clone(),
            ..Facts::default()
        }
    }

    /// The transaction that has exported it, as `pg_locks.virtualtransaction` has it. The name of a snapshot
    /// begins with both numbers: see `ExportSnapshot` in PostgreSQL's src/backend/utils/time/snapmgr.c.
    fn holder(&self) -> Option<String> {
        let mut numbers = self.snapshot.exported.split('-');
        let mut next = || u32::from_str_radix(numbers.next()?, 16).ok();
        Some(format!("{}/{}", next()?, next()?))
    }

    /// Checks that the holder has locked these relations.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`]: it has not, so they may have been changed since.
    pub(crate) fn check(&self, session: &mut Session, roots: &[u32]) -> Result<()> {
        let holder = self.holder().ok_or_else(|| {
            Error::new(
                ErrorKind::Options,
                "the name of the held snapshot does not say which session holds it",
            )
        })?;
        let roots: Vec<String> = roots.iter().map(u32::to_string).collect();
        // LOCK takes neither materialized views nor foreign tables. The catalog is as the snapshot sees it,
        // and the function sees it as it is. System tables are never replaced.
        let sql = format!(
            "SELECT c.oid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_class AS c \
             WHERE c.oid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.oid[]) \
             AND c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND CASE \
             WHEN c.relkind OPERATOR(pg_catalog.=) 'm' \
             THEN c.relfilenode OPERATOR(pg_catalog.<>) pg_catalog.pg_relation_filenode(c.oid) \
             WHEN c.relkind OPERATOR(pg_catalog.=) 'f' THEN false \
             ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS l \
               WHERE l.virtualtransaction OPERATOR(pg_catalog.=) {} AND l.granted \
               AND l.locktype OPERATOR(pg_catalog.=) 'relation' \
               AND l.relation OPERATOR(pg_catalog.=) c.oid \
               AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d \
                 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())) END ORDER BY 1",
            roots.join(","),
            literal(&holder)?
        );
        let rows = session.query(&sql, &[])?;
        let names: Vec<&str> = rows.iter().filter_map(|row| row.text(0)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let more = if names.len() > NAMED_MAX { ", …" } else { "" };
        let text = format!(
            "the session that holds the snapshot has not locked what is to be read ({}{more}), so it may have been changed \
             since; hold the snapshot of all tables that are read",
            names.get(..NAMED_MAX).unwrap_or(&names).join(", ")
        );
        Err(Error::new(ErrorKind::Options, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(exported: &str) -> SharedSnapshot {
        let source = SliceSource {
            endpoint: "h:5432".to_owned(),
            database: "d".to_owned(),
            server_started: "2026-01-01".to_owned(),
        };
        let snapshot = SliceSnapshot { exported: exported.to_owned(), current: "5:5:".to_owned() };
        SharedSnapshot { source, snapshot }
    }

    #[test]
    fn the_name_says_who_holds_it() {
        assert_eq!(shared("00000003-0000001B-1").holder().as_deref(), Some("3/27"));
        assert_eq!(shared("0000001A-FFFFFFFF-12").holder().as_deref(), Some("26/4294967295"));
        for name in ["", "00000003", "3-x-1"] {
            assert_eq!(shared(name).holder(), None, "{name}");
        }
    }

    #[test]
    fn the_same_text_on_a_server_that_was_started_anew_is_another_snapshot() {
        let one = shared("00000003-0000001B-1");
        let mut other = one.clone();
        other.source.endpoint = "/tmp".to_owned();
        assert!(one.is_same(&other));
        other.source.server_started = "2026-01-02".to_owned();
        assert!(!one.is_same(&other));
        assert!(!one.is_same(&shared("00000003-0000001B-2")));
    }
}
