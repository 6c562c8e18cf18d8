//! `Run`: a planned export in its transaction, ready to be read.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pgarrow_sink::{Sink, Written};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::Keeper;
use crate::options::ExportOptions;
use crate::plan::Plan;
use crate::reader::{Progress, Reading};
use crate::report::Report;

/// An export that is planned: its transaction is open, its snapshot taken, nothing read yet.
///
/// Dropping it ends the transaction.
#[derive(Debug)]
pub struct Run {
    keeper: Keeper,
    plan: Arc<Plan>,
    options: ExportOptions,
    cancel: Cancel,
    progress: Arc<Progress>,
}

impl Run {
    pub(crate) fn new(keeper: Keeper, plan: Plan, options: ExportOptions, cancel: Cancel) -> Self {
        Self { keeper, plan: Arc::new(plan), options, cancel, progress: Arc::default() }
    }

    /// What will be read.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        self.plan.schema()
    }

    /// How far it is; to be watched from another thread.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// What stops it.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Reads everything and hands every batch to `consume`, in the calling thread.
    ///
    /// # Errors
    ///
    /// Whatever stops the reading, or `consume`. Batches handed out before are then not the whole result.
    pub fn for_each(mut self, consume: impl FnMut(RecordBatch) -> Result<()>) -> Result<Report> {
        let started = Instant::now();
        let rows = self.read(consume)?;
        let facts = self.keeper.finish()?;
        Ok(Report::new(&facts, &self.plan, &self.progress, started.elapsed(), rows, Written::default()))
    }

    /// Reads everything into a sink and commits it. The sink's schema must be [`schema`](Self::schema).
    ///
    /// The output appears only if everything went well, up to the end of the transaction on the server.
    ///
    /// # Errors
    ///
    /// Whatever stops the reading or the writing. Nothing is left behind then.
    pub fn write_to(mut self, sink: Box<dyn Sink>) -> Result<Report> {
        let started = Instant::now();
        let mut part = sink.open_part(0)?;
        let rows = self.read(|batch| Ok(part.write(&batch)?))?;
        let rows_written = part.finish()?;
        if rows_written != rows {
            let text = format!("{rows} rows were read, but {rows_written} written; please report it");
            return Err(Error::new(ErrorKind::Sink, text));
        }
        if self.cancel.is_requested() {
            return Err(crate::reader::cancelled());
        }
        let facts = self.keeper.finish()?;
        let written = sink.commit()?;
        Ok(Report::new(&facts, &self.plan, &self.progress, started.elapsed(), rows, written))
    }

    fn read(&mut self, consume: impl FnMut(RecordBatch) -> Result<()>) -> Result<u64> {
        let reading = Reading {
            plan: &self.plan,
            limits: self.options.limits,
            types: &self.options.types,
            progress: &self.progress,
            cancel: &self.cancel,
        };
        reading.read(&mut self.keeper.session, consume)
    }
}
