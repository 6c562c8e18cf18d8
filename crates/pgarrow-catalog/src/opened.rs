//! What a transaction has really opened, and what the catalog says about it now: the proof that names have
//! not changed their meaning meanwhile.
//!
//! ```text
//!  what_belongs     the relations that reading these may open, in the transaction's snapshot
//!  locked           what sessions have locked, by OID: locks last until the transaction ends, without names
//!  opened_beside    what this session has locked besides the planned relations
//!  renamed_schemas  schemas whose row has changed since the snapshot was taken
//!  renamed_labels   enums whose labels differ from those of the snapshot
//! ```
//!
//! A statement finds its tables in the newest catalog, whatever its snapshot is, and `ALTER SCHEMA … RENAME`
//! takes no lock on tables.

use pgarrow_protocol::{AskedBehind, CopyOut, PIPELINE_BYTES_MAX, Session};

use crate::error::CatalogError;
use crate::name::{RelationName, quote_literal};
use crate::relation::RelationKind;
use crate::texts::{array_of, parsed, text};

/// `FirstNormalObjectId` of PostgreSQL's `src/include/access/transam.h`: lower OIDs belong to the server.
pub const FIRST_NORMAL_OID: u32 = 16_384;

/// A condition: the snapshot sees this row, and another transaction has changed it since. `xmax` shows this
/// also for a change that the snapshot does not see, or that is not committed yet. If `xmax` is a
/// transaction that had ended before the snapshot, it was rolled back, because the row is still there.
fn is_changed(server_version_num: u32, alias: &str) -> String {
    let xmin = match server_version_num >= 130_000 {
        true => "pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())",
        false => "pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())",
    };
    format!(
        "({alias}.xmax OPERATOR(pg_catalog.<>) '0'::pg_catalog.xid AND (({xmin}::pg_catalog.text::pg_catalog.int8 \
         OPERATOR(pg_catalog.-) {alias}.xmax::pg_catalog.text::pg_catalog.int8) OPERATOR(pg_catalog.&) 4294967295) \
         NOT BETWEEN 1 AND 2147483647)"
    )
}

/// A relation that may be opened when another one is read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind, if it can be selected from.
    pub kind: Option<RelationKind>,
    /// Whether the current role may name it and read all of it.
    pub is_readable: bool,
}

/// The query of [`what_belongs`].
pub(crate) fn members_sql(and_of_views: bool) -> String {
    // A caller that asks only about tables needs no right to read the dependencies of views.
    let of_views = "UNION ALL \
                    SELECT d.refobjid FROM pg_catalog.pg_class v \
                    JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) v.oid \
                      AND w.rulename OPERATOR(pg_catalog.=) '_RETURN'::pg_catalog.name \
                    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) w.oid \
                      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid \
                      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
                    WHERE v.oid OPERATOR(pg_catalog.=) t.oid AND v.relkind OPERATOR(pg_catalog.=) 'v'";
    let of_views = if and_of_views { of_views } else { "" };
    format!(
        "WITH RECURSIVE tree(oid) AS ( \
           SELECT r.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid) \
           UNION \
           SELECT b.oid FROM tree t CROSS JOIN LATERAL ( \
             SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) t.oid \
             {of_views}) AS b(oid)) \
         SELECT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind, \
           pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
         FROM tree t \
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         ORDER BY c.oid"
    )
}

/// The answer to the query of [`what_belongs`] for one table without children, whose OID is `$1`; otherwise
/// no rows.
pub(crate) const OWN_MEMBER: &str = "SELECT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind, \
                 pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                   AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 AND c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT c.relhassubclass";

/// These relations and their descendants; with `and_of_views`, also the relations that views among them use.
/// In this snapshot, by OID.
///
/// # Errors
///
/// Errors of the server.
pub fn what_belongs(
    session: &mut Session,
    roots: &[u32],
    and_of_views: bool,
) -> Result<Vec<Member>, CatalogError> {
    let sql = members_sql(and_of_views);
    let rows = session.query(&sql, &[Some(&array_of(roots))])?;
    rows.iter()
        .map(|row| {
            let kind = match row.text(3) {
                Some("r") => Some(RelationKind::Table),
                Some("p") => Some(RelationKind::PartitionedTable),
                Some("v") => Some(RelationKind::View),
                Some("m") => Some(RelationKind::MaterializedView),
                Some("f") => Some(RelationKind::ForeignTable),
                _ => None,
            };
            let is_readable = row.text(4) == Some("t");
            Ok(Member { oid: parsed(row, 0)?, schema: text(row, 1)?, name: text(row, 2)?, kind, is_readable })
        })
        .collect()
}

