//! A slice that is read by pages of a heap, in the order of its blocks; what pages cannot give comes by COPY in between.
//!
//! ```text
//!  blocks ─▶ window ─▶ COPY of its pages ─┬─ good ─▶ decoded as it arrives
//!                                         └─ from the first bad one on ─▶ kept until that COPY is over, then in order:
//!                                              bad ones ─▶ COPY of their rows by ctid     others ─▶ decoded
//! ```
//!
//! So rows come in the order in which COPY of the same range sends them, and a slice that is read again begins with the
//! same rows. A page is judged when it is here: those that were all-visible when they were planned need not be.

mod kept;

use std::sync::Arc;
use std::time::Instant;

use pgarrow_catalog::{Relation, relation_sizes};
use pgarrow_decode::CopyDecoder;
use pgarrow_heap::{FoundPages, PAGE_BYTES, PageAt, PageDecoder, PageStop, PageStream, Refusal};
use pgarrow_protocol::{CopyOutStep, Session};
use pgarrow_types::HeapLayout;

use crate::error::{Error, Result};
use crate::outlet::Outlet;
use crate::phases::Moment;
use crate::plan::Plan;
use crate::planner::{PageTable, PlannedSlice};
use crate::reader::{Attempt, Reader, broken, cancelled};
use crate::report::PagesTally;
use crate::slice::SliceRange;
use kept::KeptPages;

/// Pages that are asked for at once, at most: a statement costs as much as some ten of them, and all of them may have to
/// be kept.
const WINDOW_MAX: u64 = 1024;
/// The same where memory is short, and where it is not known whether pages are good.
const WINDOW_MIN: u64 = 32;

/// Pages whose rows come by COPY unseen, after a window that was mostly bad; twice as many after each such window.
const SPAN_MIN: u64 = 256;
const SPAN_MAX: u64 = 1 << 20;

/// Below this share of all-visible pages, nobody looks at the first pages of a table.
const VISIBLE_SHARE_MIN: f64 = 0.02;

/// Pages that are looked for at once among received bytes: no more of them fit the buffer.
const FOUND_MAX: usize = 64;

/// How the pages of one heap are read, across slices.
#[derive(Debug)]
pub(super) struct PageReading {
    oid: u32,
    layout: Arc<HeapLayout>,
    decoder: PageDecoder,
    /// Pages to ask for next.
    window: u64,
    /// Pages whose rows come by COPY before pages are asked for again.
    span: u64,
    /// The last window was mostly bad, or the next one is thought to be.
    is_bad: bool,
}

impl PageReading {
    fn new(relation: &Relation, table: PageTable<'_>, window_max: u64) -> Self {
        Self {
            oid: relation.oid,
            layout: Arc::clone(table.layout),
            decoder: PageDecoder::new(Arc::clone(table.layout)),
            window: WINDOW_MIN.max(window_max / 8),
            span: SPAN_MIN,
            is_bad: table.visible_share < VISIBLE_SHARE_MIN,
        }
    }

    /// Learns from a window of `n_pages`, of which so many came by COPY.
    fn learn(&mut self, n_pages: u64, n_copied: u64, window_max: u64) {
        self.is_bad = 2 * n_copied > n_pages;
        if n_copied == 0 {
            self.window = (2 * self.window).min(window_max);
            self.span = SPAN_MIN;
        } else if self.is_bad {
            self.window = WINDOW_MIN;
        }
    }
}

