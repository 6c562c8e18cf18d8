//! Which relations a query reads.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::relation::{Relation, relation_of};

/// The relations that the server plans to read for this statement, by OID. Views are replaced by what they
/// read, and pruned partitions and sequences are not included.
///
/// Relations that functions read, or that a foreign server joins, are not included either. EXPLAIN takes a
/// snapshot and locks the relations in its transaction, so do not call this in the export's.
///
/// # Errors
///
/// Errors of the server, for example about the statement; [`CatalogError::Unexpected`] if the answer is not
/// a plan.
pub fn explained_relations(session: &mut Session, sql: &str) -> Result<Vec<Relation>, CatalogError> {
    let rows = session.query(&format!("EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {sql}"), &[])?;
    let plan = rows.first().and_then(|row| row.text(0));
    let plan = plan.ok_or(CatalogError::Unexpected("no plan where one must be"))?;
    // The server parses its own plan, at any depth and with its own names.
    let sql = "SELECT DISTINCT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind, c.oid \
               FROM pg_catalog.jsonb_path_query($1::pg_catalog.jsonb, \
                 'lax $.** ? (exists (@.\"Relation Name\") && exists (@.\"Schema\"))') AS p(node) \
               JOIN pg_catalog.pg_namespace n \
                 ON n.nspname OPERATOR(pg_catalog.=) (p.node OPERATOR(pg_catalog.->>) 'Schema')::pg_catalog.name \
               JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid \
                 AND c.relname OPERATOR(pg_catalog.=) \
                   (p.node OPERATOR(pg_catalog.->>) 'Relation Name')::pg_catalog.name \
               WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[]) \
               ORDER BY c.oid";
    let rows = session.query(sql, &[Some(plan)]).map_err(|error| match error.sqlstate() {
        // Class 22, data exceptions: the plan was not the expected JSON.
        Some(state) if state.starts_with("22") => CatalogError::Unexpected("a plan that is not JSON"),
        _ => error.into(),
    })?;
    rows.iter().map(relation_of).collect()
}

/// The planner's estimate of a query's result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Estimate {
    /// The number of rows.
    pub rows: u64,
    /// The average number of bytes per row.
    pub row_bytes: u64,
}

/// The query of [`estimate`].
pub(crate) fn estimate_sql(sql: &str) -> String {
    format!("EXPLAIN (FORMAT JSON) {sql}")
}

/// The planner's estimate of a query's result. `None` if the server gives none.
///
/// # Errors
///
/// Errors of the server, for example about the statement.
pub fn estimate(session: &mut Session, sql: &str) -> Result<Option<Estimate>, CatalogError> {
    let rows = session.query(&estimate_sql(sql), &[])?;
    let plan = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    Ok(number(plan, "Plan Rows")
        .zip(number(plan, "Plan Width"))
        .map(|(rows, row_bytes)| Estimate { rows, row_bytes }))
}

/// The first number in the plan under this key, which is that of the topmost node. Inside a text, the quotes
/// of a key would be escaped.
fn number(plan: &str, key: &str) -> Option<u64> {
    let (_, behind) = plan.split_once(&format!("\"{key}\": "))?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn the_topmost_node_is_the_plan() {
        let plan = r#"[{"Plan": {"Node Type": "Limit", "Alias": "\"Plan Rows\": 5", "Plan Rows": 10,
            "Plan Width": 36, "Plans": [{"Plan Rows": 1000}]}}]"#;
        assert_eq!((number(plan, "Plan Rows"), number(plan, "Plan Width")), (Some(10), Some(36)));
        assert_eq!(number("[]", "Plan Rows"), None);
    }
}
