//! Tables under hidden names: several writers fill them, and nobody else sees them as the target.
//!
//! Such a table is committed before its rows, so a killed process leaves it behind. Its comment names the
//! target, and each session that uses it holds a shared advisory lock on its OID. The next load into the
//! same target removes tables that no session holds.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};

use pgarrow_catalog::{
    CatalogError, NAME_BYTES_MAX, Relation, RelationKind, RelationName, quote_identifier, quote_literal,
    relation as relation_of, resolve,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, Result, without_read_timeout};

use crate::names::{is_alone_held, replaced};
use crate::options::LoadOptions;
use crate::transaction::{begin, commit, server_error};

/// Stands between the target's name (truncated if needed) and a random number.
const INFIX: &str = "_pgarrow_";

/// Hexadecimal digits of the random number.
const DIGITS: usize = 16;

/// The first half of the advisory lock's key: `pgar`, as a number. The second half is the table's OID.
const LOCK_CLASS: i32 = 0x7067_6172;

/// How long to wait for locks on a table to be removed: a session that holds one is about to end.
const REMOVE_LOCK_TIMEOUT: &str = "3s";

/// A unique name for a table beside the table of this name.
pub(crate) fn name_beside(name: &str) -> String {
    let room = name.floor_char_boundary(NAME_BYTES_MAX - INFIX.len() - DIGITS);
    format!("{}{INFIX}{:016x}", name.get(..room).unwrap_or_default(), RandomState::new().hash_one(name))
}

/// A right that default privileges give to another role.
#[derive(Clone, Debug)]
struct Grant {
    privilege: String,
    /// As SQL takes it.
    grantee: String,
    may_grant: bool,
}

/// A table under a hidden name.
#[derive(Clone, Debug)]
pub(crate) struct Hidden {
    pub(crate) relation: Relation,
    /// The rights from default privileges.
    grants: Vec<Grant>,
}

impl Hidden {
    /// Sets the table's comment and revokes all rights of other roles. Must run in the transaction that
    /// creates it.
    pub(crate) fn hide(session: &mut Session, relation: Relation, target: &str) -> Result<Self> {
        let failed = |error| server_error(error, target);
        let sql = "SELECT a.privilege_type, CASE WHEN a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
                     THEN pg_catalog.pg_get_userbyid(a.grantee) END, a.is_grantable \
                   FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a \
                   WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                     AND a.grantee OPERATOR(pg_catalog.<>) c.relowner";
        let rows = session.query(sql, &[Some(&relation.oid.to_string())]).map_err(failed)?;
        let grant = |row: &pgarrow_protocol::Row| Grant {
            privilege: row.text(0).unwrap_or_default().to_owned(),
            grantee: row.text(1).map_or_else(|| "PUBLIC".to_owned(), quote_identifier),
            may_grant: row.text(2) == Some("t"),
        };
        let grants: Vec<Grant> = rows.iter().map(grant).collect();
        let table = relation.quoted();
        let comment = quote_literal(&comment(target)).unwrap_or_default();
        let mut statements = format!("COMMENT ON TABLE {table} IS {comment}");
        for Grant { grantee, .. } in &grants {
            let _ = write!(statements, "; REVOKE ALL ON {table} FROM {grantee} CASCADE");
        }
        session.execute(&statements).map_err(failed)?;
        Ok(Self { relation, grants })
    }

    /// The statements that make it an ordinary table again.
    pub(crate) fn unhide(&self) -> String {
        let table = self.relation.quoted();
        let mut statements = format!("COMMENT ON TABLE {table} IS NULL");
        for Grant { privilege, grantee, may_grant } in &self.grants {
            let option = if *may_grant { " WITH GRANT OPTION" } else { "" };
            let _ = write!(statements, "; GRANT {privilege} ON {table} TO {grantee}{option}");
        }
        statements
    }

    /// Keeps others from removing the table until the session's transaction ends.
    pub(crate) fn hold(&self, session: &mut Session) -> std::result::Result<(), pgarrow_protocol::Error> {
        let key = key(self.relation.oid);
        session.execute(&format!("SELECT pg_catalog.pg_advisory_xact_lock_shared({LOCK_CLASS}, {key})"))
    }

    /// Drops the table, if it exists, within the session's read timeout.
    pub(crate) fn remove(&self, session: &mut Session, options: &LoadOptions) -> Result<()> {
        begin(session, options)?;
        // The caller has set a short read timeout for the rollback.
        drop_table(session, self.relation.oid)?;
        session.commit().map_err(Error::without_advice)
    }
}

/// The comment of a hidden table of this target. Later loads find the table by it.
fn comment(target: &str) -> String {
    format!(
        "Rows that pgarrow is loading into {target}. It is gone when the load ends; left by one that was killed, it may be \
         dropped, which the next load into that table with several writers does, too."
    )
}

/// The second half of a lock's key holds the bits of the OID.
fn key(oid: u32) -> i32 {
    oid.cast_signed()
}

