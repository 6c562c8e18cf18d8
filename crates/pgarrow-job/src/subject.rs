//! What a run reads: a table, or a query of the job.
//!
//! In layouts, journals and manifests, a query is like a table of a schema `query`.

use std::fmt;

use pgarrow_export::{NamedQuery, OpaqueColumns, Plan, Relation, TableSelection, Tables};

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
pub enum JobSubject {
    /// A table, or what else has rows and a name.
    Table(Relation),
    /// A query.
    Query(JobQuery),
}

/// Schema and name.
pub(crate) type Key = (String, String);

impl JobSubject {
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

    /// Its schema and name: what [`key_of`](Self::key_of) says of its plan.
    pub fn key(&self) -> (String, String) {
        (self.schema().to_owned(), self.name().to_owned())
    }

    /// Schema and name of what a plan reads. Queries have the schema `query`.
    pub fn key_of(plan: &Plan) -> (String, String) {
        key_of(plan)
    }

    /// Adds it to what is read: of a table these columns, and the rows for which a condition holds; of both,
    /// the columns in `opaque` undecoded.
    pub fn add_to(
        &self,
        tables: Tables,
        columns: Option<&[String]>,
        filter: Option<&str>,
        opaque: Option<&OpaqueColumns>,
    ) -> Tables {
        let relation = match self {
            Self::Table(relation) => relation,
            Self::Query(JobQuery { name, sql, split_on }) => {
                let query =
                    opaque.cloned().into_iter().fold(NamedQuery::new(name, sql), NamedQuery::with_opaque);
                return tables.query(split_on.iter().fold(query, NamedQuery::split_on));
            }
        };
        let tables = tables.name(relation.quoted());
        let tables = opaque.into_iter().fold(tables, |tables, columns| {
            tables.opaque_of(&relation.schema, &relation.name, columns.clone())
        });
        if columns.is_none() && filter.is_none() {
            return tables;
        }
        let selection =
            columns.into_iter().fold(TableSelection::new(), |selection, columns| selection.columns(columns));
        tables.select(relation.quoted(), filter.into_iter().fold(selection, TableSelection::filter))
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
impl fmt::Display for JobSubject {
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
