//! Copies what LIKE does not: foreign keys, owner, rights, sequences, comments, and the names of indexes and
//! statistics.

use std::collections::BTreeSet;
use std::fmt::Write;

use pgarrow_catalog::{Relation, quote_identifier, quote_literal};
use pgarrow_protocol::{Row, Session};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::MODE;

use super::{Replacement, query, query_oids, text};
use crate::transaction::server_error;

/// The first version with `stxexprs`.
const STATISTICS_OF_EXPRESSIONS: u32 = 140_000;

impl Replacement {
    /// The statements that add the foreign keys. NOT VALID keys become valid, because all rows are new: the
    /// old table, too, would check each new row.
    pub(super) fn foreign_keys(&self, session: &mut Session) -> Result<Vec<String>> {
        let table = self.new.quoted();
        let add = |row: &Row| {
            let (name, definition) = (quote_identifier(&text(row, 0)), text(row, 1));
            let definition = definition.strip_suffix(" NOT VALID").unwrap_or(&definition);
            format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        };
        Ok(query(session, FOREIGN_KEYS, &[&self.old])?.iter().map(add).collect())
    }

    /// The old table's owner, quoted, if it differs from the new one's.
    pub(super) fn owner(&self, session: &mut Session) -> Result<Option<String>> {
        let rows = query(session, OWNER, &[&self.old, &self.new])?;
        Ok(rows.first().and_then(|row| row.text(0)).map(quote_identifier))
    }

    /// The statements that give the new table the old one's properties. The owner is changed at once.
    pub(super) fn belongings(&self, session: &mut Session) -> Result<String> {
        let Self { old, new, .. } = self;
        let table = new.quoted();
        if let Some(owner) = self.owner(session)? {
            let sql = format!("ALTER TABLE {table} OWNER TO {owner}");
            session.execute(&sql).map_err(|error| server_error(error, &old.to_string()))?;
        }
        let mut statements = rights(session, "TABLE", &table, old.oid, new.oid)?;
        for Sequence { quoted, column, .. } in sequences(session, old, false)? {
            let _ = write!(statements, "ALTER SEQUENCE {quoted} OWNED BY {table}.{column}; ");
        }
        for (from, to) in self.identities(session)? {
            statements.push_str(&rights(session, "SEQUENCE", &to.quoted, from.oid, to.oid)?);
            if let Some(literal) = comment(session, from.oid)? {
                let _ = write!(statements, "COMMENT ON SEQUENCE {} IS {literal}; ", to.quoted);
            }
        }
        for row in query(session, TARGETS, &[old])? {
            let (column, target) = (quote_identifier(&text(&row, 0)), text(&row, 1));
            let _ = write!(statements, "ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS {target}; ");
        }
        if let Some(literal) = comment(session, old.oid)? {
            let _ = write!(statements, "COMMENT ON TABLE {table} IS {literal}; ");
        }
        Ok(statements)
    }

    /// The identity sequences of the old table, each with its pair in the new one.
    pub(super) fn identities(&self, session: &mut Session) -> Result<Vec<(Sequence, Sequence)>> {
        let mut of_new = sequences(session, &self.new, true)?;
        let of_old = sequences(session, &self.old, true)?.into_iter();
        let pair = |from: Sequence| {
            let found = of_new.iter().position(|to| to.column == from.column)?;
            Some((from, of_new.swap_remove(found)))
        };
        Ok(of_old.filter_map(pair).collect())
    }