/// A SELECT of the user's own relations that are locked, without indexes and TOAST tables, which come with
/// their tables. `$1` are the processes, or NULL for the session's own.
///
/// A relation that the snapshot does not see is newer; the newest catalog says whether it is an index.
fn locked_relations() -> String {
    format!(
        "SELECT DISTINCT l.relation AS oid FROM pg_catalog.pg_locks l \
         LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation \
         WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted \
           AND l.pid OPERATOR(pg_catalog.=) ANY (COALESCE($1::pg_catalog.int4[], ARRAY[pg_catalog.pg_backend_pid()])) \
           AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d \
             WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
           AND l.relation OPERATOR(pg_catalog.>=) {FIRST_NORMAL_OID}::pg_catalog.oid \
           AND CASE WHEN c.oid IS NULL \
             THEN pg_catalog.pg_index_has_property(l.relation, 'clusterable') IS NULL \
             ELSE c.relkind OPERATOR(pg_catalog.<>) ALL ('{{i,I,t}}'::pg_catalog.\"char\"[]) END"
    )
}

/// The query of [`locked`].
pub(crate) fn locked_sql() -> String {
    format!("SELECT l.oid::pg_catalog.text FROM ({}) AS l ORDER BY l.oid", locked_relations())
}

/// The user's own relations that these processes have locked, by OID.
///
/// # Errors
///
/// Errors of the server.
pub fn locked(session: &mut Session, pids: &[i32]) -> Result<Vec<u32>, CatalogError> {
    let rows = session.query(&locked_sql(), &[Some(&array_of(pids))])?;
    rows.iter().map(|row| parsed(row, 0)).collect()
}

/// A relation that was opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenedRelation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Current schema and name, as SQL takes them.
    pub printed: String,
    /// Its name without the schema.
    pub name: String,
    /// It belongs to an extension, whose types and functions read it.
    pub is_of_extension: bool,
}

/// The query of [`opened_beside`].
pub(crate) fn beside_sql() -> String {
    format!(
        "SELECT l.oid::pg_catalog.text, (pg_catalog.pg_identify_object( \
             'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, l.oid, 0)).identity \
         FROM ({}) AS l \
         LEFT JOIN pg_catalog.unnest($2::pg_catalog.oid[]) AS p(oid) ON p.oid OPERATOR(pg_catalog.=) l.oid \
         WHERE p.oid IS NULL ORDER BY l.oid",
        locked_relations()
    )
}

/// The user's own relations that this session has opened in its transaction, except `planned`.
///
/// # Errors
///
/// Errors of the server.
pub fn opened_beside(session: &mut Session, planned: &[u32]) -> Result<Vec<OpenedRelation>, CatalogError> {
    let sql = beside_sql();
    let rows = session.query(&sql, &[None, Some(&array_of(planned))])?;
    let mut opened = Vec::with_capacity(rows.len());
    for row in &rows {
        let printed = text(row, 1)?;
        let name = RelationName::parse(&printed).map_or_else(|_| printed.clone(), |name| name.name);
        opened.push(OpenedRelation { oid: parsed(row, 0)?, printed, name, is_of_extension: false });
    }
    // Usually there are none, and not every role may read pg_depend.
    if !opened.is_empty() {
        let sql = "SELECT DISTINCT d.objid::pg_catalog.text FROM pg_catalog.pg_depend d \
                   WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
                     AND d.objid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
                     AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\"";
        let oids: Vec<u32> = opened.iter().map(|relation| relation.oid).collect();
        let rows = session.query(sql, &[Some(&array_of(&oids))])?;
        let of_extensions: Vec<u32> = rows.iter().map(|row| parsed(row, 0)).collect::<Result<_, _>>()?;
        for relation in &mut opened {
            relation.is_of_extension = of_extensions.contains(&relation.oid);
        }
    }
    Ok(opened)
}

/// Starts a COPY, behind which the server is asked what [`opened_beside`] will ask. Call that next.
///
/// `and_commit`: nothing else is asked in this transaction, so it ends with the answer, and the caller's
/// COMMIT is done then.
///
/// # Errors
///
/// As for [`Session::copy_out`].
pub fn copy_and_ask_beside<'s>(
    session: &'s mut Session,
    copy: &str,
    planned: &[u32],
    and_commit: bool,
) -> Result<CopyOut<'s>, pgarrow_protocol::Error> {
    let planned = array_of(planned);
    match planned.len() <= PIPELINE_BYTES_MAX / 2 {
        true => {
            let (sql, parameters) = (beside_sql(), [None, Some(planned.as_str())]);
            let question = AskedBehind { sql: &sql, parameters: &parameters, and_commit };
            session.copy_out_and(copy, Some(question))
        }
        // Of very many, it is asked later.
        false => session.copy_out(copy),
    }
}

/// The query of [`renamed_schemas`].
pub(crate) fn schemas_sql(server_version_num: u32) -> String {
    let is_changed = is_changed(server_version_num, "n");
    format!(
        "SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE {is_changed} AND EXISTS ( \
           SELECT FROM pg_catalog.pg_class c \
           JOIN pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid) ON r.oid OPERATOR(pg_catalog.=) c.oid \
           WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid) ORDER BY n.nspname"
    )
}

