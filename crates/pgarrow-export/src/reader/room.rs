//! Room for the next rows: what a reader does when memory is short.

use std::time::Instant;

use pgarrow_decode::CopyDecoder;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::{Hint, message};

use crate::budget::NoRoom;
use crate::memory_policy::Level;
use crate::outlet::Outlet;
use crate::plan::Plan;
use crate::reader::{Reader, mib};

impl Reader<'_> {
    /// Reacts to short memory: smaller batches, row groups that end early, waiting.
    pub(super) fn relieve(&mut self, decoder: &mut CopyDecoder, outlet: &mut dyn Outlet) -> Result<()> {
        let level = self.shared.budget.level();
        if !self.shared.limits.exact {
            decoder.set_batch_bytes(self.shared.shares.batch_bytes_at(level));
        }
        let is_turn = outlet.is_turn();
        if level == Level::Calm && (is_turn || self.shared.budget.has(self.shared.shares.turn_reserve)) {
            return Ok(());
        }
        if !is_turn {
            // The slices before this one get the rest of the memory.
            let (started, before) = (Instant::now(), outlet.times());
            outlet.wait_for_turn()?;
            self.tally.phases.add_sink(started.elapsed(), before, outlet.times());
        } else if self.shared.shares.ends_early(self.held_bytes, level) {
            self.end_early(outlet, false)?;
        }
        self.held_bytes = outlet.held_bytes();
        self.lease.set(self.base_bytes(decoder) + self.held_bytes);
        let started = Instant::now();
        if self.lease.wait_for_calm(self.shared.cancel) {
            self.tally.phases.wait_for_memory += started.elapsed().as_secs_f64();
        }
        Ok(())
    }

    /// Makes the outlet pass on what it holds.
    pub(super) fn end_early(&mut self, outlet: &mut dyn Outlet, is_needed: bool) -> Result<()> {
        let (started, before) = (Instant::now(), outlet.times());
        outlet.flush(is_needed)?;
        self.tally.phases.add_sink(started.elapsed(), before, outlet.times());
        self.tally.ended_early += u64::from(outlet.held_bytes() < self.held_bytes);
        self.held_bytes = outlet.held_bytes();
        Ok(())
    }

    /// Reserves `needed` bytes besides what the outlet holds; the outlet passes that on first if memory is
    /// short.
    pub(super) fn make_room(
        &mut self,
        plan: &Plan,
        needed: usize,
        base: usize,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if !self.lease.fits(needed + self.held_bytes) {
            if !outlet.is_turn() {
                let (started, before) = (Instant::now(), outlet.times());
                outlet.wait_for_turn()?;
                self.tally.phases.add_sink(started.elapsed(), before, outlet.times());
            }
            self.end_early(outlet, true)?;
            // While the reader waits, its lease covers what it has, not what it asks for.
            self.lease.set(base + self.held_bytes);
        }
        let started = Instant::now();
        let grown = self.lease.grow(needed + self.held_bytes, self.shared.cancel);
        self.tally.phases.wait_for_memory += started.elapsed().as_secs_f64();
        grown.map_err(|why| match why {
            NoRoom::Cancelled => self.shared.cancel.error(),
            NoRoom::TooLarge => {
                let (needed, budget) = (needed + self.held_bytes, self.shared.budget);
                let text = format!(
                    "{}: the next rows need {} MiB of memory at once, and {} {} MiB",
                    plan.subject,
                    mib(needed),
                    match needed > budget.limit_max() {
                        true => "the limit is",
                        false => "of the memory that runs share this one has",
                    },
                    mib(budget.limit())
                );
                Error::new(ErrorKind::Options, text).advice(message![
                    "allow more memory (",
                    Hint::memory(needed),
                    "), or leave out the largest columns"
                ])
            }
        })
    }
}
