//! Checks the owner and definition of the table of marks: in a schema where others may create tables,
//! another role may have created it first.
//!
//! The rows of the table decide which rows are skipped. And its triggers, rules, defaults, checks or indexes
//! would run with the rights of the loading role.

use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};

use super::TABLE;

/// Refuses a table of marks that has another definition than the one made here, or an owner who could not
/// change the target anyway. `target`: the table to load, if it exists.
pub(super) fn check(session: &mut Session, schema: &str, target: Option<u32>) -> Result<()> {
    let target = target.map(|oid| oid.to_string());
    let rows = session.query(SQL, &[Some(schema), Some(TABLE), target.as_deref()]);
    let rows = rows.map_err(Error::without_advice)?;
    let is = |index| rows.first().is_some_and(|row| row.text(index) == Some("t"));
    let owner = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    let why = match (is(1), is(2)) {
        (true, true) => return Ok(()),
        (false, _) => format!(
            "it belongs to {owner:?}, who is neither this role, nor the owner of the schema or of the table that is loaded"
        ),
        (true, false) => {
            "it is not as it is made: a permanent table of five columns with a primary key, without \
                          triggers, rules, policies, defaults, checks, children and other indexes"
                .to_owned()
        }
    };
    let text = format!("the restart marks in {schema}.{TABLE} are not trusted: {why}");
    Err(Error::new(ErrorKind::Options, text).advice(
        "look at what it is and who has made it; then drop it, or give it to the schema's owner (ALTER TABLE … OWNER TO)",
    ))
}

/// The owner; whether the owner is trusted; whether the table has the right definition.
///
/// A superuser is a member of every role, so its memberships do not count: besides the owners of schema and
/// target, it trusts only itself and other superusers. OIDs of types as in
/// `src/include/catalog/pg_type.dat`: text, int8, bool, timestamptz.
const SQL: &str = "SELECT pg_catalog.pg_get_userbyid(c.relowner), \
      c.relowner OPERATOR(pg_catalog.=) me.oid \
        OR pg_catalog.pg_has_role(c.relowner, n.nspowner, 'USAGE') \
        OR COALESCE(pg_catalog.pg_has_role(c.relowner, t.relowner, 'USAGE'), false) \
        OR NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, c.relowner, 'USAGE'), \
      c.relkind OPERATOR(pg_catalog.=) 'r' AND c.relpersistence OPERATOR(pg_catalog.=) 'p' AND NOT c.relrowsecurity \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g \
          WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT g.tgisinternal) \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid) \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid \
          AND k.contype OPERATOR(pg_catalog.<>) ALL ('{p,n}'::pg_catalog.\"char\"[])) \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid OPERATOR(pg_catalog.=) c.oid \
          OR h.inhparent OPERATOR(pg_catalog.=) c.oid) \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i \
          WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND NOT i.indisprimary) \
        AND EXISTS (SELECT FROM pg_catalog.pg_index i \
          WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indkey::pg_catalog.text OPERATOR(pg_catalog.=) '1') \
        AND (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, a.atttypid, a.attnotnull, a.atthasdef), \
            ', ' ORDER BY a.attnum) \
          FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
            AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2) OPERATOR(pg_catalog.=) \
          'load 25 t f, target 25 t f, rows 20 t f, is_complete 16 t f, updated 1184 t f' \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    JOIN pg_catalog.pg_roles me ON me.rolname OPERATOR(pg_catalog.=) CURRENT_USER \
    LEFT JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) $3::pg_catalog.oid \
    WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name AND c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.name";