impl Reader<'_> {
    /// Reads a slice of relations of which some, at least, are read by pages.
    pub(super) fn read_pages(
        &mut self,
        session: &mut Session,
        plan: &Plan,
        slice: &PlannedSlice,
        decoder: &mut CopyDecoder,
        attempt: &mut Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        for (relation, only) in &slice.relations {
            let alone = PlannedSlice { relations: vec![(relation.clone(), *only)], ..slice.clone() };
            let Some(table) = plan.pages.of(relation) else {
                self.read_stream(session, plan, &plan.select(&alone), decoder, attempt, outlet)?;
                continue;
            };
            let (from, to) = match slice.range {
                SliceRange::Pages { from, to } => (from, to),
                SliceRange::Whole | SliceRange::Key { .. } => (0, None),
            };
            // No row of the snapshot is on a page that is not there yet.
            let to = match to {
                Some(to) => to,
                None => relation_sizes(session, &[relation.oid])?.first().map_or(0, |size| size.pages),
            };
            let mut reading = match self.pages.take() {
                Some(reading) if reading.oid == relation.oid && reading.layout == *table.layout => reading,
                _ => PageReading::new(relation, table, self.window_max()),
            };
            reading.decoder.restart();
            let mut heap = Heap { plan, relation, table, session, decoder, attempt, outlet, reader: self };
            heap.read(&mut reading, from, to)?;
            self.pages = Some(reading);
        }
        Ok(())
    }

    /// Pages that are asked for at once, at most: all of them may have to be kept.
    fn window_max(&self) -> u64 {
        let kept_bytes = self.shared.held_bytes_early / 2;
        ((kept_bytes / PAGE_BYTES) as u64).clamp(WINDOW_MIN, WINDOW_MAX)
    }
}

/// A heap that is being read, and with what.
struct Heap<'h, 'r> {
    reader: &'h mut Reader<'r>,
    plan: &'h Plan,
    relation: &'h Relation,
    table: PageTable<'h>,
    session: &'h mut Session,
    decoder: &'h mut CopyDecoder,
    attempt: &'h mut Attempt,
    outlet: &'h mut dyn Outlet,
}

impl Heap<'_, '_> {
    /// Reads the blocks from `from` to before `to`.
    fn read(&mut self, reading: &mut PageReading, from: u64, to: u64) -> Result<()> {
        let window_max = self.reader.window_max();
        let mut block = from;
        while block < to {
            if self.reader.shared.cancel.is_requested() {
                return Err(cancelled());
            }
            if reading.is_bad {
                let end = block.saturating_add(reading.span).min(to);
                self.copy((block, 0), end)?;
                self.tally().copied_with_others += end - block;
                reading.span = (2 * reading.span).min(SPAN_MAX);
                reading.is_bad = false;
                reading.window = WINDOW_MIN;
                block = end;
                continue;
            }
            let end = block.saturating_add(reading.window).min(to);
            let n_copied = self.read_window(reading, block, end)?;
            reading.learn(end - block, n_copied, window_max);
            block = end;
        }
        Ok(())
    }

    fn tally(&mut self) -> &mut PagesTally {
        &mut self.reader.tally.pages
    }

    /// Reads the rows from a line pointer of a page to before another page, by COPY.
    fn copy(&mut self, from: (u64, u16), to: u64) -> Result<()> {
        let select = self.plan.select_tids(self.relation, from, to);
        let Self { reader, plan, session, decoder, attempt, outlet, .. } = self;
        reader.read_stream(session, plan, &select, decoder, attempt, &mut **outlet)
    }

    /// Reads a window of blocks. Of how many the rows came by COPY.
    fn read_window(&mut self, reading: &mut PageReading, from: u64, to: u64) -> Result<u64> {
        let mut kept = KeptPages::default();
        self.receive_window(&mut reading.decoder, from, to, &mut kept)?;
        kept.check(&mut reading.decoder);
        let n_copied = self.read_kept(&mut reading.decoder, kept);
        self.reader.page_bytes = reading.decoder.allocated_bytes();
        n_copied
    }