    /// The statements that rename the new table's indexes, statistics and sequences, once the old names are
    /// free, and set properties that need these names.
    pub(super) fn renamed(&self, session: &mut Session) -> Result<String> {
        let mut statements = String::new();
        for (old, new) in self.paired(session, INDEXES)? {
            let [schema, from] = [0, 1].map(|index| quote_identifier(&text(&new, index)));
            let to = quote_identifier(&text(&old, 1));
            let _ = write!(statements, "ALTER INDEX {schema}.{from} RENAME TO {to}; ");
            if old.text(3) == Some("t") {
                let _ = write!(statements, "ALTER TABLE {} CLUSTER ON {to}; ", self.new.quoted());
            }
            if let Some(targets) = old.text(4) {
                let _ = write!(statements, "ALTER INDEX {schema}.{to} {targets}; ");
            }
        }
        let expressions = match session.server_version_num() >= STATISTICS_OF_EXPRESSIONS {
            true => "pg_catalog.pg_get_expr(x.stxexprs, x.stxrelid)",
            false => "NULL",
        };
        for (old, new) in self.paired(session, &STATISTICS.replace("$expressions", expressions))? {
            let [schema, from] = [0, 1].map(|index| quote_identifier(&text(&new, index)));
            let [schema_of_old, to] = [0, 1].map(|index| quote_identifier(&text(&old, index)));
            if schema != schema_of_old {
                let _ = write!(statements, "ALTER STATISTICS {schema}.{from} SET SCHEMA {schema_of_old}; ");
            }
            let _ = write!(statements, "ALTER STATISTICS {schema_of_old}.{from} RENAME TO {to}; ");
            if let Some(target) = old.text(4) {
                let _ = write!(statements, "ALTER STATISTICS {schema_of_old}.{to} SET STATISTICS {target}; ");
            }
            if old.text(3) != new.text(3) {
                let owner = quote_identifier(&text(&old, 3));
                let _ = write!(statements, "ALTER STATISTICS {schema_of_old}.{to} OWNER TO {owner}; ");
            }
        }
        for (from, to) in self.identities(session)? {
            let _ = write!(statements, "ALTER SEQUENCE {} RENAME TO {}; ", to.quoted, from.name);
        }
        // Constraints with an index get their names from it.
        for row in query(session, CONSTRAINT_COMMENTS, &[&self.old])? {
            let (name, comment) =
                (quote_identifier(&text(&row, 0)), quote_literal(&text(&row, 1)).unwrap_or_default());
            let _ =
                write!(statements, "COMMENT ON CONSTRAINT {name} ON {} IS {comment}; ", self.new.quoted());
        }
        Ok(statements)
    }

    /// Pairs each object of the old table with the identical one of the new table. The third column of the
    /// query identifies them.
    fn paired(&self, session: &mut Session, sql: &str) -> Result<Vec<(Row, Row)>> {
        let of_old = query(session, sql, &[&self.old])?;
        let mut of_new = query(session, sql, &[&self.new])?;
        let not_copied = || {
            let text =
                format!("{} was not copied as it is, so it is not replaced; nothing was loaded", self.old);
            Error::new(ErrorKind::Server, text).advice(message![MODE.to("truncate"), " keeps the table"])
        };
        if of_old.len() != of_new.len() {
            return Err(not_copied());
        }
        let pair = |old: Row| {
            let found = of_new.iter().position(|new| new.text(2) == old.text(2)).ok_or_else(not_copied)?;
            Ok((old, of_new.swap_remove(found)))
        };
        of_old.into_iter().map(pair).collect()
    }
}

/// A column's sequence. Its names are quoted.
pub(super) struct Sequence {
    oid: u32,
    /// With its schema.
    pub(super) quoted: String,
    /// As SQL takes it.
    pub(super) increment: String,
    name: String,
    column: String,
}

/// The sequences that belong to the table: of identity columns, or of others, such as serial columns.
fn sequences(session: &mut Session, relation: &Relation, of_identities: bool) -> Result<Vec<Sequence>> {
    let sequence = |row: &Row| {
        let [schema, name, column] = [0, 1, 2].map(|index| quote_identifier(&text(row, index)));
        let oid = text(row, 3).parse().ok()?;
        Some(Sequence { oid, quoted: format!("{schema}.{name}"), increment: text(row, 4), name, column })
    };
    let sql = format!("{SEQUENCES} '{}'", if of_identities { 'i' } else { 'a' });
    Ok(query(session, &sql, &[relation])?.iter().filter_map(sequence).collect())
}

