//! Parts of a statement whose value may differ between sessions, although the snapshot is the same.
//!
//! ```text
//!  IMMUTABLE                          the same in every session
//!  built in, STABLE                   the same, since an export's sessions share settings; except DIFFER
//!  built in, VOLATILE                 differs, except INDIFFERENT
//!  user-defined, not IMMUTABLE        may differ: what it does is unknown
//! ```
//!
//! A text is judged by every object that its names may mean, a view by the server's stored form of its
//! query.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::name::text_array;
use crate::texts::text;

/// Built-in functions that are STABLE and may still differ between sessions: they depend on the start time
/// of the transaction or statement, on the process, or on what the server does meanwhile.
pub const DIFFER: [&str; 25] = [
    "inet_client_addr",
    "inet_client_port",
    "mxid_age",
    "now",
    "pg_backend_pid",
    // Until PostgreSQL 14.
    "pg_backup_start_time",
    "pg_conf_load_time",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_cursor",
    "pg_get_replication_slots",
    "pg_is_other_temp_schema",
    "pg_listening_channels",
    "pg_my_temp_schema",
    "pg_prepared_statement",
    "pg_show_all_settings",
    "pg_tablespace_databases",
    "pg_timezone_abbrevs",
    "pg_timezone_abbrevs_abbrevs",
    "pg_timezone_abbrevs_zone",
    "pg_timezone_names",
    "statement_timestamp",
    "transaction_timestamp",
    "txid_current",
    "txid_current_if_assigned",
];

/// Built-in functions that are VOLATILE, but whose rows some SELECT could also return: random values,
/// passing time, large objects under the snapshot, and handlers that nobody calls directly.
pub const INDIFFERENT: [&str; 13] = [
    "bernoulli",
    "gen_random_uuid",
    "lo_get",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "random",
    "random_normal",
    "system",
    "uuidv4",
    "uuidv7",
];

/// Extensions whose STABLE functions depend only on settings and dictionaries.
const BY_SETTINGS: &str = "'{pg_trgm,unaccent}'";

/// The first OID that is not built in: `FirstNormalObjectId` of PostgreSQL's `src/include/access/transam.h`.
const FIRST_USER_OID: u32 = 16_384;

/// Names in a text, in the server's spelling, grouped by what their position allows them to be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NamesOfText {
    /// Calls like those of functions: the schema, or an empty text without one, the name, and the number of
    /// arguments.
    pub calls: Vec<(String, String, usize)>,
    /// Names after a dot: columns, or functions of the row.
    pub attributes: Vec<String>,
    /// All names, including those of views and types.
    pub names: Vec<String>,
    /// Operators.
    pub operators: Vec<String>,
}

/// A condition on `pg_proc p`: the function's result may differ between sessions.
fn differs() -> String {
    let list = |names: &[&str]| format!("'{{{}}}'::pg_catalog.name[]", names.join(","));
    let not_immutable = "OPERATOR(pg_catalog.<>) 'i'";
    format!(
        "(CASE WHEN p.oid OPERATOR(pg_catalog.>=) {FIRST_USER_OID}::pg_catalog.oid THEN \
            (p.provolatile {not_immutable} OR EXISTS (SELECT FROM pg_catalog.pg_aggregate a \
               JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY (ARRAY[a.aggtransfn, a.aggfinalfn, \
                 a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]\
                 ::pg_catalog.oid[]) \
               WHERE a.aggfnoid OPERATOR(pg_catalog.=) p.oid AND f.provolatile {not_immutable} \
                 AND f.oid OPERATOR(pg_catalog.>=) {FIRST_USER_OID}::pg_catalog.oid) \
              OR p.proargdefaults IS NOT NULL AND p.proargdefaults::pg_catalog.text OPERATOR(pg_catalog.~) \
                '\\{{(FUNCEXPR|OPEXPR|SQLVALUEFUNCTION) ') \
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e \
                ON e.oid OPERATOR(pg_catalog.=) d.refobjid \
              WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
                AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' \
                AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass \
                AND e.extname OPERATOR(pg_catalog.=) ANY ({BY_SETTINGS}::pg_catalog.name[])) \
          WHEN p.pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace THEN false \
          WHEN p.provolatile OPERATOR(pg_catalog.=) 'v' THEN p.proname OPERATOR(pg_catalog.<>) ALL ({indifferent}) \
          WHEN p.provolatile OPERATOR(pg_catalog.=) 's' THEN p.proname OPERATOR(pg_catalog.=) ANY ({differ}) \
            OR p.proname OPERATOR(pg_catalog.=) 'age' AND p.pronargs OPERATOR(pg_catalog.=) 1 \
            OR p.proname::pg_catalog.text OPERATOR(pg_catalog.~) '^pg_stat_get_' \
          ELSE false END)",
        indifferent = list(&INDIFFERENT),
        differ = list(&DIFFER),
    )
}

