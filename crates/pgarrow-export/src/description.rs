//! `Description`: what an export would read.

use arrow_schema::SchemaRef;
use pgarrow_types::Message;

use crate::column_report::ColumnReport;
use crate::plan::{Plan, PlanSlice};

/// What an export would read, found without reading, locks or a snapshot: it may differ when the export is
/// [opened](crate::Extract::open). See [`Extract::describe`](crate::Extract::describe).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Description {
    /// What is read, in words: `public.orders`, or `the query`.
    pub subject: String,
    /// The schema that the batches would have.
    pub schema: SchemaRef,
    /// The columns in order: their types, and what they become.
    pub columns: Vec<ColumnReport>,
    /// Roughly how many rows there will be: for a whole table that was analysed, and for a query, as the
    /// server's planner estimates.
    pub estimated_rows: Option<u64>,
    /// Roughly how many bytes: for tables, their size on the server's disk without regard to a filter; for a
    /// query, its rows in the server's memory.
    pub estimated_bytes: Option<u64>,
    /// The slices, in the order of their rows.
    pub slices: Vec<PlanSlice>,
    /// How the rows would be cut into slices; or why not, and what to do about it. One sentence without its
    /// full stop.
    pub slicing: Message,
    /// What the user should know about columns and the connection.
    pub warnings: Vec<Message>,
}

impl Description {
    pub(crate) fn new(plan: &Plan, estimated_bytes: Option<u64>) -> Self {
        let report = plan.report(None);
        Self {
            subject: report.subject,
            schema: plan.schema().clone(),
            columns: report.columns,
            estimated_rows: report.estimated_rows,
            estimated_bytes,
            slices: report.slices,
            slicing: report.slicing,
            warnings: report.warnings,
        }
    }
}