/// The schemas of these relations whose catalog row has changed since the snapshot was taken: by a rename,
/// or by a GRANT, which looks the same here.
///
/// # Errors
///
/// Errors of the server.
pub fn renamed_schemas(session: &mut Session, relations: &[u32]) -> Result<Vec<String>, CatalogError> {
    let sql = schemas_sql(session.server_version_num());
    let rows = session.query(&sql, &[Some(&array_of(relations))])?;
    rows.iter().map(|row| text(row, 0)).collect()
}

/// The enums within these types and within the columns of these relations that have a label renamed since
/// the snapshot, even if it was renamed back. Added labels do not count.
///
/// # Errors
///
/// Errors of the server.
pub fn renamed_labels(
    session: &mut Session,
    types: &[u32],
    relations: &[u32],
) -> Result<Vec<String>, CatalogError> {
    let types = of_users(types);
    if types.is_empty() && relations.is_empty() {
        return Ok(Vec::new());
    }
    let sql = labels_sql(session.server_version_num());
    let rows = session.query(&sql, &[Some(&array_of(&types)), Some(&array_of(relations))])?;
    let mut renamed = Vec::new();
    let mut asked = Vec::new();
    for row in &rows {
        let printed = text(row, 1)?;
        if row.text(2) == Some("true") {
            renamed.push(printed);
        } else if row.text(3) == Some("true") {
            // By its current name: another type may have taken the name from the snapshot.
            asked.push((parsed::<u32>(row, 0)?, printed, text(row, 4)?));
        }
    }
    if asked.is_empty() || !renamed.is_empty() {
        return Ok(renamed);
    }
    // enum_range() reads the newest catalog, whatever the snapshot is.
    let asks = asked.iter().map(|(oid, printed, labels)| {
        let literal = |text: &str| quote_literal(text).unwrap_or_default();
        format!(
            "SELECT {} WHERE pg_catalog.pg_typeof(NULL::{printed})::pg_catalog.oid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid \
             AND NOT pg_catalog.enum_range(NULL::{printed})::pg_catalog.text[] OPERATOR(pg_catalog.@>) {}::pg_catalog.text[]",
            literal(printed),
            literal(labels)
        )
    });
    let rows = session.query(&asks.collect::<Vec<_>>().join(" UNION ALL "), &[])?;
    rows.iter().map(|row| text(row, 0)).collect()
}

/// The types that users have made.
pub(crate) fn of_users(types: &[u32]) -> Vec<u32> {
    types.iter().copied().filter(|oid| *oid >= FIRST_NORMAL_OID).collect()
}

/// The first query of [`renamed_labels`].
pub(crate) fn labels_sql(server_version_num: u32) -> String {
    let is_changed = is_changed(server_version_num, "e");
    let multirange = match server_version_num >= 140_000 {
        true => "OR r.rngmultitypid OPERATOR(pg_catalog.=) p.oid",
        false => "",
    };
    format!(
        "WITH RECURSIVE part(oid) AS ( \
           SELECT t.oid FROM (SELECT x.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS x(oid) \
             UNION SELECT a.atttypid FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.unnest($2::pg_catalog.oid[]) AS c(oid) ON c.oid OPERATOR(pg_catalog.=) a.attrelid \
             WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped) AS t(oid) \
           UNION \
           SELECT b.oid FROM part p CROSS JOIN LATERAL ( \
             SELECT CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.typelem END \
             FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) p.oid \
             UNION ALL \
             SELECT a.atttypid FROM pg_catalog.pg_type t \
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.typrelid \
             WHERE t.oid OPERATOR(pg_catalog.=) p.oid AND t.typtype OPERATOR(pg_catalog.=) 'c' \
               AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped \
             UNION ALL \
             SELECT r.rngsubtype FROM pg_catalog.pg_range r \
             WHERE r.rngtypid OPERATOR(pg_catalog.=) p.oid {multirange}) AS b(oid) \
           WHERE b.oid OPERATOR(pg_catalog.>=) {FIRST_NORMAL_OID}::pg_catalog.oid) \
         SELECT p.oid::pg_catalog.text, pg_catalog.format_type(p.oid, NULL), \
           pg_catalog.bool_or({is_changed})::pg_catalog.text, \
           pg_catalog.has_schema_privilege(t.typnamespace, 'USAGE')::pg_catalog.text, \
           pg_catalog.array_agg(e.enumlabel)::pg_catalog.text \
         FROM part p \
         JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.oid \
         JOIN pg_catalog.pg_enum e ON e.enumtypid OPERATOR(pg_catalog.=) p.oid \
         GROUP BY p.oid, t.typnamespace ORDER BY p.oid"
    )
}