    /// Receives the pages of a window, and decodes those before the first bad one.
    fn receive_window(
        &mut self,
        pages: &mut PageDecoder,
        from: u64,
        to: u64,
        kept: &mut KeptPages,
    ) -> Result<()> {
        let plan = self.plan;
        let block = |block: u64| u32::try_from(block).map_err(|_| broken(plan, "a heap of too many pages"));
        let mut found = PageStream::new(block(from)?, block(to)?);
        let select = self.table.access.select(self.relation, from, to);
        let Self { reader, relation, session, decoder, attempt, outlet, .. } = self;
        let of_pages =
            |error: pgarrow_protocol::Error| Error::from(error).context(format!("pages of {relation}"));
        attempt.stream_bytes = 0;
        let started = Moment::now();
        let sql = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        let mut stream = session.copy_out(&sql).map_err(of_pages)?;
        started.add_receiving(&mut reader.tally.phases);
        let mut places = Vec::with_capacity(FOUND_MAX);
        loop {
            loop {
                let there = found.find(stream.buffered(), FOUND_MAX, &mut places);
                let FoundPages { used_bytes, are_carried } = there.map_err(|what| broken(plan, what))?;
                if used_bytes == 0 {
                    break;
                }
                let bytes = if are_carried { found.carried() } else { stream.buffered() };
                let mut n_done = 0;
                while kept.is_empty() {
                    let started = Instant::now();
                    let rest = places.get(n_done..).unwrap_or_default();
                    let decoded = pages.decode(bytes, rest, decoder);
                    reader.tally.phases.decode += started.elapsed().as_secs_f64();
                    reader.tally.pages.read += decoded.pages as u64;
                    n_done += decoded.pages;
                    match decoded.stop {
                        PageStop::Done => break,
                        PageStop::BatchFull => {
                            reader.note(decoder, stream.bytes_received(), attempt);
                            reader.page_bytes = pages.allocated_bytes();
                            reader.hand_out(plan, decoder, attempt, &mut **outlet)?;
                        }
                        PageStop::Refused { from, why } => {
                            if let Some(page) = places.get(n_done) {
                                kept.keep(bytes, *page, Some((from, why)));
                            }
                            n_done += 1;
                        }
                    }
                }
                if !kept.is_empty() {
                    for page in places.get(n_done..).unwrap_or_default() {
                        kept.keep(bytes, *page, None);
                    }
                }
                stream.consume(used_bytes);
            }
            reader.note(decoder, stream.bytes_received(), attempt);
            reader.page_bytes = pages.allocated_bytes() + kept.allocated_bytes();
            reader.lease.set(reader.base_bytes(decoder) + reader.held_bytes);
            let started = Moment::now();
            let step = stream.advance().map_err(of_pages)?;
            started.add_receiving(&mut reader.tally.phases);
            if let CopyOutStep::Done { rows } = step {
                reader.note(decoder, stream.bytes_received(), attempt);
                if !found.is_complete() || rows != to - from {
                    return Err(broken(plan, "the server sent other pages than were asked for"));
                }
                return Ok(());
            }
        }
    }

    /// Reads the pages that were kept, in their order. Of how many the rows came by COPY.
    fn read_kept(&mut self, pages: &mut PageDecoder, mut kept: KeptPages) -> Result<u64> {
        let mut n_copied = 0;
        let mut first = 0;
        while let Some(page) = kept.page(first) {
            if let Some((from, why)) = page.refused {
                let end = kept.run_end(first);
                let n_pages = (end - first) as u64;
                for why in kept.refusals(first, end) {
                    self.count(why);
                }
                let block = u64::from(page.at.block);
                tracing::debug!(target: "pgarrow", block, n_pages, "by COPY: {why}");
                self.reader.page_bytes = pages.allocated_bytes() + kept.allocated_bytes();
                self.copy((block, from), block + n_pages)?;
                n_copied += n_pages;
                first = end;
                continue;
            }
            let places: Vec<PageAt> = kept.good_from(first);
            let mut n_done = 0;
            while n_done < places.len() {
                let started = Instant::now();
                let rest = places.get(n_done..).unwrap_or_default();
                let decoded = pages.decode(kept.bytes(), rest, self.decoder);
                self.reader.tally.phases.decode += started.elapsed().as_secs_f64();
                self.tally().read += decoded.pages as u64;
                n_done += decoded.pages;
                match decoded.stop {
                    PageStop::Done => {}
                    PageStop::BatchFull => {
                        let Self { reader, plan, decoder, attempt, outlet, .. } = &mut *self;
                        reader.note(decoder, attempt.stream_bytes, attempt);
                        reader.page_bytes = pages.allocated_bytes() + kept.allocated_bytes();
                        reader.hand_out(plan, decoder, attempt, &mut **outlet)?;
                    }
                    PageStop::Refused { from, why } => {
                        kept.refuse(first + n_done, from, why);
                        break;
                    }
                }
            }
            first += n_done;
        }
        Ok(n_copied)
    }

    fn count(&mut self, why: Option<Refusal>) {
        let pages = self.tally();
        match why {
            None => pages.copied_with_others += 1,
            Some(Refusal::NotAllVisible) => pages.copied_not_visible += 1,
            Some(Refusal::OutOfLine) => pages.copied_out_of_line += 1,
            Some(_) => pages.copied_unverified += 1,
        }
    }
}
