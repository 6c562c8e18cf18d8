//! Batches into parts of sinks.

use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_sink::{PartWriter, SinkError, SinkTimes};

use super::Outlet;
use crate::order::{Line, Order};
use crate::plan::Task;
use crate::sink_set::SinkSet;

/// Parts of sinks. Without an order, one part takes all slices of a plan that its reader reads; in order,
/// each slice has its own.
pub(crate) struct SinkOutlet<'r, 'a> {
    set: &'r SinkSet<'a>,
    order: Option<Order<'r>>,
    /// Plans wait for the sinks of those before.
    line: Option<Line<'r>>,
    reader_index: usize,
    /// The bytes that a part may hold.
    share: Option<usize>,
    task: Option<Task>,
    part: Option<PartWriter<'a>>,
    /// The next rows do not follow the last ones of the part.
    is_jump: bool,
    has_failed: bool,
    /// The times of earlier parts.
    times: SinkTimes,
    waited: Duration,
}

impl<'r, 'a> SinkOutlet<'r, 'a> {
    pub(crate) fn new(set: &'r SinkSet<'a>, order: Option<Order<'r>>, reader_index: usize) -> Self {
        Self {
            set,
            order,
            line: None,
            reader_index,
            share: None,
            task: None,
            part: None,
            is_jump: false,
            has_failed: false,
            times: SinkTimes::default(),
            waited: Duration::ZERO,
        }
    }

    /// Tells parts how much they may hold.
    pub(crate) fn with_share(self, share: Option<usize>) -> Self {
        Self { share, ..self }
    }

    /// Opens the parts of a plan when the plans before are done.
    pub(crate) fn in_line(self, line: Option<Line<'r>>) -> Self {
        Self { line, ..self }
    }

    fn finish_part(&mut self) -> Result<()> {
        let (Some(part), Some(task)) = (self.part.take(), self.task) else { return Ok(()) };
        let totals = part.finish()?;
        self.times = add(self.times, totals.times);
        let is_done = self.set.part_finished(task.plan_index, totals.rows)?;
        if let (Some(line), true) = (self.line, is_done) {
            line.done(task);
        }
        Ok(())
    }

    /// Asks the part. After it has failed, reading the slice again would restore nothing.
    fn of_part<T>(
        &mut self,
        ask: impl FnOnce(&mut PartWriter<'a>) -> std::result::Result<T, SinkError>,
    ) -> Result<Option<T>> {
        let answer = self.part.as_mut().map(ask).transpose();
        self.has_failed |= answer.is_err();
        Ok(answer?)
    }
}

fn add(one: SinkTimes, two: SinkTimes) -> SinkTimes {
    SinkTimes { encode: one.encode + two.encode, wait: one.wait + two.wait, write: one.write + two.write }
}

impl Outlet for SinkOutlet<'_, '_> {
    fn begin(&mut self, task: Task) -> Result<()> {
        let is_same = self.task.is_some_and(|before| before.plan_index == task.plan_index);
        if self.part.is_none() || !is_same || self.order.is_some() {
            self.finish_part()?;
            // A failure from here on is one of this plan.
            self.task = Some(task);
            if let Some(line) = self.line {
                line.wait(task)?;
            }
            let index = match self.order {
                Some(_) => Some(task.slice_index),
                None => (!self.set.is_of_many()).then_some(self.reader_index),
            };
            let mut part = self.set.open_part(task.plan_index, index)?;
            if let Some(share) = self.share {
                part.set_share(share);
            }
            if let Some(order) = self.order
                && !order.is_turn(task)
            {
                part.set_turn(false)?;
            }
            self.part = Some(part);
            self.is_jump = false;
        } else {
            // The part learns it with the next rows, if there are any.
            self.is_jump |= self.task.is_some_and(|before| before.slice_index + 1 != task.slice_index);
        }
        self.task = Some(task);
        Ok(())
    }

    fn write(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        let is_turn = self.is_turn();
        let has_turns = self.order.is_some();
        let is_jump = std::mem::take(&mut self.is_jump);
        let written = self.of_part(|part| {
            if has_turns && is_turn {
                part.set_turn(true)?;
            }
            if is_jump {
                part.jump()?;
            }
            part.write(&batch)
        })?;
        match written {
            Some(()) => Ok(Some(batch)),
            None => Err(Error::new(ErrorKind::Sink, "a batch before its slice; please report it")),
        }
    }

    fn end(&mut self) -> Result<()> {
        let Some(task) = self.task else { return Ok(()) };
        if let Some(order) = self.order {
            self.wait_for_turn()?;
            // Before the part is finished, since the last part completes the output.
            self.set.slice_ended(task.plan_index)?;
            self.finish_part()?;
            order.advance(task);
            return Ok(());
        }
        self.set.slice_ended(task.plan_index)
    }

    fn abandon(&mut self) {
        self.part = None;
        if let Some(task) = self.task.take() {
            self.set.abandon(task.plan_index);
            if let Some(line) = self.line {
                line.done(task);
            }
            if let Some(order) = self.order {
                order.give_up(task);
            }
        }
        self.has_failed = false;
    }

    fn complete_before(&mut self, next: Option<Task>) -> Result<(), (Task, Error)> {
        let Some(before) = self.task else { return Ok(()) };
        match next.is_some_and(|next| next.plan_index == before.plan_index) {
            true => Ok(()),
            false => self.finish_part().map_err(|error| (before, error)),
        }
    }

    fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn held_bytes(&self) -> usize {
        self.part.as_ref().map_or(0, PartWriter::held_bytes)
    }

    fn working_bytes(&self, batch_bytes: usize) -> usize {
        self.part.as_ref().map_or(0, |part| part.working_bytes(batch_bytes))
    }

    fn flush(&mut self, is_needed: bool) -> Result<()> {
        // In order, the ends of row groups should stay the same from run to run, if possible.
        if self.order.is_none() || is_needed {
            self.of_part(PartWriter::flush)?;
        }
        Ok(())
    }

    fn is_turn(&self) -> bool {
        match (self.order, self.task) {
            (Some(order), Some(task)) => order.is_turn(task),
            _ => true,
        }
    }

    fn wait_for_turn(&mut self) -> Result<()> {
        let (Some(order), Some(task), true) = (self.order, self.task, self.part.is_some()) else {
            return Ok(());
        };
        let started = Instant::now();
        order.wait(task)?;
        self.waited += started.elapsed();
        self.of_part(|part| part.set_turn(true))?;
        Ok(())
    }

    fn times(&self) -> SinkTimes {
        let of_part = self.part.as_ref().map(PartWriter::times).unwrap_or_default();
        let mut times = add(self.times, of_part);
        times.wait += self.waited;
        times
    }
}
