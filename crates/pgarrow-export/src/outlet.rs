//! Where one reader's batches go: into parts of sinks, into a queue, or into a callback.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use pgarrow_session::{Cancel, Error, ErrorKind, Result};
use pgarrow_sink::{Part, Sink, SinkError, SinkTimes, Stop, Written};

use crate::budget::{Budget, Lease};
use crate::plan::{Plan, Task};

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

/// Whose turn it is, where slices go out in their order.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    next: Mutex<usize>,
    changed: Condvar,
}

impl Turns {
    fn is_turn(&self, slice_index: usize) -> bool {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) == slice_index
    }

    fn advance(&self) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    fn wait(&self, slice_index: usize, budget: &Budget, cancel: &Cancel) -> Result<()> {
        if self.is_turn(slice_index) {
            return Ok(());
        }
        let _waiting = budget.waiting();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        while *next != slice_index {
            if cancel.is_requested() {
                return Err(cancel.error());
            }
            let waited = self.changed.wait_timeout(next, Duration::from_millis(100));
            next = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(next, _)| next);
        }
        Ok(())
    }
}

/// What outlets that keep the order share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// One for each plan.
    pub(crate) turns: &'a [Turns],
    pub(crate) budget: &'a Budget,
    pub(crate) cancel: &'a Cancel,
}

impl Order<'_> {
    fn is_turn(&self, task: Task) -> bool {
        self.turns.get(task.plan_index).is_none_or(|turns| turns.is_turn(task.slice_index))
    }

    fn wait(&self, task: Task) -> Result<()> {
        self.turns
            .get(task.plan_index)
            .map_or(Ok(()), |turns| turns.wait(task.slice_index, self.budget, self.cancel))
    }

    fn advance(&self, task: Task) {
        if let Some(turns) = self.turns.get(task.plan_index) {
            turns.advance();
        }
    }
}

/// Makes a plan's sink.
type MakeSink<'a> = dyn Fn(&Plan) -> Result<Box<dyn Sink>, SinkError> + Sync + 'a;

/// The sinks of a run: one for each plan.
pub(crate) struct SinkSet<'a> {
    slots: Vec<Mutex<Slot>>,
    /// Makes a sink when the first of its slices begins; none if all are there from the start.
    make: Option<&'a MakeSink<'a>>,
    plans: &'a [std::sync::Arc<Plan>],
}

#[derive(Default)]
struct Slot {
    sink: Option<Box<dyn Sink>>,
    n_parts: usize,
    n_open: usize,
    n_slices_left: usize,
    rows: u64,
    written: Option<Written>,
}

impl<'a> SinkSet<'a> {
    /// One plan, one sink, which [`commit`](Self::commit) completes.
    pub(crate) fn one(plans: &'a [std::sync::Arc<Plan>], sink: Box<dyn Sink>) -> Self {
        let slot = Slot { sink: Some(sink), ..Slot::default() };
        Self { slots: vec![Mutex::new(slot)], make: None, plans }
    }

    /// Many plans: each sink is made when it is needed, and completed when its last slice is there.
    pub(crate) fn many(plans: &'a [std::sync::Arc<Plan>], make: &'a MakeSink<'a>) -> Self {
        let slot = |plan: &std::sync::Arc<Plan>| {
            Mutex::new(Slot { n_slices_left: plan.slices().len(), ..Slot::default() })
        };
        Self { slots: plans.iter().map(slot).collect(), make: Some(make), plans }
    }