/// The comment of a table or sequence, as a literal.
fn comment(session: &mut Session, oid: u32) -> Result<Option<String>> {
    let rows = query_oids(session, COMMENT, &[oid])?;
    Ok(rows.first().and_then(|row| quote_literal(row.text(0)?)))
}

/// A right on a table or on one of its columns.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Right {
    name: String,
    /// As SQL takes it.
    grantee: String,
    may_be_granted: bool,
    /// As SQL takes it, in parentheses.
    column: String,
}

fn rights_to(session: &mut Session, oid: u32) -> Result<Vec<Right>> {
    let right = |row: &Row| Right {
        name: text(row, 0),
        grantee: row.text(1).map_or_else(|| "PUBLIC".to_owned(), quote_identifier),
        may_be_granted: row.text(2) == Some("t"),
        column: row.text(3).map_or_else(String::new, |name| format!(" ({})", quote_identifier(name))),
    };
    Ok(query_oids(session, RIGHTS, &[oid])?.iter().map(right).collect())
}

/// The statements that give `new` exactly the rights on `old`, including the owner's: default privileges may
/// have given the new table more.
fn rights(session: &mut Session, kind: &str, quoted: &str, old: u32, new: u32) -> Result<String> {
    let (of_old, of_new) = (rights_to(session, old)?, rights_to(session, new)?);
    let mut statements = String::new();
    let as_set = BTreeSet::from_iter;
    if as_set(of_old.iter()) == as_set(of_new.iter()) {
        return Ok(statements);
    }
    let grantees: BTreeSet<&str> = of_new.iter().map(|right| right.grantee.as_str()).collect();
    for grantee in grantees {
        let _ = write!(statements, "REVOKE ALL ON {kind} {quoted} FROM {grantee}; ");
    }
    for Right { name, grantee, may_be_granted, column } in of_old {
        let option = if may_be_granted { " WITH GRANT OPTION" } else { "" };
        let _ = write!(statements, "GRANT {name}{column} ON {kind} {quoted} TO {grantee}{option}; ");
    }
    Ok(statements)
}