/// Functions that a text may call, judged by its names, and whose values may differ between sessions of one
/// snapshot.
///
/// Resolved on the session's search path. Includes the functions of operators, casts and types that are not
/// built in.
///
/// # Errors
///
/// Errors of the server.
pub fn differing_functions(session: &mut Session, of: &NamesOfText) -> Result<Vec<String>, CatalogError> {
    let sql = format!(
        "WITH path AS (SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n \
             WHERE n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(true))), \
           named AS (SELECT c.* FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.name[]), \
             pg_catalog.unnest($2::pg_catalog.name[]), pg_catalog.unnest($3::pg_catalog.int4[])) \
             AS c(schema, name, arguments)), \
           used AS ( \
             SELECT p.oid FROM named JOIN pg_catalog.pg_proc p ON p.proname OPERATOR(pg_catalog.=) named.name \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
               WHERE (n.nspname OPERATOR(pg_catalog.=) named.schema \
                 OR named.schema OPERATOR(pg_catalog.=) '' AND p.pronamespace OPERATOR(pg_catalog.=) ANY (SELECT oid FROM path)) \
                 AND (p.pronargs OPERATOR(pg_catalog.=) named.arguments \
                   OR p.pronargdefaults OPERATOR(pg_catalog.>) 0 \
                   OR p.provariadic OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
                   OR p.prokind OPERATOR(pg_catalog.<>) 'f') \
             UNION SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_type t \
                 ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0] \
               WHERE p.proname OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.name[]) \
                 AND p.pronargs OPERATOR(pg_catalog.=) 1 \
                 AND t.typtype OPERATOR(pg_catalog.=) ANY ('{{c,p}}'::pg_catalog.\"char\"[]) \
             UNION SELECT o.oprcode FROM pg_catalog.pg_operator o \
               WHERE o.oprname OPERATOR(pg_catalog.=) ANY ($5::pg_catalog.name[]) \
             UNION SELECT c.castfunc FROM pg_catalog.pg_cast c \
                 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) c.casttarget \
               WHERE c.oid OPERATOR(pg_catalog.>=) {FIRST_USER_OID}::pg_catalog.oid \
                 AND (c.castcontext OPERATOR(pg_catalog.=) 'i' \
                   OR t.typname OPERATOR(pg_catalog.=) ANY ($6::pg_catalog.name[])) \
             UNION SELECT t.typinput FROM pg_catalog.pg_type t \
               WHERE t.typname OPERATOR(pg_catalog.=) ANY ($6::pg_catalog.name[])) \
         SELECT DISTINCT p.proname::pg_catalog.text FROM used JOIN pg_catalog.pg_proc p \
           ON p.oid OPERATOR(pg_catalog.=) used.oid WHERE {} ORDER BY 1",
        differs()
    );
    let schemas: Vec<&str> = of.calls.iter().map(|(schema, ..)| schema.as_str()).collect();
    let names: Vec<&str> = of.calls.iter().map(|(_, name, _)| name.as_str()).collect();
    let arguments: Vec<String> = of.calls.iter().map(|(.., arguments)| arguments.to_string()).collect();
    let rows = session.query(
        &sql,
        &[
            Some(&text_array(&schemas)),
            Some(&text_array(&names)),
            Some(&text_array(&arguments)),
            Some(&text_array(&of.attributes)),
            Some(&text_array(&of.operators)),
            Some(&text_array(&of.names)),
        ],
    )?;
    rows.iter().map(|row| text(row, 0)).collect()
}