/// Removes the hidden tables that killed loads into this target left, each in its own transaction. Returns
/// warnings about them.
///
/// # Errors
///
/// Errors of the catalog queries. A table that cannot be removed is a warning, not an error.
pub(crate) fn sweep(
    session: &mut Session,
    name: &RelationName,
    options: &LoadOptions,
) -> Result<Vec<String>> {
    begin(session, options)?;
    let Some((schema, target)) = place(session, name)? else {
        session.execute("ROLLBACK").map_err(Error::without_advice)?;
        return Ok(Vec::new());
    };
    let schema = schema.as_str();
    let sql = "SELECT c.oid::pg_catalog.text, c.relname, pg_catalog.pg_get_userbyid(c.relowner), \
                 pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name AND c.relkind OPERATOR(pg_catalog.=) 'r' \
                 AND pg_catalog.strpos(c.relname::pg_catalog.text, $2) OPERATOR(pg_catalog.>) 0 \
                 AND pg_catalog.obj_description(c.oid, 'pg_class') OPERATOR(pg_catalog.=) $3 \
               ORDER BY c.oid";
    let rows = session.query(sql, &[Some(schema), Some(INFIX), Some(&comment(&target))]);
    let rows = rows.map_err(Error::without_advice)?;
    commit(session).map_err(Error::without_advice)?;
    let mut warnings = Vec::new();
    for row in rows {
        let (Some(oid), Some(name)) = (row.text(0).and_then(|oid| oid.parse().ok()), row.text(1)) else {
            continue;
        };
        if row.text(3) != Some("t") {
            let owner = row.text(2).unwrap_or_default();
            warnings.push(format!(
                "{schema}.{name} is of a load into this table by the role {owner}, which goes on or has left it: this role \
                 may not remove it"
            ));
            continue;
        }
        begin(session, options)?;
        match remove_left(session, oid) {
            Ok(true) => warnings.push(format!("{schema}.{name} was removed, which a load before had left")),
            Ok(false) => warnings.push(format!(
                "{schema}.{name} stays: a load into this table goes on, or is being taken back by the server"
            )),
            Err(error) => {
                warnings.push(format!(
                    "{schema}.{name} is left of a load before, and could not be removed: {error}"
                ));
                session.execute("ROLLBACK").map_err(Error::without_advice)?;
            }
        }
    }
    Ok(warnings)
}

/// The table's schema (or the schema where it would be created) and its shown name.
fn place(session: &mut Session, name: &RelationName) -> Result<Option<(String, String)>> {
    let schema = match (resolve(session, name), &name.schema) {
        (Ok(relation), _) => return Ok(Some((relation.schema.clone(), relation.to_string()))),
        (Err(CatalogError::UnknownRelation { .. }), Some(schema)) => Some(schema.clone()),
        (Err(CatalogError::UnknownRelation { .. }), None) => {
            let rows = session.query("SELECT pg_catalog.current_schema()", &[]);
            let rows = rows.map_err(Error::without_advice)?;
            rows.first().and_then(|row| row.text(0)).map(str::to_owned)
        }
        (Err(error), _) => return Err(error.into()),
    };
    let named = |schema: String| {
        let relation =
            Relation { oid: 0, schema: schema.clone(), name: name.name.clone(), kind: RelationKind::Table };
        (schema, relation.to_string())
    };
    Ok(schema.map(named))
}

/// Drops the table unless a load holds it. Returns whether it did.
fn remove_left(session: &mut Session, oid: u32) -> Result<bool> {
    let sql = format!("SELECT pg_catalog.pg_try_advisory_xact_lock({LOCK_CLASS}, {})", key(oid));
    let rows = session.query(&sql, &[]).map_err(Error::without_advice)?;
    let is_left = rows.first().is_some_and(|row| row.text(0) == Some("t"));
    if is_left {
        without_read_timeout(session, |session| drop_table(session, oid))?;
    }
    commit(session).map_err(Error::without_advice)?;
    Ok(is_left)
}

/// Drops the table of this OID, if it exists, even if its schema was renamed. Drops no other table.
fn drop_table(session: &mut Session, oid: u32) -> Result<()> {
    let Some(table) = relation_of(session, oid)? else { return Ok(()) };
    let sql =
        format!("SET LOCAL lock_timeout = '{REMOVE_LOCK_TIMEOUT}'; DROP TABLE IF EXISTS {}", table.quoted());
    session.execute(&sql).map_err(Error::without_advice)?;
    match is_alone_held(session, &table, &[])? {
        true => Ok(()),
        false => Err(replaced(&table, "dropped")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_fit_and_differ() {
        for name in ["t", &"a".repeat(63), &"ä".repeat(31)] {
            let (one, two) = (name_beside(name), name_beside(name));
            assert!(one.len() <= NAME_BYTES_MAX, "{one}");
            assert_ne!(one, two);
            assert!(name.starts_with(one.split(INFIX).next().unwrap()), "{one}");
        }
        assert!(name_beside("t").starts_with("t_pgarrow_"));
    }
}
