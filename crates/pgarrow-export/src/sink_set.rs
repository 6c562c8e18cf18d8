//! The sinks of a run: creation, sharing among the readers' parts, commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_sink::{PartWriter, Sink, SinkError, SinkWriter, Stop, Written};

use crate::complete::Completions;
use crate::plan::Plan;

/// Makes a plan's sink.
type MakeSink<'a> = dyn Fn(&Plan) -> Result<Box<dyn Sink>, SinkError> + Sync + 'a;

/// The sinks of a run: one for each plan.
pub(crate) struct SinkSet<'a> {
    slots: Vec<Mutex<Slot<'a>>>,
    /// Makes a sink when the first of its slices begins; `None` if all exist from the start.
    make: Option<&'a MakeSink<'a>>,
    plans: &'a [Arc<Plan>],
    /// Stops sinks that wait.
    stop: Stop,
    completions: Option<&'a Completions>,
    /// Sinks are made one after another.
    in_turn: bool,
}

#[derive(Default)]
struct Slot<'a> {
    sink: Option<SinkWriter<'a>>,
    n_parts: usize,
    n_slices_left: usize,
    rows: u64,
    written: Option<Written>,
    /// Its plan has failed: it is never completed.
    is_abandoned: bool,
}

impl<'a> SinkSet<'a> {
    /// One plan, one sink, which [`commit`](Self::commit) completes.
    pub(crate) fn one(plans: &'a [Arc<Plan>], sink: Box<dyn Sink + 'a>, stop: Stop) -> Self {
        let slot = Slot { sink: Some(SinkWriter::new(sink, stop.clone())), ..Slot::default() };
        Self { slots: vec![Mutex::new(slot)], make: None, plans, stop, completions: None, in_turn: false }
    }

    /// Many plans: each sink is made when it is needed, and completed after its last slice.
    pub(crate) fn many(
        plans: &'a [Arc<Plan>],
        make: &'a MakeSink<'a>,
        stop: Stop,
        completions: Option<&'a Completions>,
    ) -> Self {
        let slot =
            |plan: &Arc<Plan>| Mutex::new(Slot { n_slices_left: plan.slices().len(), ..Slot::default() });
        let slots = plans.iter().map(slot).collect();
        Self { slots, make: Some(make), plans, stop, completions, in_turn: false }
    }

    /// Each sink is made only when the one before is complete.
    pub(crate) fn in_turn(self, in_turn: bool) -> Self {
        Self { in_turn, ..self }
    }

    fn slot(&self, plan_index: usize) -> Result<MutexGuard<'_, Slot<'a>>> {
        let slot = self.slots.get(plan_index).and_then(|slot| slot.lock().ok());
        slot.ok_or_else(|| Error::new(ErrorKind::Sink, "another reader failed while it opened the output"))
    }

    /// The slot of a plan. Makes its sink if it does not exist yet.
    fn begun(&self, plan_index: usize, plan: &Plan) -> Result<MutexGuard<'_, Slot<'a>>> {
        let mut slot = self.slot(plan_index)?;
        if let (None, Some(make), false) = (&slot.sink, self.make, slot.is_abandoned) {
            slot.sink = Some(SinkWriter::new(make(plan)?, self.stop.clone()));
        }
        Ok(slot)
    }

    /// The bytes that each part of the widest plan should have. Makes its sink if it does not exist yet.
    pub(crate) fn part_bytes(&self) -> Result<usize> {
        if self.in_turn {
            return Ok(0);
        }
        let widest = self.plans.iter().enumerate().max_by_key(|(_, plan)| plan.columns.len());
        let Some((plan_index, plan)) = widest else { return Ok(0) };
        let slot = self.begun(plan_index, plan)?;
        Ok(slot.sink.as_ref().map_or(0, |sink| sink.part_bytes()))
    }

    pub(crate) fn open_part(&self, plan_index: usize, index: Option<usize>) -> Result<PartWriter<'a>> {
        let plan = self.plans.get(plan_index);
        let plan =
            plan.ok_or_else(|| Error::new(ErrorKind::Sink, "an output of no plan; please report it"))?;
        let mut slot = self.begun(plan_index, plan)?;
        let index = index.unwrap_or(slot.n_parts);
        let part = match &slot.sink {
            Some(sink) => sink.open_part(index)?,
            None => return Err(Error::new(ErrorKind::Sink, "the output is closed")),
        };
        slot.n_parts += 1;
        Ok(part)
    }

    pub(crate) fn slice_ended(&self, plan_index: usize) -> Result<()> {
        let mut slot = self.slot(plan_index)?;
        slot.n_slices_left = slot.n_slices_left.saturating_sub(1);
        Ok(())
    }

    /// Returns whether the plan's sink is complete now.
    pub(crate) fn part_finished(&self, plan_index: usize, rows: u64) -> Result<bool> {
        let mut slot = self.slot(plan_index)?;
        slot.rows += rows;
        let is_complete = slot.n_slices_left == 0
            && !slot.is_abandoned
            && slot.sink.as_ref().is_some_and(|sink| sink.open_parts() == 0);
        let completes = self.make.is_some() && is_complete;
        if completes {
            slot.written = slot.sink.take().map(|sink| sink.commit()).transpose()?;
            if let (Some(completions), Some(written)) = (self.completions, &slot.written) {
                completions.add(plan_index, written);
            }
        }
        Ok(completes)
    }

    /// The plan has failed: its output is dropped with the last of its parts, and not completed.
    pub(crate) fn abandon(&self, plan_index: usize) {
        if let Ok(mut slot) = self.slot(plan_index) {
            slot.is_abandoned = true;
            slot.sink = None;
        }
    }

    /// Whether each plan has a sink of its own, made when it is needed.
    pub(crate) fn is_of_many(&self) -> bool {
        self.make.is_some()
    }

    /// Rows that the parts have written, by plan.
    pub(crate) fn rows(&self) -> Result<Vec<u64>> {
        (0..self.slots.len())
            .map(|plan_index| self.slot(plan_index).map(|slot| if slot.is_abandoned { 0 } else { slot.rows }))
            .collect()
    }

    /// Completes the remaining sinks. Returns what was written, by plan.
    pub(crate) fn commit(self) -> Result<Vec<Written>> {
        let slots =
            self.slots.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        let commit = |slot: Slot<'_>| match (slot.sink, slot.written) {
            (sink, _) if slot.is_abandoned => {
                drop(sink);
                Ok(Written::default())
            }
            (Some(sink), _) => Ok(sink.commit()?),
            (None, Some(written)) => Ok(written),
            (None, None) => Err(Error::new(ErrorKind::Sink, "an output was never begun; please report it")),
        };
        slots.map(commit).collect()
    }
}
