//! Whether the COPY of a load can freeze its rows: into a table that its transaction has made or emptied.
//!
//! PostgreSQL marks pages that such a COPY fills as all-visible, which otherwise VACUUM does. It refuses
//! FREEZE with an error, after which nothing of the transaction is left, so this is decided beforehand:
//!
//! | PostgreSQL refuses it | here |
//! |---|---|
//! | for partitioned and foreign tables | only ordinary tables |
//! | unless this subtransaction has made or emptied the table | no savepoint between the two |
//! | while the transaction has cursors or portals | none but the unnamed one, which COPY replaces |
//!
//! Source: `CopyFrom` in PostgreSQL's `src/backend/commands/copyfrom.c`; `heap_multi_insert` in
//! `src/backend/access/heap/heapam.c`, which marks pages since version 14.

use pgarrow_catalog::{Relation, RelationKind, is_plain_postgres};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, Pooled, Result};

use crate::options::{LoadMode, LoadOptions};

/// The first version whose COPY marks the pages of frozen rows as all-visible.
const OLDEST: u32 = 140_000;

/// The query of [`RowTraits::of`].
///
/// Source: `CopyFrom`; `tgtype` as in `src/include/catalog/pg_trigger.h`: 1 for each row, 2 before, 4 on
/// INSERT, 64 instead of.
const ROW_TRAITS: &str = "WITH RECURSIVE tree(oid) AS ( \
                     SELECT $1::pg_catalog.oid \
                     UNION \
                     SELECT i.inhrelid FROM tree t \
                     JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid) \
                   SELECT EXISTS (SELECT FROM tree t \
                     JOIN pg_catalog.pg_trigger g ON g.tgrelid OPERATOR(pg_catalog.=) t.oid \
                     WHERE (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 5) OPERATOR(pg_catalog.=) 5 \
                       AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 66) OPERATOR(pg_catalog.<>) 0), \
                   EXISTS (SELECT FROM pg_catalog.pg_class c \
                     JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.relam \
                     WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                       AND m.amname OPERATOR(pg_catalog.=) 'heap'), \
                   pg_catalog.version(), pg_catalog.pg_backend_pid()";

/// The same for a table without children, which has no row here if it may have some. A new connection takes
/// longer to plan the recursion than to answer the rest.
///
/// Source: `relhassubclass` in <https://www.postgresql.org/docs/current/catalog-pg-class.html>: false only if
/// there are none.
pub(crate) const OWN_ROW_TRAITS: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger g \
                     WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid \
                       AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 5) OPERATOR(pg_catalog.=) 5 \
                       AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 66) OPERATOR(pg_catalog.<>) 0), \
                   EXISTS (SELECT FROM pg_catalog.pg_am m \
                     WHERE m.oid OPERATOR(pg_catalog.=) c.relam AND m.amname OPERATOR(pg_catalog.=) 'heap'), \
                   pg_catalog.version(), pg_catalog.pg_backend_pid() \
                   FROM pg_catalog.pg_class c \
                   WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND NOT c.relhassubclass";

/// What decides how COPY treats the rows of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowTraits {
    /// There are BEFORE or INSTEAD OF triggers for inserted rows: they may return NULL, which leaves the row
    /// out. Triggers of partitions count, too.
    pub(crate) has_triggers: bool,
    /// The rows are stored in PostgreSQL's heap.
    is_heap: bool,
    /// The server is PostgreSQL itself.
    pub(crate) is_plain: bool,
    /// A pooler is in between.
    pub(crate) is_pooled: bool,
}

impl RowTraits {
    /// Asks the catalog.
    pub(crate) fn of(session: &mut Session, relation: &Relation) -> Result<Self> {
        let oid = relation.oid.to_string();
        let mut rows = session.query(OWN_ROW_TRAITS, &[Some(&oid)]).map_err(Error::without_advice)?;
        if rows.is_empty() {
            rows = session.query(ROW_TRAITS, &[Some(&oid)]).map_err(Error::without_advice)?;
        }
        let is = |index| rows.first().is_some_and(|row| row.text(index) == Some("t"));
        let text = |index| rows.first().and_then(|row| row.text(index));
        let pid = text(3).and_then(|pid| pid.parse().ok());
        Ok(Self {
            has_triggers: is(0),
            is_heap: is(1),
            is_plain: text(2).is_some_and(is_plain_postgres),
            is_pooled: Pooled::of(session, pid).is_pooled(),
        })
    }
}

impl LoadOptions {
    /// Whether COPY can freeze the rows that it brings to this table.
    pub(crate) fn freezes(&self, session: &Session, relation: &Relation, traits: RowTraits) -> bool {
        let is_fresh = match self.mode {
            LoadMode::Create | LoadMode::Replace => true,
            LoadMode::Truncate => !self.is_emptied,
            LoadMode::Append | LoadMode::Upsert => false,
        };
        let is_one_copy = self.commit_every.is_none() && !self.reject && !self.has_writers();
        is_fresh
            && is_one_copy
            && !self.no_freeze
            && relation.kind == RelationKind::Table
            && traits.is_heap
            && traits.is_plain
            && !traits.has_triggers
            && session.server_version_num() >= OLDEST
    }
}
