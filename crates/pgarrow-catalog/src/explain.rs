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
