//! `LoadMode::Replace`: the table is made anew, loaded, and takes the old one's place at the very end.
//!
//! ```text
//!  CREATE TABLE new (LIKE old INCLUDING ALL) ─▶ COPY ─▶ foreign keys ─▶ LOCK old ─▶ owner, rights, sequences
//!                                                        └▶ DROP old ─▶ new takes its name, its indexes theirs ─▶ COMMIT
//! ```
//!
//! Until then everybody reads, and writes to, the old one; what takes long is done before it is locked. What LIKE does not
//! copy is copied here; a table with something that would be lost is refused before anything is loaded.

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
    /// Of the old one, as it was copied.
    definition: String,
}

impl Replacement {
    /// Makes the new table, empty, beside the old one, whose definition cannot change from here on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a table that cannot be made anew without a loss; the server's.
    pub(crate) fn begin(session: &mut Session, old: Relation) -> Result<Self> {
        let failed = |error| server_error(error, &old.to_string());
        if old.kind != RelationKind::Table {
            let text = format!("{old} is a {}, and only a table can be replaced", old.kind.as_str());
            return Err(
                Error::new(ErrorKind::Options, text).advice(message![MODE.to("truncate"), " empties it"])
            );
        }
        let table = old.quoted();
        // Others read and write; who would change it waits.
        let lock = format!("LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE");
        session.execute(&lock).map_err(failed)?;
        let names = Names::of(session, &[&old])?;
        obstacles::check(session, &old)?;
        let name = name_beside(&old.name);
        let new = format!("{}.{}", quote_identifier(&old.schema), quote_identifier(&name));
        let definition = obstacles::definition(session, &old)?;
        let create = creation(&only_row(session, CREATED_AS, &old)?, &new, &table);
        // What is said to be nowhere is where the database is, as the old one and its indexes are: not where the role's or the
        // user's settings would put it.
        session.execute(&format!("SET LOCAL default_tablespace = ''; {create}")).map_err(failed)?;
        let sql = "SELECT $1::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text";
        let rows = session.query(sql, &[Some(&new)]).map_err(failed)?;
        let oid = rows.first().and_then(|row| row.text(0)?.parse().ok()).ok_or_else(|| changed(&old))?;
        let new = relation_of(session, oid)?.ok_or_else(|| changed(&old))?;
        let replacement = Self { old, new, definition };
        replacement.try_owner(session)?;
        let counting = replacement.go_on_counting(session)?;
        session.execute(&counting).map_err(|error| server_error(error, &replacement.old.to_string()))?;
        // It could be like another one.
        names.prove(session, Proof::Schemas, &replacement.old.to_string(), &[])?;
        Ok(replacement)
    }

    /// The table that is loaded.
    pub(crate) fn table(&self) -> &Relation {
        &self.new
    }

    /// The table that is replaced.
    pub(crate) fn replaced(&self) -> &Relation {
        &self.old
    }

    /// Puts the new table in the old one's place, within the transaction.
    pub(crate) fn finish(&self, session: &mut Session) -> Result<()> {
        // There are locks to wait for, and keys of all rows to be looked up.
        without_read_timeout(session, |session| self.take_place(session))
    }

    fn take_place(&self, session: &mut Session) -> Result<()> {
        let Self { old, new, definition } = self;
        let failed = |error| server_error(error, &old.to_string());
        let names = Names::of(session, &[old, new])?;
        // They take as long as the table is large. Whoever reads the tables that they refer to is not in the way.
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
        // Of the old one, as long as it is there.
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
        // Of what was dropped and renamed, locks tell no names.
        let proven = names.prove(session, Proof::Schemas, &old.to_string(), &[]);
        proven.map_err(|error| error.advice("nothing was loaded"))
    }

    /// Whether the new one can be given to the old one's owner is found out now.
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

    /// Numbers go on where they are. The new table's sequences are made in this transaction, so that they are taken back with
    /// it.
    fn go_on_counting(&self, session: &mut Session) -> Result<String> {
        let mut statements = String::new();
        for (from, to) in self.identities(session)? {
            let (from, to) = (from.quoted, quote_literal(&to.quoted).unwrap_or_default());
            let _ = write!(statements, "SELECT pg_catalog.setval({to}, last_value, is_called) FROM {from}; ");
        }
        Ok(statements)
    }

    /// Others have drawn numbers since then, and the rows that were loaded, too: they go on behind both. To say its increment
    /// again locks a sequence, whose numbers nobody draws from then on.
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

/// What CREATE TABLE says besides LIKE: persistence, access method, options (those of its TOAST table with their prefix),
/// tablespace.
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

/// The statement that makes the table.
fn creation(as_old: &Row, new: &str, old: &str) -> String {
    let unlogged = if as_old.text(0) == Some("t") { "UNLOGGED " } else { "" };
    let mut create = format!("CREATE {unlogged}TABLE {new} (LIKE {old} INCLUDING ALL)");
    // None before PostgreSQL 12.
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

/// Asks about these relations: `$1` is the first one's OID, and so on.
fn query(session: &mut Session, sql: &str, relations: &[&Relation]) -> Result<Vec<Row>> {
    let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
    query_oids(session, sql, &oids)
}

fn query_oids(session: &mut Session, sql: &str, oids: &[u32]) -> Result<Vec<Row>> {
    let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
    let parameters: Vec<Option<&str>> = oids.iter().map(|oid| Some(oid.as_str())).collect();
    session.query(sql, &parameters).map_err(Error::without_advice)
}

/// The one row that there is about a table.
fn only_row(session: &mut Session, sql: &str, old: &Relation) -> Result<Row> {
    query(session, sql, &[old])?.into_iter().next().ok_or_else(|| changed(old))
}

fn text(row: &Row, index: usize) -> String {
    row.text(index).unwrap_or_default().to_owned()
}

fn changed(old: &Relation) -> Error {
    Error::new(ErrorKind::Server, format!("{old} is gone while it was to be replaced; start again"))
}