    fn slot(&self, plan_index: usize) -> Result<std::sync::MutexGuard<'_, Slot>> {
        let slot = self.slots.get(plan_index).and_then(|slot| slot.lock().ok());
        slot.ok_or_else(|| Error::new(ErrorKind::Sink, "another reader failed while it opened the output"))
    }

    /// What each part should have, of the plan with the most columns. Its sink is made now if it was not.
    pub(crate) fn part_bytes(&self) -> Result<usize> {
        let widest = self.plans.iter().enumerate().max_by_key(|(_, plan)| plan.columns.len());
        let Some((plan_index, plan)) = widest else { return Ok(0) };
        let mut slot = self.slot(plan_index)?;
        if let (None, Some(make)) = (&slot.sink, self.make) {
            slot.sink = Some(make(plan)?);
        }
        Ok(slot.sink.as_ref().map_or(0, |sink| sink.part_bytes()))
    }

    fn open_part(&self, plan_index: usize, index: Option<usize>) -> Result<Box<dyn Part>> {
        let mut slot = self.slot(plan_index)?;
        if let (None, Some(make), Some(plan)) = (&slot.sink, self.make, self.plans.get(plan_index)) {
            slot.sink = Some(make(plan)?);
        }
        let index = index.unwrap_or(slot.n_parts);
        let part = match &slot.sink {
            Some(sink) => sink.open_part(index)?,
            None => return Err(Error::new(ErrorKind::Sink, "the output is closed")),
        };
        slot.n_parts += 1;
        slot.n_open += 1;
        Ok(part)
    }

    fn slice_ended(&self, plan_index: usize) -> Result<()> {
        let mut slot = self.slot(plan_index)?;
        slot.n_slices_left = slot.n_slices_left.saturating_sub(1);
        Ok(())
    }

    fn part_finished(&self, plan_index: usize, rows: u64) -> Result<()> {
        let mut slot = self.slot(plan_index)?;
        slot.rows += rows;
        slot.n_open -= 1;
        if self.make.is_some() && slot.n_open == 0 && slot.n_slices_left == 0 {
            slot.written = slot.sink.take().map(|sink| sink.commit()).transpose()?;
        }
        Ok(())
    }

    /// Rows that the parts have written, by plan.
    pub(crate) fn rows(&self) -> Result<Vec<u64>> {
        (0..self.slots.len()).map(|plan_index| Ok(self.slot(plan_index)?.rows)).collect()
    }

    /// Completes what is not complete yet. What was written, by plan.
    pub(crate) fn commit(self) -> Result<Vec<Written>> {
        let slots =
            self.slots.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        let commit = |slot: Slot| match (slot.sink, slot.written) {
            (Some(sink), _) => Ok(sink.commit()?),
            (None, Some(written)) => Ok(written),
            (None, None) => Err(Error::new(ErrorKind::Sink, "an output was never begun; please report it")),
        };
        slots.map(commit).collect()
    }
}

/// Parts of sinks. Without an order, one part takes all slices of a plan that its reader reads; in order, each
/// slice has its own.
pub(crate) struct SinkOutlet<'a> {
    set: &'a SinkSet<'a>,
    order: Option<Order<'a>>,
    reader_index: usize,
    /// For parts that wait.
    stop: Stop,
    /// What a part may hold.
    share: Option<usize>,
    task: Option<Task>,
    part: Option<Box<dyn Part>>,
    /// What comes next does not follow what the part was given.
    is_jump: bool,
    has_failed: bool,
    /// Of the parts before.
    times: SinkTimes,
    waited: Duration,
}

impl<'a> SinkOutlet<'a> {
    pub(crate) fn new(
        set: &'a SinkSet<'a>,
        order: Option<Order<'a>>,
        reader_index: usize,
        stop: Stop,
    ) -> Self {
        Self {
            set,
            order,
            reader_index,
            stop,
            share: None,
            task: None,
            part: None,
            is_jump: false,
            has_failed: false,
            times: SinkTimes::default(),
            waited: Duration::ZERO,
        }
    }

    /// Parts are told that they may hold so much.
    pub(crate) fn with_share(self, share: Option<usize>) -> Self {
        Self { share, ..self }
    }

    fn finish_part(&mut self) -> Result<()> {
        let (Some(mut part), Some(task)) = (self.part.take(), self.task) else { return Ok(()) };
        // A finished part cannot say any more how long its last row group took.
        part.flush()?;
        self.times = add(self.times, part.times());
        let rows = part.finish()?;
        self.set.part_finished(task.plan_index, rows)
    }

