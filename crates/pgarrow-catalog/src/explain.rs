//! Which relations a query reads.

use std::collections::BTreeSet;

use pgarrow_protocol::{Row, Session};
use serde_json::Value;

use crate::error::CatalogError;
use crate::relation::{Relation, relation_of};

/// The query for the plan of [`explained_relations`].
pub(crate) fn explain_sql(sql: &str) -> String {
    format!("EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {sql}")
}

/// The query for the relations of a plan, which is `$1`. The server parses its own plan, at any depth and
/// with its own names.
pub(crate) const OF_PLAN: &str = "SELECT DISTINCT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind, c.oid \
               FROM pg_catalog.jsonb_path_query($1::pg_catalog.jsonb, \
                 'lax $.** ? (exists (@.\"Relation Name\") && exists (@.\"Schema\"))') AS p(node) \
               JOIN pg_catalog.pg_namespace n \
                 ON n.nspname OPERATOR(pg_catalog.=) (p.node OPERATOR(pg_catalog.->>) 'Schema')::pg_catalog.name \
               JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid \
                 AND c.relname OPERATOR(pg_catalog.=) \
                   (p.node OPERATOR(pg_catalog.->>) 'Relation Name')::pg_catalog.name \
               WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[]) \
               ORDER BY c.oid";

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
    let rows = session.query(&explain_sql(sql), &[])?;
    let plan = rows.first().and_then(|row| row.text(0));
    let plan = plan.ok_or(CatalogError::Unexpected("no plan where one must be"))?;
    let rows = session.query(OF_PLAN, &[Some(plan)]).map_err(|error| match error.sqlstate() {
        // Class 22, data exceptions: the plan was not the expected JSON.
        Some(state) if state.starts_with("22") => CatalogError::Unexpected("a plan that is not JSON"),
        _ => error.into(),
    })?;
    rows.iter().map(relation_of).collect()
}

/// The query for all relations that this transaction has opened.
pub(crate) const OPENED: &str = "SELECT DISTINCT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind, c.oid \
               FROM pg_catalog.pg_locks l \
               JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.granted \
                 AND l.locktype OPERATOR(pg_catalog.=) 'relation' \
                 AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[]) \
               ORDER BY c.oid";

/// The longest plan, in bytes, that is not left to the server.
const PLAN_BYTES_MAX: usize = 1 << 20;

/// The answer to [`OF_PLAN`], found among the `opened` relations, which are the answer to [`OPENED`] right
/// after the EXPLAIN: planning locks all that the plan names. `None` if this module cannot tell, so that the
/// server has to.
pub(crate) fn of_plan(plan: &str, opened: &[Row]) -> Option<Vec<Row>> {
    if plan.len() > PLAN_BYTES_MAX {
        return None;
    }
    let mut names = BTreeSet::new();
    named(&serde_json::from_str(plan).ok()?, &mut names)?;
    let is_named = |row: &&Row| {
        let name = row.text(1).zip(row.text(2)).map(|(schema, name)| (schema.to_owned(), name.to_owned()));
        name.is_some_and(|name| names.contains(&name))
    };
    let found: Vec<Row> = opened.iter().filter(is_named).cloned().collect();
    // A temporary table has another schema in plans than in the catalog. Sequences are no relations to us.
    (found.len() == names.len()).then_some(found)
}

/// Adds schema and name of each relation in a plan.
fn named(plan: &Value, names: &mut BTreeSet<(String, String)>) -> Option<()> {
    match plan {
        Value::Array(nodes) => nodes.iter().try_for_each(|node| named(node, names)),
        Value::Object(node) => {
            if let (Some(schema), Some(name)) = (node.get("Schema"), node.get("Relation Name")) {
                names.insert((schema.as_str()?.to_owned(), name.as_str()?.to_owned()));
            }
            node.values().try_for_each(|value| named(value, names))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
    }
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
