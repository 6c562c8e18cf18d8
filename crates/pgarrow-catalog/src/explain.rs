//! Which relations a free query reads.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::relation::{Relation, relation_of};

/// The relations that the server plans to read for this statement, by OID: views are already replaced by what
/// they read, and partitions that are not needed are left out. Sequences are none of them.
///
/// What functions read is not among them, nor what a foreign server joins on its side. Asking takes a snapshot
/// and locks the relations in the transaction that asks; so ask outside of the export's.
///
/// # Errors
///
/// The server's, for instance that the statement is wrong; [`CatalogError::Unexpected`] if what it answers is no plan.
pub fn explained_relations(session: &mut Session, sql: &str) -> Result<Vec<Relation>, CatalogError> {
    let rows = session.query(&format!("EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {sql}"), &[])?;
    let plan = rows.first().and_then(|row| row.text(0));
    let plan = plan.ok_or(CatalogError::Unexpected("no plan where one must be"))?;
    // The server reads its own plan: however deep it is, and with its own names.
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
        // Class 22, data exceptions: not the JSON that was asked for.
        Some(state) if state.starts_with("22") => CatalogError::Unexpected("a plan that is not JSON"),
        _ => error.into(),
    })?;
    rows.iter().map(relation_of).collect()
}

/// What a query will return, as the server's planner has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Estimate {
    /// How many rows.
    pub rows: u64,
    /// How many bytes each has, on average.
    pub row_bytes: u64,
}

/// The query of [`estimate`].
pub(crate) fn estimate_sql(sql: &str) -> String {
    format!("EXPLAIN (FORMAT JSON) {sql}")
}

/// What a query will return, about. `None` if the server does not say.
///
/// # Errors
///
/// The server's, for instance that the statement is wrong.
pub fn estimate(session: &mut Session, sql: &str) -> Result<Option<Estimate>, CatalogError> {
    let rows = session.query(&estimate_sql(sql), &[])?;
    let plan = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    Ok(number(plan, "Plan Rows")
        .zip(number(plan, "Plan Width"))
        .map(|(rows, row_bytes)| Estimate { rows, row_bytes }))
}

/// The number that the plan has under this key first: that of its topmost node. Inside of a text, the quotes
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
