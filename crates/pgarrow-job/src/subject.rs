//! What a run reads: a table, or a query of the job.
//!
//! In layouts, journals and manifests, a query is like a table of a schema `query`.

use std::fmt;

use pgarrow_export::{Plan, Relation};

use crate::manifest::ManifestTable;

/// The schema that queries have in layouts and manifests.
pub(crate) const QUERIES: &str = "query";

/// A query of a job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobQuery {
    /// What it is called in layout and manifest: letters, digits, `_` and `-`.
    pub name: String,
    /// One SELECT, VALUES, TABLE or WITH.
    pub sql: String,
    /// A column of its result, whose ranges several connections read.
    pub split_on: Option<String>,
}

/// What is read.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Table(Relation),
    Query(JobQuery),
}

/// Schema and name.
pub(crate) type Key = (String, String);

impl Subject {
    pub(crate) fn schema(&self) -> &str {
        match self {
            Self::Table(relation) => &relation.schema,
            Self::Query(_) => QUERIES,
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Table(relation) => &relation.name,
            Self::Query(query) => &query.name,
        }
    }

    pub(crate) fn key(&self) -> Key {
        (self.schema().to_owned(), self.name().to_owned())
    }

    /// `pg_class.oid`; 0 for a query.
    pub(crate) fn oid(&self) -> u32 {
        match self {
            Self::Table(relation) => relation.oid,
            Self::Query(_) => 0,
        }
    }

    pub(crate) fn is(&self, schema: &str, name: &str) -> bool {
        self.schema() == schema && self.name() == name
    }

    /// Whether a table of a manifest has its rows, or those of another one of its name.
    pub(crate) fn is_of(&self, table: &ManifestTable) -> bool {
        self.is(&table.schema, &table.name)
    }
}

/// As in messages about plans.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(relation) => relation.fmt(f),
            Self::Query(query) => write!(f, "query {}", query.name),
        }
    }
}

/// Schema and name of what a plan reads.
pub(crate) fn schema_and_table(plan: &Plan) -> (&str, &str) {
    match plan.relation() {
        Some(relation) => (&relation.schema, &relation.name),
        None => (QUERIES, plan.query_name().unwrap_or_else(|| plan.subject())),
    }
}

/// [`schema_and_table`] as a key.
pub(crate) fn key_of(plan: &Plan) -> Key {
    let (schema, name) = schema_and_table(plan);
    (schema.to_owned(), name.to_owned())
}
