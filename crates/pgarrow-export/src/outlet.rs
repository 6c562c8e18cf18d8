//! The destination of one reader's batches: parts of sinks, or a callback.

mod call;
mod sink;

use arrow_array::RecordBatch;
use pgarrow_session::{Error, Result};
use pgarrow_sink::SinkTimes;

pub(crate) use call::CallOutlet;
pub(crate) use sink::SinkOutlet;

use crate::plan::Task;

/// The destination of one reader's batches. Slices come one after another, batches of a slice in order.
pub(crate) trait Outlet {
    /// A slice begins.
    fn begin(&mut self, task: Task) -> Result<()>;

    /// Takes a batch; gives it back if nobody else needs its buffers.
    fn write(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>>;

    /// The slice is complete, and the server's count of rows matches.
    fn end(&mut self) -> Result<()>;

    /// The table of the slice has failed: what was written of it is not to be used, and the others go on.
    fn abandon(&mut self) {}

    /// Completes what is begun, unless it is of the table of `next`, the reader's next slice. An error is
    /// that of the table of the slice before, which is part of it.
    fn complete_before(&mut self, next: Option<Task>) -> Result<(), (Task, Error)> {
        let _ = next;
        Ok(())
    }

    /// Whether the sink or callback has failed: its batches are lost, and reading again cannot restore them.
    fn has_failed(&self) -> bool {
        false
    }

    /// Bytes that the outlet holds.
    fn held_bytes(&self) -> usize {
        0
    }

    /// The additional bytes that a batch needs while it is written.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        let _ = batch_bytes;
        0
    }

    /// Passes on what is held, if that is possible.
    ///
    /// `is_needed`: there is no other way to continue.
    fn flush(&mut self, is_needed: bool) -> Result<()> {
        let _ = is_needed;
        Ok(())
    }

    /// Whether written batches go out now and do not wait for earlier slices.
    fn is_turn(&self) -> bool {
        true
    }

    /// Waits for the earlier slices, and passes on what was held meanwhile.
    fn wait_for_turn(&mut self) -> Result<()> {
        Ok(())
    }

    /// How the time was spent.
    fn times(&self) -> SinkTimes {
        SinkTimes::default()
    }
}
