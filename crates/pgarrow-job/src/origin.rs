//! Where the rows of a file come from, as metadata of its schema.
//!
//! Files have only what is the same in every run, so that the same rows make the same bytes. This is the
//! rest, for those who ask for it: who wrote the file, in which run, when, and under which snapshot.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use pgarrow_export::{Plan, Run};

/// Where the rows of a run's files come from.
#[derive(Clone, Debug)]
pub struct Origin(Vec<(String, String)>);

impl Origin {
    /// The origin of the files of `run`, which has this id and began at this moment, as
    /// [`utc`](crate::units::utc) writes it.
    pub fn new(run: &Run, run_id: &str, started: &str) -> Self {
        let pairs = [
            ("pg.database", run.server().database),
            ("pg.snapshot", run.snapshot().to_owned()),
            ("pgarrow.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("pgarrow.run_id", run_id.to_owned()),
            ("pgarrow.started", started.to_owned()),
        ];
        Self(pairs.map(|(key, value)| (key.to_owned(), value)).into())
    }

    /// The schema of a plan with its origin in the metadata. A table's name is there anyway (`pg.table`); of
    /// a query it only says that there is one: its text may have secrets.
    pub fn in_schema(&self, plan: &Plan) -> SchemaRef {
        let schema = plan.schema();
        let mut metadata = schema.metadata().clone();
        metadata.extend(self.0.iter().cloned());
        let source = if plan.relation().is_some() { "table" } else { "query" };
        metadata.insert("pgarrow.source".to_owned(), source.to_owned());
        Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
    }
}

/// The schema of a plan, with its origin if that is known.
pub fn schema_with(origin: Option<&Origin>, plan: &Plan) -> SchemaRef {
    origin.map_or_else(|| Arc::clone(plan.schema()), |origin| origin.in_schema(plan))
}
