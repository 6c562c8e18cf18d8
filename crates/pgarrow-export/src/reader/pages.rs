//! Reads a slice by pages of a heap, in the order of its blocks. Rows that pages cannot give come by COPY in
//! between.
//!
//! ```text
//!  blocks ─▶ window ─▶ COPY of its pages ─┬─ good ─▶ decoded as it arrives
//!                                         └─ from the first bad one ─▶ kept until the COPY ends, in order:
//!                                              bad ones ─▶ COPY of their rows by ctid     others ─▶ decoded
//! ```
//!
//! So rows come in the order in which COPY of the same range sends them, and a slice that is read again
//! begins with the same rows. A page is judged after it has arrived: a page that was all-visible during
//! planning may not be so any more.
//!
//! A superuser also gets pages that are not all-visible, and their rows are judged by the snapshot. Where
//! that is mostly in vain, only their headers are asked for.

mod kept;
mod reading;

use std::time::Instant;

use pgarrow_catalog::{Relation, RelationKind, relation_sizes};
use pgarrow_decode::CopyDecoder;
use pgarrow_heap::{FoundPages, PAGE_BYTES, PageAt, PageDecoder, PageStop, PageStream, Refusal};
use pgarrow_protocol::{CopyOutStep, Session, TransactionStatus};
use pgarrow_session::{Error, Result};

use crate::outlet::Outlet;
use crate::pages_tally::PagesTally;
use crate::phases::Moment;
use crate::plan::Plan;
use crate::planner::{PageTable, PlannedSlice};
use crate::reader::{Attempt, Reader, broken};
use crate::slice::SliceRange;
use kept::KeptPages;
pub(crate) use reading::PageReading;
use reading::{WINDOW_MAX, WINDOW_MIN};

/// A reader that waits here for a lock waits for a session that waits for the keeper: no deadlock detection
/// would see it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'";

const SAVEPOINT: &str = "SAVEPOINT pgarrow_pages";
const RELEASE: &str = "RELEASE SAVEPOINT pgarrow_pages";
/// The savepoint stays where it is.
const ROLLBACK: &str = "ROLLBACK TO SAVEPOINT pgarrow_pages";

/// The most pages that one search finds in the received bytes: no more fit the buffer.
const FOUND_MAX: usize = 64;

/// The most bytes that a read of pages waits for. Measured: the server is quicker with pages than with rows,
/// and waits for 256 KiB cost up to 12 % of the time of two readers. Waits for 64 KiB gain nothing more, but
/// wake a single reader so often that it takes a sixth more CPU.
const AT_ONCE_BYTES: usize = 96 * 1024;

impl Reader<'_> {
    /// Reads a slice of relations; at least one is read by pages.
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
            attempt.reads(&alone, None, decoder);
            let Some(table) = plan.pages.of(relation) else {
                self.read_stream(session, plan, &plan.select(&alone), decoder, attempt, outlet)?;
                continue;
            };
            let mut reading = match self.pages.take() {
                Some(reading) if reading.is_of(relation, table, &self.snapshot) => reading,
                _ => PageReading::new(relation, table, self.window_max(), &self.snapshot),
            };
            if relation.kind == RelationKind::MaterializedView && reading.locked_by != session.backend_pid() {
                // LOCK refuses materialized views. Reading a page locks the view only for that moment, so a
                // session that waits to refresh the view would come in between.
                session.execute(LOCK_TIMEOUT)?;
                session.query(&format!("SELECT FROM ONLY {} LIMIT 0", relation.quoted()), &[])?;
                reading.locked_by = session.backend_pid();
            }
            let (from, to) = match slice.range {
                SliceRange::Pages { from, to } => (from, to),
                SliceRange::Whole | SliceRange::Key { .. } => (0, None),
            };
            // No row of the snapshot is on a page that is added later.
            let to = match to {
                Some(to) => to,
                None => relation_sizes(session, &[relation.oid])?.first().map_or(0, |size| size.pages),
            };
            reading.decoder.restart();
            let mut heap =
                Heap { plan, relation, alone, table, session, decoder, attempt, outlet, reader: self };
            heap.session.execute(SAVEPOINT)?;
            heap.read(&mut reading, from, to)?;
            heap.session.execute(RELEASE)?;
            self.pages = Some(reading);
        }
        Ok(())
    }

    /// The most pages in one window: all of them may have to be kept.
    fn window_max(&self) -> u64 {
        let kept_bytes = self.shared.shares.part_bytes / 2;
        ((kept_bytes / PAGE_BYTES) as u64).clamp(WINDOW_MIN, WINDOW_MAX)
    }
}

/// A window whose pages were received.
struct Window {
    /// The block after the last page that was received.
    next: u64,
    end: u64,
    /// The error of the server or the connection that ended the window.
    failed: Option<pgarrow_protocol::Error>,
}