/// A view that a statement may read, and what it uses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsedView {
    /// The view, quoted if needed.
    pub view: String,
    /// Its functions and key words whose values may differ between sessions.
    pub differing: Vec<String>,
    /// Its text, as the server prints it; empty for the server's own views.
    pub definition: String,
}

/// The views that a statement may read, directly or through other views: `relation`, and views of these
/// `names` on the session's search path, or in a schema that is one of the names.
///
/// # Errors
///
/// Errors of the server.
pub fn used_views(
    session: &mut Session,
    relation: Option<u32>,
    names: &[String],
) -> Result<Vec<UsedView>, CatalogError> {
    let sql = format!(
        "WITH RECURSIVE seen(oid) AS ( \
             SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
                 ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE c.relkind OPERATOR(pg_catalog.=) 'v' AND (c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 OR c.relname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[]) \
                   AND (n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(true)) \
                     OR n.nspname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[]))) \
             UNION SELECT c.oid FROM seen JOIN pg_catalog.pg_rewrite r ON r.ev_class OPERATOR(pg_catalog.=) seen.oid \
               CROSS JOIN LATERAL pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, ':relid (\\d+)', 'g') AS m(found) \
               JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) m.found[1]::pg_catalog.oid \
               WHERE c.relkind OPERATOR(pg_catalog.=) 'v'), \
           uses AS (SELECT r.ev_class, p.proname::pg_catalog.text AS name FROM seen JOIN pg_catalog.pg_rewrite r \
                 ON r.ev_class OPERATOR(pg_catalog.=) seen.oid \
               CROSS JOIN LATERAL pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, \
                 ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') AS m(found) \
               JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) m.found[1]::pg_catalog.oid WHERE {} \
             UNION SELECT r.ev_class, CASE m.found[1] WHEN '0' THEN 'CURRENT_DATE' WHEN '1' THEN 'CURRENT_TIME' \
                 WHEN '2' THEN 'CURRENT_TIME' WHEN '5' THEN 'LOCALTIME' WHEN '6' THEN 'LOCALTIME' \
                 WHEN '7' THEN 'LOCALTIMESTAMP' WHEN '8' THEN 'LOCALTIMESTAMP' ELSE 'CURRENT_TIMESTAMP' END \
               FROM seen JOIN pg_catalog.pg_rewrite r ON r.ev_class OPERATOR(pg_catalog.=) seen.oid \
               CROSS JOIN LATERAL pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, \
                 '\\{{SQLVALUEFUNCTION :op ([0-8]) ', 'g') AS m(found)) \
         SELECT seen.oid::pg_catalog.regclass::pg_catalog.text, \
           COALESCE((SELECT pg_catalog.string_agg(u.name, ', ' ORDER BY u.name) FROM uses u \
             WHERE u.ev_class OPERATOR(pg_catalog.=) seen.oid), ''), \
           CASE WHEN seen.oid OPERATOR(pg_catalog.>=) {FIRST_USER_OID}::pg_catalog.oid \
             THEN COALESCE(pg_catalog.pg_get_viewdef(seen.oid), '') ELSE '' END \
         FROM seen ORDER BY 1",
        differs()
    );
    let relation = relation.unwrap_or_default().to_string();
    let rows = session.query(&sql, &[Some(&relation), Some(&text_array(names))])?;
    let view = |row: &pgarrow_protocol::Row| {
        let differing = text(row, 1)?;
        let differing = differing.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(UsedView { view: text(row, 0)?, differing, definition: text(row, 2)? })
    };
    rows.iter().map(view).collect()
}

/// Which of these built-in functions share their name with functions in other schemas of the search path: a
/// call without a schema may mean those.
///
/// # Errors
///
/// Errors of the server.
pub fn shadowed_functions(session: &mut Session, names: &[&str]) -> Result<Vec<String>, CatalogError> {
    let sql = "SELECT DISTINCT p.proname::pg_catalog.text FROM pg_catalog.pg_proc p \
                 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
               WHERE p.proname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[]) \
                 AND n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(true)) \
                 AND p.pronamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace ORDER BY 1";
    let rows = session.query(sql, &[Some(&text_array(names))])?;
    rows.iter().map(|row| text(row, 0)).collect()
}