/// Rights on the table and its columns: the privilege, the grantee (NULL: PUBLIC), whether it is grantable,
/// and the column. Without any GRANT or REVOKE, the defaults apply: the owner has all.
const RIGHTS: &str = "SELECT a.privilege_type, CASE WHEN a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
      THEN pg_catalog.pg_get_userbyid(a.grantee) END, a.is_grantable, r.attname \
    FROM (SELECT COALESCE(c.relacl, pg_catalog.acldefault( \
          CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN 's' ELSE 'r' END::pg_catalog.\"char\", c.relowner)), \
          NULL::pg_catalog.name \
        FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
      UNION ALL SELECT t.attacl, t.attname FROM pg_catalog.pg_attribute t \
        WHERE t.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND NOT t.attisdropped) AS r(acl, attname) \
    CROSS JOIN LATERAL pg_catalog.aclexplode(r.acl) AS a";

/// The old table's owner, if it differs from the new one's.
const OWNER: &str = "SELECT pg_catalog.pg_get_userbyid(o.relowner) FROM pg_catalog.pg_class o \
    JOIN pg_catalog.pg_class n ON n.oid OPERATOR(pg_catalog.=) $2::pg_catalog.oid \
      AND n.relowner OPERATOR(pg_catalog.<>) o.relowner \
    WHERE o.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

/// The caller appends the kind of dependency: `a` or `i`, for `DEPENDENCY_AUTO` and `DEPENDENCY_INTERNAL` in
/// `src/include/catalog/dependency.h`.
const SEQUENCES: &str = "SELECT n.nspname, s.relname, a.attname, s.oid::pg_catalog.text, \
      q.seqincrement::pg_catalog.text \
    FROM pg_catalog.pg_depend d \
    JOIN pg_catalog.pg_class s ON s.oid OPERATOR(pg_catalog.=) d.objid AND s.relkind OPERATOR(pg_catalog.=) 'S' \
    JOIN pg_catalog.pg_sequence q ON q.seqrelid OPERATOR(pg_catalog.=) s.oid \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) s.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.refobjid \
      AND a.attnum::pg_catalog.int4 OPERATOR(pg_catalog.=) d.refobjsubid \
    WHERE d.refobjid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
      AND d.deptype OPERATOR(pg_catalog.=)";

/// Without the entries for partitions of the referenced table: the server creates them with the main key
/// (since PostgreSQL 11).
const FOREIGN_KEYS: &str = "SELECT k.conname, pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k \
    WHERE k.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND k.contype OPERATOR(pg_catalog.=) 'f' \
      AND COALESCE(pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conparentid', '0') OPERATOR(pg_catalog.=) '0' ORDER BY k.conname";

const TARGETS: &str = "SELECT a.attname, a.attstattarget::pg_catalog.text FROM pg_catalog.pg_attribute a \
    WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND NOT a.attisdropped \
      AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 \
      AND a.attstattarget::pg_catalog.int4 OPERATOR(pg_catalog.>=) 0";

/// LIKE also copies comments of checks; setting the same comment again changes nothing.
const CONSTRAINT_COMMENTS: &str = "SELECT k.conname, pg_catalog.obj_description(k.oid, 'pg_constraint') \
    FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
      AND pg_catalog.obj_description(k.oid, 'pg_constraint') IS NOT NULL";

const COMMENT: &str = "SELECT pg_catalog.obj_description($1::pg_catalog.oid, 'pg_class')";

/// Schema and name, a description that identifies the index, whether the table is clustered by it, and the
/// statistics targets of its columns. The description uses column names, because the copy has no dropped
/// columns.
const INDEXES: &str = "SELECT n.nspname, c.relname, \
      pg_catalog.concat_ws(' ', i.indisunique, i.indisprimary, i.indisexclusion, c.relam, i.indclass, i.indoption, \
        i.indcollation, pg_catalog.pg_get_expr(i.indpred, i.indrelid), \
        (SELECT pg_catalog.array_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true) ORDER BY k) \
          FROM pg_catalog.generate_series(1, i.indnatts::pg_catalog.int4) AS s(k))), \
      i.indisclustered, \
      (SELECT pg_catalog.string_agg(pg_catalog.format('ALTER COLUMN %s SET STATISTICS %s', a.attnum, a.attstattarget), ', ') \
        FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) i.indexrelid \
          AND a.attstattarget::pg_catalog.int4 OPERATOR(pg_catalog.>=) 0) \
    FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE i.indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid ORDER BY c.oid";

/// Schema and name, a description that identifies the object, its owner, and its statistics target (since
/// PostgreSQL 13, if it is set).
const STATISTICS: &str = "SELECT n.nspname, x.stxname, \
      pg_catalog.concat_ws(' ', x.stxkind, $expressions, \
        (SELECT pg_catalog.array_agg(a.attname ORDER BY a.attname) FROM pg_catalog.pg_attribute a \
          WHERE a.attrelid OPERATOR(pg_catalog.=) x.stxrelid \
            AND a.attnum OPERATOR(pg_catalog.=) ANY (x.stxkeys::pg_catalog.int2[]))), \
      pg_catalog.pg_get_userbyid(x.stxowner), \
      CASE WHEN (pg_catalog.to_jsonb(x) OPERATOR(pg_catalog.->>) 'stxstattarget')::pg_catalog.int4 \
          OPERATOR(pg_catalog.>=) 0 \
        THEN pg_catalog.to_jsonb(x) OPERATOR(pg_catalog.->>) 'stxstattarget' END \
    FROM pg_catalog.pg_statistic_ext x \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) x.stxnamespace \
    WHERE x.stxrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid ORDER BY x.oid";