/// A heap that is being read, and with what.
struct Heap<'h, 'r> {
    reader: &'h mut Reader<'r>,
    plan: &'h Plan,
    relation: &'h Relation,
    /// The part of the slice that belongs to this heap.
    alone: PlannedSlice,
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
                return Err(self.reader.shared.cancel.error());
            }
            if reading.is_refused {
                self.copy((block, 0), to)?;
                self.tally().copied_with_others += to - block;
                return Ok(());
            }
            if reading.is_bad {
                let end = block.saturating_add(reading.span).min(to);
                self.copy((block, 0), end)?;
                self.tally().copied_with_others += end - block;
                reading.skip(end - block);
                block = end;
                continue;
            }
            let end = block.saturating_add(reading.window).min(to);
            let undecided_before = self.tally().copied_undecided;
            let n_copied = self.read_window(reading, block, end)?;
            let n_undecided = self.tally().copied_undecided - undecided_before;
            reading.learn(end - block, n_copied, n_undecided, window_max);
            block = end;
        }
        Ok(())
    }

    /// Continues by COPY after the server refused a page: rolls the transaction back to the savepoint first.
    fn go_on_without(
        &mut self,
        reading: &mut PageReading,
        kept: &KeptPages,
        (next, end): (u64, u64),
        error: pgarrow_protocol::Error,
    ) -> Result<()> {
        let relation = self.relation;
        // Cancelled by the user, or by a timeout that holds for COPY, too.
        const QUERY_CANCELED: &str = "57014";
        let is_of_pages = error.kind() == pgarrow_protocol::ErrorKind::Server
            && error.sqlstate() != Some(QUERY_CANCELED)
            && self.session.transaction_status() == TransactionStatus::Failed;
        if !is_of_pages {
            return Err(Error::from(error).context(format!("pages of {relation}")));
        }
        self.session.execute(ROLLBACK)?;
        reading.is_refused = true;
        self.reader.warnings.push(format!(
            "{relation}: the server handed out no more pages, so the rest came by COPY: {error}"
        ));
        let from = match kept.page(0) {
            Some(page) => (u64::from(page.at.block), page.refused.map_or(0, |(from, _)| from)),
            None => (next, 0),
        };
        self.copy(from, end)?;
        self.tally().copied_with_others += end - from.0;
        Ok(())
    }

    fn tally(&mut self) -> &mut PagesTally {
        &mut self.reader.tally.pages
    }

    /// Reads the rows from a line pointer of a page to before another page, by COPY.
    fn copy(&mut self, from: (u64, u16), to: u64) -> Result<()> {
        let select = self.plan.select_tids(self.relation, from, to);
        let alone = self.alone.clone();
        self.attempt.reads(&alone, Some((from, to)), self.decoder);
        let Self { reader, plan, session, decoder, attempt, outlet, .. } = self;
        reader.read_stream(session, plan, &select, decoder, attempt, &mut **outlet)
    }

    /// Reads a window of blocks. Returns the number of pages whose rows came by COPY.
    fn read_window(&mut self, reading: &mut PageReading, from: u64, to: u64) -> Result<u64> {
        let mut kept = KeptPages::default();
        let window = self.receive_window(reading, from, to, &mut kept)?;
        if let Some(error) = window.failed {
            self.go_on_without(reading, &kept, (window.next, window.end), error)?;
            return Ok(0);
        }
        kept.check(&mut reading.decoder);
        let gap = reading.gap();
        let n_copied = self.read_kept(&mut reading.decoder, kept, gap);
        self.reader.page_bytes = reading.decoder.allocated_bytes();
        n_copied
    }

    /// Receives the pages of a window, and decodes those before the first bad one.
    fn receive_window(
        &mut self,
        reading: &mut PageReading,
        from: u64,
        to: u64,
        kept: &mut KeptPages,
    ) -> Result<Window> {
        let judges = reading.judges();
        let PageReading { decoder: pages, statement, .. } = reading;
        let plan = self.plan;
        let block = |block: u64| u32::try_from(block).map_err(|_| broken(plan, "a heap of too many pages"));
        let mut found = PageStream::new(block(from)?, block(to)?);
        let select = self.table.access.select(self.relation, from, to, judges);
        let Self { reader, session, decoder, attempt, outlet, .. } = self;
        attempt.stream_bytes = 0;
        let (started, began) = (Moment::now(), Instant::now());
        let sql = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        let opened = session.copy_out(&sql);
        started.add_receiving(&mut reader.tally.phases);
        *statement = (*statement).min(began.elapsed());
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => return Ok(Window { next: from, end: to, failed: Some(error) }),
        };
        let mut places = Vec::with_capacity(FOUND_MAX);
        // Of a short one, nothing is known: it may be all headers.
        let is_long = to - from > WINDOW_MIN;
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
                    reader.tally.pages.judged += decoded.judged as u64;
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
            if is_long {
                // Never for more than will come, or the end of the window would come late (by the moment of a
                // wait, where TLS has decrypted more than is here).
                let to_come = found.bytes_to_come().saturating_sub(stream.buffered().len());
                stream.want_at_once(to_come.min(AT_ONCE_BYTES));
            }
            let started = Moment::now();
            let step = stream.advance();
            started.add_receiving(&mut reader.tally.phases);
            match step {
                Ok(CopyOutStep::Data) => {}
                Ok(CopyOutStep::Done { rows }) => {
                    reader.note(decoder, stream.bytes_received(), attempt);
                    if !found.is_complete() || rows != to - from {
                        return Err(broken(plan, "the server sent other pages than were asked for"));
                    }
                    return Ok(Window { next: to, end: to, failed: None });
                }
                Err(error) => {
                    return Ok(Window { next: found.next_block().into(), end: to, failed: Some(error) });
                }
            }
        }
    }

    /// Reads the kept pages in order. Returns the number of pages whose rows came by COPY.
    fn read_kept(&mut self, pages: &mut PageDecoder, mut kept: KeptPages, gap: usize) -> Result<u64> {
        let mut n_copied = 0;
        let mut first = 0;
        while let Some(page) = kept.page(first) {
            if let Some((from, why)) = page.refused {
                let end = kept.run_end(first, gap);
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
                self.tally().judged += decoded.judged as u64;
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
            Some(Refusal::Undecided) => pages.copied_undecided += 1,
            Some(Refusal::OutOfLine) => pages.copied_out_of_line += 1,
            Some(_) => pages.copied_unverified += 1,
        }
    }
}
