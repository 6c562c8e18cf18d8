//! `LoadMode::Replace`: loads a new table, which takes the old one's place at the very end.
//!
//! ```text
//!  CREATE TABLE new (LIKE old INCLUDING ALL) ─▶ COPY ─▶ foreign keys ─▶ LOCK old ─▶ owner, rights, sequences
//!                                              └▶ DROP old ─▶ new takes its and its indexes' names ─▶ COMMIT
//! ```
//!
//! Until then everybody can read and write the old table; long steps happen before it is locked. This module
//! copies what LIKE does not copy. A table that would lose something is refused before anything is loaded.

mod belongings;
mod obstacles;

use std::fmt::Write;

use pgarrow_catalog::{Relation, RelationKind, quote_identifier, quote_literal, relation as relation_of};
use pgarrow_protocol::{Row, Session};
use pgarrow_session::{Error, ErrorKind, Result, without_read_timeout};
use pgarrow_types::message;
use pgarrow_types::option::MODE;

use crate::hidden::name_beside;
use crate::names::{Names, Proof};
use crate::transaction::server_error;

/// A table that will take another one's place.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    old: Relation,
    new: Relation,
    /// The definition of the old table when it was copied.
    definition: String,
}

impl Replacement {
    /// Creates the empty new table beside the old one. From here on, a lock prevents most changes to the old
    /// table's definition.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a table that cannot be copied without loss; errors of the server.
    pub(crate) fn begin(session: &mut Session, old: Relation) -> Result<Self> {
        let failed = |error| server_error(error, &old.to_string());
        if old.kind != RelationKind::Table {
            let text = format!("{old} is a {}, and only a table can be replaced", old.kind.as_str());
            return Err(
                Error::new(ErrorKind::Options, text).advice(message![MODE.to("truncate"), " empties it"])
            );
        }
        let table = old.quoted();
        // Others can read and write; sessions that would change the definition wait.
        let lock = format!("LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE");
        session.execute(&lock).map_err(failed)?;
        let names = Names::of(session, &[&old])?;
        obstacles::check(session, &old)?;
        let name = name_beside(&old.name);
        let new = format!("{}.{}", quote_identifier(&old.schema), quote_identifier(&name));
        let definition = obstacles::definition(session, &old)?;
        let create = creation(&only_row(session, CREATED_AS, &old)?, &new, &table);
        // Without a stated tablespace, the database's default applies, as for the old table and its indexes,
        // and not the default_tablespace of the role or user.
        session.execute(&format!("SET LOCAL default_tablespace = ''; {create}")).map_err(failed)?;
        let sql = "SELECT $1::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text";
        let rows = session.query(sql, &[Some(&new)]).map_err(failed)?;
        let oid = rows.first().and_then(|row| row.text(0)?.parse().ok()).ok_or_else(|| changed(&old))?;
        let new = relation_of(session, oid)?.ok_or_else(|| changed(&old))?;
        let replacement = Self { old, new, definition };
        replacement.try_owner(session)?;
        let counting = replacement.go_on_counting(session)?;
        session.execute(&counting).map_err(|error| server_error(error, &replacement.old.to_string()))?;
        // LIKE may have copied another table of that name.
        names.prove(session, Proof::Schemas, &replacement.old.to_string(), &[])?;
        Ok(replacement)
    }

    /// The new table, which is loaded.
    pub(crate) fn table(&self) -> &Relation {
        &self.new
    }

    /// The old table, which is replaced.
    pub(crate) fn replaced(&self) -> &Relation {
        &self.old
    }

    /// Puts the new table in the old one's place, within the transaction.
    pub(crate) fn finish(&self, session: &mut Session) -> Result<()> {
        // This waits for locks, and for foreign key checks of all rows.
        without_read_timeout(session, |session| self.take_place(session))
    }

    fn take_place(&self, session: &mut Session) -> Result<()> {
        let Self { old, new, definition } = self;
        let failed = |error| server_error(error, &old.to_string());
        let names = Names::of(session, &[old, new])?;
        // These checks take time in proportion to the table's size. They do not block readers of the
        // referenced tables.
        for statement in self.foreign_keys(session)? {
            session.execute(&statement).map_err(|error| match error.sqlstate() {
                Some("42501") => Error::without_advice(error)
                    .context(old)
                    .advice("nothing was loaded; what its foreign keys refer to needs the right REFERENCES"),
                _ => failed(error),
            })?;
        }
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", old.quoted());
        session.execute(&lock).map_err(failed)?;
        obstacles::check_again(session, old)?;
        if obstacles::definition(session, old)? != *definition {
            let text = format!(
                "{old} was changed while it was loaded: options, comments, indexes, statistics or sequences"
            );
            return Err(Error::new(ErrorKind::Server, text).advice("nothing was loaded; start again"));
        }
        let counting = self.count_on(session)?;
        session.execute(&counting).map_err(failed)?;
        // This reads the old table's catalog entries, so it comes before the DROP.
        let belongings = self.belongings(session)?;
        let renamed = self.renamed(session)?;
        let statements = format!(
            "{belongings}DROP TABLE {}; {renamed}ALTER TABLE {} RENAME TO {}",
            old.quoted(),
            new.quoted(),
            quote_identifier(&old.name)
        );
        session.execute(&statements).map_err(|error| match error.sqlstate() {
            Some("2BP01") => failed(error).advice(message![
                "another object now depends on this very table; ",
                MODE.to("truncate"),
                " keeps it"
            ]),
            _ => failed(error),
        })?;
        // Locks do not show the names of dropped and renamed tables.
        let proven = names.prove(session, Proof::Schemas, &old.to_string(), &[]);
        proven.map_err(|error| error.advice("nothing was loaded"))
    }

