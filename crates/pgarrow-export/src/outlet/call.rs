//! Batches into a callback.

use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use pgarrow_session::Result;
use pgarrow_sink::SinkTimes;

use super::Outlet;
use crate::plan::Task;

/// A callback in the reader's own thread.
pub(crate) struct CallOutlet<F> {
    call: F,
    plan_index: usize,
    waited: Duration,
    has_failed: bool,
}

impl<'a, F: FnMut(RecordBatch) -> Result<()> + 'a> CallOutlet<F> {
    pub(crate) fn new(mut call: F) -> CallOutlet<impl FnMut(usize, RecordBatch) -> Result<()> + 'a> {
        CallOutlet::of_plans(move |_, batch| call(batch))
    }
}

impl<F: FnMut(usize, RecordBatch) -> Result<()>> CallOutlet<F> {
    /// The callback gets the plan's index.
    pub(crate) fn of_plans(call: F) -> Self {
        Self { call, plan_index: 0, waited: Duration::ZERO, has_failed: false }
    }
}

impl<F: FnMut(usize, RecordBatch) -> Result<()>> Outlet for CallOutlet<F> {
    fn begin(&mut self, task: Task) -> Result<()> {
        self.plan_index = task.plan_index;
        Ok(())
    }

    fn write(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        let started = Instant::now();
        // A second handle: unless the callback keeps one, the reader reuses the buffers.
        let called = (self.call)(self.plan_index, batch.clone());
        self.waited += started.elapsed();
        self.has_failed |= called.is_err();
        called.map(|()| Some(batch))
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }

    fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn times(&self) -> SinkTimes {
        SinkTimes { wait: self.waited, ..SinkTimes::default() }
    }
}
