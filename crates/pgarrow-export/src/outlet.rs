//! Where one reader's batches go: into parts of sinks, or into a callback.

mod call;
mod sink;

use arrow_array::RecordBatch;
use pgarrow_session::Result;
use pgarrow_sink::SinkTimes;

pub(crate) use call::CallOutlet;
pub(crate) use sink::SinkOutlet;

use crate::plan::Task;

/// One reader's way out. Slices come one after another, batches of a slice in their order.
pub(crate) trait Outlet {
    /// A slice begins.
    fn begin(&mut self, task: Task) -> Result<()>;

    /// Takes a batch; gives it back if nobody else needs its buffers.
    fn write(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>>;

    /// The slice is complete, and its rows are as many as the server has counted.
    fn end(&mut self) -> Result<()>;

    /// There are no more slices for this reader.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether whoever takes the batches has failed: what it was given is lost, and reading again brings back nothing.
    fn has_failed(&self) -> bool {
        false
    }

    /// Bytes held here.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Bytes that taking a batch needs on top.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        let _ = batch_bytes;
        0
    }

    /// Gives away what is held, if that is possible.
    ///
    /// `is_needed`: there is no other way of going on.
    fn flush(&mut self, is_needed: bool) -> Result<()> {
        let _ = is_needed;
        Ok(())
    }

    /// Whether what is written goes out, and does not wait for slices before.
    fn is_turn(&self) -> bool {
        true
    }

    /// Waits for the slices before, and gives away what was held for them.
    fn wait_for_turn(&mut self) -> Result<()> {
        Ok(())
    }

    /// What the time was spent on.
    fn times(&self) -> SinkTimes {
        SinkTimes::default()
    }
}
