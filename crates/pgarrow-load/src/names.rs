//! Proves that the names in a load's statements always meant the planned tables.
//!
//! Every statement resolves its names again, and `ALTER SCHEMA … RENAME` takes no lock on the tables in the
//! schema. With `ALTER SCHEMA live RENAME TO old; ALTER SCHEMA stage RENAME TO live` in the middle of a
//! load, `live.t` is another table. After renaming back, the names alone do not show it. This does:
//!
//! ```text
//!  LOCK "s"."t" ─▶ pg_locks has the planned OID of s.t, and the row of s in pg_namespace has this xmin
//!       │            from here on t can be neither renamed nor moved: only its schema can get another name
//!  COPY, INSERT …
//!       │
//!  before COMMIT ─▶ the row of s has the same xmin: nobody has renamed s, nor renamed it back
//!                 └▶ another xmin: then pg_locks must show no write to another table of that name
//! ```
//!
//! Locks last until the transaction ends, and show which tables were really opened. A table that a trigger
//! writes to is no reason to fail, unless it has the target's name and the schema has changed meanwhile. But
//! a rollback to a savepoint releases locks, and a dropped or renamed table has another name. Where a load
//! does that, the row of the schema must be unchanged.

use pgarrow_catalog::{Relation, RelationKind};
use pgarrow_protocol::{Row, Session};
use pgarrow_session::{Error, ErrorKind, Result};

/// The locks of this session, by relation and mode. Relations shared by all databases do not count.
const OWN: &str = "own AS (SELECT l.relation, l.mode FROM pg_catalog.pg_locks l \
      WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted \
        AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
        AND l.database OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)";

/// The lock modes of statements that only read. Foreign key checks take the second.
const READING: &str = "'{AccessShareLock,RowShareLock}'::pg_catalog.text[]";

/// The query of [`Names::of`].
pub(crate) fn named_sql() -> String {
    format!(
        "WITH {OWN} SELECT c.oid::pg_catalog.text, s.nspname, c.relname, s.oid::pg_catalog.text, \
               s.xmin::pg_catalog.text, EXISTS (SELECT FROM own WHERE own.relation OPERATOR(pg_catalog.=) c.oid) \
             FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace \
             WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])"
    )
}

/// Tables that the statements of a transaction name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    tables: Vec<Named>,
}

#[derive(Clone, Debug)]
struct Named {
    oid: u32,
    name: String,
    /// The OID of the schema, and the transaction that last changed its row; `None` if they are not known.
    schema: Option<(u32, String)>,
    /// The table was locked under this name, so from then on the name means this table.
    is_held: bool,
}

/// How much `prove` has to show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proof {
    /// All tables written to are still locked.
    Locks,
    /// Something was rolled back, dropped or renamed, which locks do not show: no schema may have changed.
    Schemas,
}

impl Names {
    /// For tables that this session's statements have named and locked in the open transaction. Foreign
    /// tables cannot be locked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] for a table that is not locked, or that has another name now.
    pub(crate) fn of(session: &mut Session, relations: &[&Relation]) -> Result<Self> {
        let sql = named_sql();
        let oids = array(relations.iter().map(|relation| relation.oid));
        let rows = session.query(&sql, &[Some(&oids)]).map_err(Error::without_advice)?;
        let named = |relation: &&Relation| {
            let is_of_it = |row: &&Row| number(row, 0) == Some(relation.oid);
            let is_named =
                |row: &&Row| row.text(1) == Some(&relation.schema) && row.text(2) == Some(&relation.name);
            let row = rows.iter().find(is_of_it).filter(is_named);
            let row = row.ok_or_else(|| replaced(relation, "looked up"))?;
            let is_held = row.text(5) == Some("t");
            if !is_held && relation.kind != RelationKind::ForeignTable {
                return Err(replaced(relation, "looked up"));
            }
            let schema = number(row, 3).zip(row.text(4).map(str::to_owned));
            Ok(Named { oid: relation.oid, name: relation.name.clone(), schema, is_held })
        };
        Ok(Self { tables: relations.iter().map(named).collect::<Result<_>>()? })
    }

    /// For a table whose name nobody else uses: the session must have written to it, whatever its schema is
    /// called.
    pub(crate) fn unlocked(relation: &Relation) -> Self {
        let (oid, name) = (relation.oid, relation.name.clone());
        Self { tables: vec![Named { oid, name, schema: None, is_held: false }] }
    }