    /// What the part says. Once it has failed, reading the slice again would bring back nothing.
    fn of_part<T>(
        &mut self,
        ask: impl FnOnce(&mut (dyn Part + 'static)) -> std::result::Result<T, SinkError>,
    ) -> Result<Option<T>> {
        let answer = self.part.as_deref_mut().map(ask).transpose();
        self.has_failed |= answer.is_err();
        Ok(answer?)
    }
}

fn add(one: SinkTimes, two: SinkTimes) -> SinkTimes {
    SinkTimes { encode: one.encode + two.encode, wait: one.wait + two.wait, write: one.write + two.write }
}

impl Outlet for SinkOutlet<'_> {
    fn begin(&mut self, task: Task) -> Result<()> {
        let is_same = self.task.is_some_and(|before| before.plan_index == task.plan_index);
        if self.part.is_none() || !is_same || self.order.is_some() {
            self.finish_part()?;
            let index = match (self.order, self.set.make) {
                (Some(_), _) => Some(task.slice_index),
                (None, None) => Some(self.reader_index),
                (None, Some(_)) => None,
            };
            let mut part = self.set.open_part(task.plan_index, index)?;
            part.watch(self.stop.clone());
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
            // Said with the next rows, if there are any.
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
            // Before the part is finished: with the last one, the output is completed.
            self.set.slice_ended(task.plan_index)?;
            self.finish_part()?;
            order.advance(task);
            return Ok(());
        }
        self.set.slice_ended(task.plan_index)
    }

    fn finish(&mut self) -> Result<()> {
        self.finish_part()
    }

    fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn held_bytes(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.held_bytes())
    }

    fn working_bytes(&self, batch_bytes: usize) -> usize {
        self.part.as_ref().map_or(0, |part| part.working_bytes(batch_bytes))
    }

    fn flush(&mut self, is_needed: bool) -> Result<()> {
        // Where row groups end is part of what stays the same from run to run, as long as that is possible.
        if self.order.is_none() || is_needed {
            self.of_part(|part| part.flush())?;
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
        let of_part = self.part.as_ref().map(|part| part.times()).unwrap_or_default();
        let mut times = add(self.times, of_part);
        times.wait += self.waited;
        times
    }
}

/// Batches that leave their reader's thread, each with its share of the memory.
pub(crate) struct QueueOutlet<'a, F> {
    send: F,
    budget: &'a std::sync::Arc<Budget>,
    order: Option<Order<'a>>,
    task: Option<Task>,
    /// Batches whose turn has not come.
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    waited: Duration,
}

impl<'a, F: FnMut(RecordBatch, Lease) -> Result<()>> QueueOutlet<'a, F> {
    pub(crate) fn new(send: F, budget: &'a std::sync::Arc<Budget>, order: Option<Order<'a>>) -> Self {
        Self {
            send,
            budget,
            order,
            task: None,
            pending: Vec::new(),
            pending_bytes: 0,
            waited: Duration::ZERO,
        }
    }

    fn send(&mut self, batch: RecordBatch) -> Result<()> {
        let lease = self.budget.queued(batch.get_array_memory_size());
        let started = Instant::now();
        let result = (self.send)(batch, lease);
        self.waited += started.elapsed();
        result
    }

    fn send_pending(&mut self) -> Result<()> {
        self.pending_bytes = 0;
        std::mem::take(&mut self.pending).into_iter().try_for_each(|batch| self.send(batch))
    }
}

impl<F: FnMut(RecordBatch, Lease) -> Result<()>> Outlet for QueueOutlet<'_, F> {
    fn begin(&mut self, task: Task) -> Result<()> {
        self.task = Some(task);
        Ok(())
    }

    fn write(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        if self.is_turn() {
            self.send_pending()?;
            self.send(batch)?;
        } else {
            self.pending_bytes += batch.get_array_memory_size();
            self.pending.push(batch);
        }
        Ok(None)
    }

    fn end(&mut self) -> Result<()> {
        self.wait_for_turn()?;
        if let (Some(order), Some(task)) = (self.order, self.task) {
            order.advance(task);
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.pending_bytes
    }

    fn is_turn(&self) -> bool {
        match (self.order, self.task) {
            (Some(order), Some(task)) => order.is_turn(task),
            _ => true,
        }
    }

    fn wait_for_turn(&mut self) -> Result<()> {
        if let (Some(order), Some(task)) = (self.order, self.task) {
            let started = Instant::now();
            order.wait(task)?;
            self.waited += started.elapsed();
        }
        self.send_pending()
    }

    fn times(&self) -> SinkTimes {
        SinkTimes { wait: self.waited, ..SinkTimes::default() }
    }
}

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
    /// The callback is told the plan's index.
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
        // A second handle: if the callback keeps none, the buffers come back.
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
