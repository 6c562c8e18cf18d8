//! From server to server.

use std::sync::Arc;

use pgarrow_export::{Error, ErrorKind, Extract, Message, Report, Result};
use pgarrow_load::{Load, LoadReport};

/// The result of a copy, on both sides.
#[derive(Debug)]
#[non_exhaustive]
pub struct Copied {
    /// The rows that were read.
    pub export: Report,
    /// The rows that were loaded.
    pub load: LoadReport,
    /// What the user should know about both plans: columns whose values may change, missing rights.
    pub warnings: Vec<Message>,
}

/// Copies a table or the rows of a query into a table, also of another server. Blocks.
///
/// The rows are committed when the source has confirmed all of them. Columns with the same type on both sides
/// are passed on as the source sends them.
///
/// # Errors
///
/// As for [`Extract::open`] and [`Load::open`], and whatever stops the rows between them. Then the target is
/// unchanged, except after [`ErrorKind::OutcomeUnknown`].
pub fn copy_table(from: Extract, into: Load) -> Result<Copied> {
    // The target is looked at while the source is.
    let looking = Arc::new(into.look_ahead());
    let of_target = Arc::clone(&looking);
    let run = from.with_opaque_from(move || of_target.columns()).open()?;
    let load = into.with_opaque(run.plan().opaque().clone()).fed_by(run.holders());
    let loading = load.open(Arc::clone(run.schema()))?;
    drop(looking);
    let warnings = run.plan().warnings().iter().chain(loading.warnings()).cloned().collect();
    let sink = loading.into_sink()?;
    let loaded = sink.report();
    let export = run.write_to(Box::new(sink))?;
    let load = loaded.take().ok_or_else(|| Error::new(ErrorKind::Protocol, "a load without a report"))?;
    Ok(Copied { export, load, warnings })
}