    /// Tests at the start whether the new table can be given to the old one's owner.
    fn try_owner(&self, session: &mut Session) -> Result<()> {
        let Some(owner) = self.owner(session)? else { return Ok(()) };
        let trial = format!(
            "SAVEPOINT pgarrow_trial; ALTER TABLE {} OWNER TO {owner}; ROLLBACK TO SAVEPOINT pgarrow_trial; \
             RELEASE SAVEPOINT pgarrow_trial",
            self.new.quoted()
        );
        session.execute(&trial).map_err(|error| {
            let owner = format!("the new table cannot be given to {owner}, whose the old one is");
            server_error(error, &self.old.to_string()).advice(owner)
        })
    }

    /// Sets the new sequences to the state of the old ones. The new sequences are created in this
    /// transaction, so a rollback removes them.
    fn go_on_counting(&self, session: &mut Session) -> Result<String> {
        let mut statements = String::new();
        for (from, to) in self.identities(session)? {
            let (from, to) = (from.quoted, quote_literal(&to.quoted).unwrap_or_default());
            let _ = write!(statements, "SELECT pg_catalog.setval({to}, last_value, is_called) FROM {from}; ");
        }
        Ok(statements)
    }

    /// Other sessions, and the loaded rows, have drawn numbers meanwhile: the new sequence continues after
    /// both. Setting the same increment again locks the old sequence, so nobody draws from it any more.
    fn count_on(&self, session: &mut Session) -> Result<String> {
        let mut statements = String::new();
        for (from, to) in self.identities(session)? {
            let order = if from.increment.starts_with('-') { "ASC" } else { "DESC" };
            let _ = write!(
                statements,
                "ALTER SEQUENCE {old} INCREMENT BY {}; \
                 SELECT pg_catalog.setval({literal}, f.last_value, f.is_called) \
                 FROM (SELECT last_value, is_called FROM {old} UNION ALL SELECT last_value, is_called FROM {new} \
                   ORDER BY last_value {order}, is_called DESC LIMIT 1) AS f; ",
                from.increment,
                old = from.quoted,
                new = to.quoted,
                literal = quote_literal(&to.quoted).unwrap_or_default(),
            );
        }
        Ok(statements)
    }
}

/// The clauses of CREATE TABLE besides LIKE: persistence, access method, options (those of the TOAST table
/// with their prefix), tablespace.
const CREATED_AS: &str = "SELECT c.relpersistence OPERATOR(pg_catalog.=) 'u', m.amname, \
      (SELECT pg_catalog.string_agg(pg_catalog.concat(o.prefix, pg_catalog.quote_ident(o.name), ' = ', \
          pg_catalog.quote_literal(o.value)), ', ') \
        FROM (SELECT '', option_name, option_value FROM pg_catalog.pg_options_to_table(c.reloptions) \
          UNION ALL SELECT 'toast.', option_name, option_value \
          FROM pg_catalog.pg_options_to_table(t.reloptions)) AS o(prefix, name, value)), \
      s.spcname \
    FROM pg_catalog.pg_class c \
    LEFT JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) c.reltoastrelid \
    LEFT JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.relam \
    LEFT JOIN pg_catalog.pg_tablespace s ON s.oid OPERATOR(pg_catalog.=) c.reltablespace \
    WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

/// The statement that creates the new table.
fn creation(as_old: &Row, new: &str, old: &str) -> String {
    let unlogged = if as_old.text(0) == Some("t") { "UNLOGGED " } else { "" };
    let mut create = format!("CREATE {unlogged}TABLE {new} (LIKE {old} INCLUDING ALL)");
    // `None` before PostgreSQL 12.
    if let Some(method) = as_old.text(1) {
        let _ = write!(create, " USING {}", quote_identifier(method));
    }
    if let Some(options) = as_old.text(2) {
        let _ = write!(create, " WITH ({options})");
    }
    if let Some(tablespace) = as_old.text(3) {
        let _ = write!(create, " TABLESPACE {}", quote_identifier(tablespace));
    }
    create
}

/// Runs a query about these relations: `$1` is the first one's OID, and so on.
fn query(session: &mut Session, sql: &str, relations: &[&Relation]) -> Result<Vec<Row>> {
    let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
    query_oids(session, sql, &oids)
}

fn query_oids(session: &mut Session, sql: &str, oids: &[u32]) -> Result<Vec<Row>> {
    let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
    let parameters: Vec<Option<&str>> = oids.iter().map(|oid| Some(oid.as_str())).collect();
    session.query(sql, &parameters).map_err(Error::without_advice)
}

/// The only row about a table.
fn only_row(session: &mut Session, sql: &str, old: &Relation) -> Result<Row> {
    query(session, sql, &[old])?.into_iter().next().ok_or_else(|| changed(old))
}

fn text(row: &Row, index: usize) -> String {
    row.text(index).unwrap_or_default().to_owned()
}

fn changed(old: &Relation) -> Error {
    Error::new(ErrorKind::Server, format!("{old} is gone while it was to be replaced; start again"))
}