    /// Adds further tables.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.tables.extend(others.tables);
        self
    }

    /// The schema of the first table.
    pub(crate) fn schema(&self) -> Option<u32> {
        self.tables.first()?.schema.as_ref().map(|(oid, _)| *oid)
    }

    /// What [`prove`](Self::prove) asks: a query, and its parameters.
    pub(crate) fn question(&self, must_hold: &[u32]) -> (String, [String; 2]) {
        let sql = format!(
            "WITH {OWN} \
             SELECT 'schema', s.oid::pg_catalog.text, s.xmin::pg_catalog.text FROM pg_catalog.pg_namespace s \
               WHERE s.oid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.oid[]) \
             UNION ALL SELECT 'held', own.relation::pg_catalog.text, NULL FROM own \
               WHERE own.relation OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
             UNION ALL SELECT 'other', c.oid::pg_catalog.text, c.relname::pg_catalog.text FROM own \
               JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) own.relation \
               WHERE c.oid OPERATOR(pg_catalog.<>) ALL ($1::pg_catalog.oid[]) \
                 AND own.mode OPERATOR(pg_catalog.<>) ALL ({READING})"
        );
        let oids = array(self.tables.iter().map(|table| table.oid).chain(must_hold.iter().copied()));
        let schemas = array(self.tables.iter().filter_map(|table| Some(table.schema.as_ref()?.0)));
        (sql, [oids, schemas])
    }

    /// Checks that the transaction's statements reached these tables and no others of their names. Call it
    /// before the commit. `must_hold`: OIDs of further tables that the session must have locked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if other tables were reached, or if that cannot be excluded.
    pub(crate) fn prove(
        &self,
        session: &mut Session,
        proof: Proof,
        shown: &str,
        must_hold: &[u32],
    ) -> Result<()> {
        let (sql, [oids, schemas]) = self.question(must_hold);
        let rows = session.query(&sql, &[Some(&oids), Some(&schemas)]).map_err(Error::without_advice)?;
        let has = |kind: &str, oid: u32| {
            rows.iter().find(|row| row.text(0) == Some(kind) && number(row, 1) == Some(oid))
        };
        for table in &self.tables {
            let is_changed = match &table.schema {
                Some((oid, xmin)) => has("schema", *oid).and_then(|row| row.text(2)) != Some(xmin.as_str()),
                None => true,
            };
            let is_held = table.is_held || has("held", table.oid).is_some();
            let is_other = |row: &Row| row.text(0) == Some("other") && row.text(2) == Some(&table.name);
            let has_other = rows.iter().any(is_other);
            let is_certain = match proof {
                Proof::Schemas => !is_changed,
                Proof::Locks => !has_other || (!is_changed && is_held),
            };
            if !is_certain {
                return Err(renamed(shown));
            }
        }
        match must_hold.iter().all(|oid| has("held", *oid).is_some()) {
            true => Ok(()),
            false => Err(renamed(shown)),
        }
    }
}

/// Whether the session holds the strongest lock on this relation, as its creator or dropper does, and has
/// written to no other relation of its name. `before`: OIDs of such relations that the transaction had
/// opened earlier; these do not count.
pub(crate) fn is_alone_held(session: &mut Session, relation: &Relation, before: &[u32]) -> Result<bool> {
    let sql = format!(
        "WITH {OWN} SELECT EXISTS (SELECT FROM own WHERE own.relation OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
             AND own.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock') \
           AND NOT EXISTS (SELECT FROM own JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) own.relation \
             WHERE c.oid OPERATOR(pg_catalog.<>) $1::pg_catalog.oid \
               AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.name \
               AND c.oid OPERATOR(pg_catalog.<>) ALL ($3::pg_catalog.oid[]) \
               AND own.mode OPERATOR(pg_catalog.<>) ALL ({READING}))"
    );
    let (oid, before) = (relation.oid.to_string(), array(before.iter().copied()));
    let parameters = [Some(oid.as_str()), Some(&relation.name), Some(&before)];
    let rows = session.query(&sql, &parameters).map_err(Error::without_advice)?;
    Ok(rows.first().is_some_and(|row| row.text(0) == Some("t")))
}

/// The relations of this name that the session's transaction has opened: the OID of each and of its schema.
pub(crate) fn opened(session: &mut Session, name: &str) -> Result<Vec<(u32, u32)>> {
    let sql = format!(
        "WITH {OWN} SELECT DISTINCT c.oid::pg_catalog.text, c.relnamespace::pg_catalog.text FROM own \
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) own.relation \
         WHERE c.relname OPERATOR(pg_catalog.=) $1::pg_catalog.name"
    );
    let rows = session.query(&sql, &[Some(name)]).map_err(Error::without_advice)?;
    Ok(rows.iter().filter_map(|row| number(row, 0).zip(number(row, 1))).collect())
}

/// The error for a name that now means another table.
pub(crate) fn replaced(relation: &Relation, when: &str) -> Error {
    let text = format!("{relation} was replaced by another table while it was {when}; start again");
    Error::new(ErrorKind::Server, text)
}

fn renamed(shown: &str) -> Error {
    let text = format!(
        "{shown} has come to mean another table while it was loaded, or may have: its schema was renamed or changed by \
         somebody else"
    );
    Error::new(ErrorKind::Server, text).advice("start again")
}

fn number(row: &Row, index: usize) -> Option<u32> {
    row.text(index)?.parse().ok()
}

fn array(oids: impl Iterator<Item = u32>) -> String {
    let oids: Vec<String> = oids.map(|oid| oid.to_string()).collect();
    format!("{{{}}}", oids.join(","))
}
