//! The loop that reads one slice: receive, decode, hand out; and the checks at its end.
//!
//! ```text
//!  stream.buffered ─▶ decode ─┬─ BatchFull ─▶ hand out ─▶ outlet ─▶ the batch's buffers come back
//!                             ├─ LargeRow ──▶ ask for memory ─▶ received straight into its column
//!                             └─ NeedMore ──▶ memory tight? give away, wait ─▶ stream.advance
//! ```
//!
//! A slice that is read by pages of a heap consists of several such streams: see [`pages`].

mod pages;
mod rejected;
mod room;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use pgarrow_catalog::copy_and_ask_beside;
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder, Effects, LargeError, LargeSource, StopReason};
use pgarrow_protocol::{CopyOutStep, RowStream, Session};
use pgarrow_session::{Cancel, Error, ErrorKind, Pool, Pooled, Result, is_of_text};
use pgarrow_types::EncodingPolicy;

use crate::budget::{Budget, Lease};
use crate::complete::Completions;
use crate::memory_policy::Shares;
use crate::opened::{End, Opened};
use crate::options::{ExportOptions, ReadMode};
use crate::outlet::Outlet;
use crate::pages_tally::PagesTally;
use crate::phases::{Moment, Phases};
use crate::plan::{Plan, Task};
use crate::planner::PlannedSlice;
use crate::planner::select::find::Part;
use crate::progress::{Progress, Told};
use crate::proof::Proof;
use crate::reader_session::ReaderSession;
use crate::refusal::{decode_error, is_of_damage, stream_error};
use crate::reject::Rejects;
use rejected::SetAside;

/// The receive buffer of one session, which exists all the time.
const RECEIVE_BYTES: usize = 512 << 10;

/// Rows that a cursor fetches at a time.
const FETCH_ROWS: u32 = 10_000;

/// What the readers of a run have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunContext<'a> {
    pub(crate) plans: &'a [Arc<Plan>],
    pub(crate) proof: &'a Proof,
    pub(crate) options: &'a ExportOptions,
    pub(crate) read_mode: ReadMode,
    pub(crate) limits: BatchLimits,
    pub(crate) progress: &'a Progress,
    pub(crate) cancel: &'a Cancel,
    pub(crate) pooled: Pooled,
    pub(crate) pool: &'a Pool,
    pub(crate) completions: Option<&'a Completions>,
    pub(crate) rejects: Option<&'a Rejects>,
    /// A table that cannot be read does not end the run.
    pub(crate) keeps_going: bool,
    /// Tables are read one after another.
    pub(crate) in_turn: bool,
    /// A reader gives a lock up after a while, since the consumer of the rows may hold it.
    pub(crate) is_impatient: bool,
    pub(crate) budget: &'a Arc<Budget>,
    pub(crate) shares: Shares,
}

/// What one reader has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) phases: Phases,
    pub(crate) rows: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) slices: u64,
    pub(crate) redone: u64,
    /// Attempts to connect or to read that were made again.
    pub(crate) retries: u64,
    /// Row groups that ended early because memory was short.
    pub(crate) ended_early: u64,
    pub(crate) buffers_allocated: u64,
    pub(crate) buffers_reused: u64,
    pub(crate) pages: PagesTally,
}

/// One reader's decoder, memory and time.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    shared: RunContext<'a>,
    lease: Lease,
    /// The decoder of the last plan, with the plan's index.
    decoder: Option<(usize, CopyDecoder)>,
    held_bytes: usize,
    aside: SetAside,
    /// How pages of the last table are read,
    pages: Option<pages::PageReading>,
    /// and the memory that this takes.
    page_bytes: usize,
    /// What its session sees, as `pg_current_snapshot()` says it.
    snapshot: String,
    pub(crate) tally: Tally,
    /// Buffers of the decoders before this one: allocated, and reused.
    buffers_before: (u64, u64),
    /// What the run's progress knows of this reader.
    told: Told,
    /// What policies did to values in slices that were read whole: by plan, then by column.
    pub(crate) effects: BTreeMap<usize, Vec<Effects>>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// A slice being read.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) task: Task,
    /// Rows that went out in an earlier attempt and must not go out again.
    skip_rows: u64,
    /// Rows that went out, in all attempts.
    pub(crate) delivered_rows: u64,
    /// What this attempt added to the run's progress.
    rows: u64,
    rejected: u64,
    wire_bytes: u64,
    /// The bytes received of the current stream.
    stream_bytes: u64,
    /// What the last statement reads.
    part: Option<Part>,
    /// That statement is all of the slice: what is asked after the slice can be sent with it.
    is_whole: bool,
    /// After it, the server is asked what is open, and nothing else.
    ends_run: bool,
}

impl Attempt {
    pub(crate) fn new(task: Task) -> Self {
        Self {
            task,
            skip_rows: 0,
            delivered_rows: 0,
            rows: 0,
            rejected: 0,
            wire_bytes: 0,
            stream_bytes: 0,
            part: None,
            is_whole: false,
            ends_run: false,
        }
    }

    /// The same. `ends_run`: the proof is then right behind it, and the transaction ends with that.
    pub(crate) fn ending(task: Task, ends_run: bool) -> Self {
        Self { ends_run, ..Self::new(task) }
    }
}

impl Attempt {
    /// Notes what the next statement reads, for errors about its rows.
    fn reads(&mut self, slice: &PlannedSlice, tids: Option<((u64, u16), u64)>, decoder: &CopyDecoder) {
        self.part = Some(Part { slice: slice.clone(), tids, rows_before: rows_seen(decoder) });
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shared: RunContext<'a>) -> Self {
        let lease = shared.budget.reader();
        Self {
            shared,
            lease,
            decoder: None,
            held_bytes: 0,
            aside: SetAside::default(),
            pages: None,
            page_bytes: 0,
            snapshot: String::new(),
            tally: Tally::default(),
            buffers_before: (0, 0),
            told: Told::default(),
            effects: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    fn plan(&self, task: Task) -> Result<&'a Arc<Plan>> {
        let plan = self.shared.plans.get(task.plan_index);
        plan.ok_or_else(|| Error::new(ErrorKind::Protocol, "a slice of no plan; please report it"))
    }

    /// Reads one slice to its confirmed end and hands every batch to `outlet`. Returns the number of rows.
    ///
    /// Returns `Ok` only after the stream's own end, a tag with the number of decoded rows, and
    /// ReadyForQuery. A batch that was handed out before an error counts for nothing until the slice is read
    /// again.
    pub(crate) fn read(
        &mut self,
        reader: &mut ReaderSession,
        attempt: &mut Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<u64> {
        let plan = self.plan(attempt.task)?;
        let ReaderSession { session, opened, facts, .. } = reader;
        self.snapshot.clone_from(&facts.snapshot);
        self.shared.proof.before_slice(session, opened, plan.reads)?;
        // A failed attempt's counts are taken back.
        let Attempt { task, rows, rejected, wire_bytes, .. } = *attempt;
        self.shared.progress.take_back(task.plan_index, rows, rejected, wire_bytes);
        (attempt.rows, attempt.rejected, attempt.wire_bytes) = (0, 0, 0);
        attempt.skip_rows = attempt.delivered_rows;
        self.aside = SetAside::default();

        let mut decoder = self.take_decoder(plan, attempt.task.plan_index);
        let pages_before = self.tally.pages;
        let read = self.read_slice((session, opened), plan, &mut decoder, attempt, outlet);
        self.page_bytes = 0;
        if read.is_err() {
            self.tally.pages = pages_before;
        }
        // Any error after a cancel counts as its consequence.
        read.map_err(|error| match self.shared.cancel.is_requested() {
            true => self.shared.cancel.error(),
            // The server does not say which of many tables it means, and in errors about values it names no
            // table at all.
            false
                if error.kind() == ErrorKind::Server
                    && (self.shared.plans.len() > 1
                        || is_of_text(error.sqlstate())
                        || is_of_damage(error.sqlstate())) =>
            {
                error.context(&plan.subject)
            }
            false => error,
        })?;
        let n_rows = decoder.rows();
        if attempt.skip_rows > 0 {
            return Err(broken(plan, "a slice that was read again has fewer rows than before"));
        }
        self.hand_out_set_aside(plan, outlet)?;
        self.tally.rows += n_rows;
        self.tally.wire_bytes += attempt.wire_bytes;
        self.tally.slices += 1;
        self.tell(&decoder);
        let of_plan = self.effects.entry(attempt.task.plan_index).or_default();
        add_effects(of_plan, decoder.take_effects());
        self.decoder = Some((attempt.task.plan_index, decoder));
        Ok(n_rows)
    }

    /// The decoder of the previous slice, if that was of the same plan: it knows the sizes of values.
    fn take_decoder(&mut self, plan: &Plan, plan_index: usize) -> CopyDecoder {
        match self.decoder.take() {
            Some((before, mut decoder)) if before == plan_index => {
                decoder.restart();
                decoder
            }
            _ => {
                self.buffers_before = (self.tally.buffers_allocated, self.tally.buffers_reused);
                let columns =
                    plan.columns.iter().map(|column| make_column(&column.pg_type, &column.options, 0));
                let new = match self.shared.read_mode {
                    ReadMode::Select | ReadMode::Cursor => CopyDecoder::for_rows,
                    ReadMode::Auto | ReadMode::Copy | ReadMode::Pages => CopyDecoder::new,
                };
                let decoder = new(plan.schema.clone(), columns.collect(), self.shared.limits);
                if self.shared.rejects.is_some() { decoder.rejecting() } else { decoder }
            }
        }
    }

    fn read_slice(
        &mut self,
        (session, opened): (&mut Session, &mut Opened),
        plan: &Plan,
        decoder: &mut CopyDecoder,
        attempt: &mut Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        let slice = plan.slices.get(attempt.task.slice_index);
        let slice = slice.ok_or_else(|| broken(plan, "a slice that was not planned"))?;
        self.receive_as_chosen(session)?;
        match slice.relations.iter().any(|(relation, _)| plan.pages.of(relation).is_some()) {
            true => self.read_pages(session, plan, slice, decoder, attempt, outlet)?,
            false => {
                attempt.reads(slice, None, decoder);
                // Rows that are set aside are printed in between.
                attempt.is_whole = self.shared.rejects.is_none();
                self.read_stream(session, plan, &plan.select(slice), decoder, attempt, outlet)?;
            }
        }
        // Of very many relations, it is not asked behind the rows.
        let is_asked = attempt.ends_run && session.has_answer_behind();
        opened.end = if is_asked { End::Asked } else { End::Later };
        self.shared.proof.after_slice(session, opened, attempt.task.plan_index, plan)?;
        // Only now: the last batch goes out when it is certain that it is the last.
        self.hand_out(plan, decoder, attempt, outlet)
    }

    /// Reads the rows of one SELECT to their confirmed end and appends them to those already decoded.
    fn read_stream(
        &mut self,
        session: &mut Session,
        plan: &Plan,
        select: &str,
        decoder: &mut CopyDecoder,
        attempt: &mut Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        self.read_rows(session, plan, select, decoder, attempt, outlet)?;
        self.print_set_aside(session, plan, decoder, attempt, outlet)
    }

    fn read_rows(
        &mut self,
        session: &mut Session,
        plan: &Plan,
        select: &str,
        decoder: &mut CopyDecoder,
        attempt: &mut Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        decoder.continue_with_stream();
        let n_rows_before = rows_seen(decoder);
        attempt.stream_bytes = 0;
        let started = Moment::now();
        let opened: Result<Box<dyn RowStream + '_>, pgarrow_protocol::Error> = match self.shared.read_mode {
            ReadMode::Auto | ReadMode::Copy | ReadMode::Pages => {
                let sql = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
                let ends_run = attempt.ends_run;
                let asked = self.shared.proof.asks_after(plan, ends_run).filter(|_| attempt.is_whole);
                let stream = match asked {
                    Some(planned) => copy_and_ask_beside(session, &sql, planned, ends_run),
                    None => session.copy_out(&sql),
                };
                stream.map(|stream| Box::new(stream) as _)
            }
            ReadMode::Select => session.select_out(select).map(|stream| Box::new(stream) as _),
            ReadMode::Cursor => session.cursor_out(select, FETCH_ROWS).map(|stream| Box::new(stream) as _),
        };
        let mut stream = opened.map_err(|error| {
            let is_syntax = error.sqlstate() == Some("42601");
            let error = Error::from(error);
            match is_syntax {
                true => error
                    .advice("only what can stand in COPY (…) can be exported: SELECT, VALUES, TABLE, WITH"),
                false => error,
            }
        })?;
        started.add_receiving(&mut self.tally.phases);
        if stream.column_count() != plan.columns.len() {
            return Err(broken(plan, "the COPY stream has another number of columns than the plan"));
        }
        let stream = stream.as_mut();
        loop {
            let started = Instant::now();
            let decoded = decoder.decode(stream.buffered());
            let decoded = decoded.map_err(|error| decode_error(plan, attempt.part.as_ref(), error))?;
            self.tally.phases.decode += started.elapsed().as_secs_f64();
            stream.consume(decoded.used_bytes);
            if decoder.has_rejected() {
                self.set_aside(plan, decoder, attempt, outlet)?;
            }
            match decoded.stop {
                StopReason::BatchFull => {
                    // Before the batch goes out, so that its consumer finds it counted.
                    self.note(decoder, stream.bytes_received(), attempt);
                    self.hand_out(plan, decoder, attempt, outlet)?;
                    continue;
                }
                StopReason::LargeRow { bytes } => {
                    self.receive_large(plan, stream, decoder, bytes, attempt, outlet)?;
                    continue;
                }
                StopReason::NeedMore | StopReason::OtherMessage => {}
            }
            self.note(decoder, stream.bytes_received(), attempt);
            self.lease.set(self.base_bytes(decoder) + self.held_bytes);
            let started = Moment::now();
            let step = stream.advance();
            let step =
                step.map_err(|error| stream_error(plan, attempt.part.as_ref(), rows_seen(decoder), error))?;
            started.add_receiving(&mut self.tally.phases);
            if let CopyOutStep::Done { rows } = step {
                self.note(decoder, stream.bytes_received(), attempt);
                if !decoder.is_complete() {
                    return Err(broken(plan, "the COPY stream ended without its trailer"));
                }
                let n_rows = rows_seen(decoder) - n_rows_before;
                if n_rows != rows {
                    let what = format!("{n_rows} rows were decoded, but the server sent {rows}");
                    return Err(broken(plan, &what));
                }
                return Ok(());
            }
        }
    }

    /// Receives text without conversion, if the server is SQL_ASCII and a policy says what to do with bad
    /// text.
    fn receive_as_chosen(&self, session: &mut Session) -> Result<()> {
        let columns = || self.shared.plans.iter().flat_map(|plan| &plan.columns);
        let is_raw = session.parameter("server_encoding") == Some("SQL_ASCII")
            && columns().any(|column| column.options.encoding != EncodingPolicy::Error);
        if is_raw {
            session.receive_raw_text()?;
        }
        Ok(())
    }

    /// Updates the run's progress. `stream_bytes`: bytes received of the current stream.
    fn note(&self, decoder: &CopyDecoder, stream_bytes: u64, attempt: &mut Attempt) {
        let (rows, wire_bytes) = (decoder.rows(), stream_bytes - attempt.stream_bytes);
        self.shared.progress.add(attempt.task.plan_index, rows - attempt.rows, wire_bytes);
        attempt.wire_bytes += wire_bytes;
        (attempt.rows, attempt.stream_bytes) = (rows, stream_bytes);
    }

    /// Counts the decoder's buffers, and tells the run's progress of them and of what the reader waited for.
    fn tell(&mut self, decoder: &CopyDecoder) {
        let (reuse, (allocated, reused)) = (decoder.reuse(), self.buffers_before);
        self.tally.buffers_allocated = allocated + reuse.allocated;
        self.tally.buffers_reused = reused + reuse.reused;
        self.tell_last();
    }

    /// The same when there is no decoder any more.
    pub(crate) fn tell_last(&mut self) {
        let Tally { phases, buffers_allocated, buffers_reused, .. } = &self.tally;
        self.shared.progress.tell(&mut self.told, phases, (*buffers_allocated, *buffers_reused));
    }

    /// The memory besides batches that were handed out.
    fn base_bytes(&self, decoder: &CopyDecoder) -> usize {
        RECEIVE_BYTES + decoder.allocated_bytes() + self.page_bytes + self.aside.allocated_bytes()
    }

    fn hand_out(
        &mut self,
        plan: &Plan,
        decoder: &mut CopyDecoder,
        attempt: &mut Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        if self.shared.cancel.is_requested() {
            return Err(self.shared.cancel.error());
        }
        let started = Instant::now();
        let batch = decoder.flush().map_err(|error| decode_error(plan, attempt.part.as_ref(), error))?;
        self.tally.phases.decode += started.elapsed().as_secs_f64();
        let Some(batch) = batch else { return Ok(()) };
        let n_rows = batch.num_rows() as u64;
        if attempt.skip_rows >= n_rows {
            attempt.skip_rows -= n_rows;
            decoder.recycle(batch);
            return Ok(());
        }
        let batch = match usize::try_from(attempt.skip_rows) {
            Ok(skip @ 1..) => batch.slice(skip, batch.num_rows() - skip),
            _ => batch,
        };
        attempt.skip_rows = 0;
        attempt.delivered_rows += batch.num_rows() as u64;

        let batch_bytes = batch.get_array_memory_size();
        let base = self.base_bytes(decoder) + batch_bytes;
        self.make_room(plan, base + outlet.working_bytes(batch_bytes), base, outlet)?;
        let (started, before) = (Instant::now(), outlet.times());
        self.shared.progress.batch_handed_out();
        let returned = outlet.write(batch)?;
        self.tally.phases.add_sink(started.elapsed(), before, outlet.times());
        if let Some(batch) = returned {
            decoder.recycle(batch);
        }
        self.held_bytes = outlet.held_bytes();
        self.lease.set(self.base_bytes(decoder) + self.held_bytes);
        self.relieve(decoder, outlet)?;
        self.tell(decoder);
        Ok(())
    }

    fn receive_large(
        &mut self,
        plan: &Plan,
        stream: &mut dyn RowStream,
        decoder: &mut CopyDecoder,
        bytes: usize,
        attempt: &Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        let base = self.base_bytes(decoder);
        // The first thirty-second of it is copied as it grows.
        let received = bytes.saturating_add(bytes / 8);
        // It is received as a whole before it is decoded if it may be left out.
        let received = received + if self.shared.rejects.is_some() { bytes } else { 0 };
        self.make_room(plan, base + received + outlet.working_bytes(bytes), base, outlet)?;
        let mut source = ValueSource { stream, phases: &mut self.tally.phases };
        decoder.decode_large(&mut source).map_err(|error| match error {
            LargeError::Decode(error) => decode_error(plan, attempt.part.as_ref(), error),
            LargeError::Source(error) => error.into(),
        })
    }
}

/// Rows that the decoder has dealt with: decoded, or left out.
fn rows_seen(decoder: &CopyDecoder) -> u64 {
    decoder.rows() + decoder.rows_rejected()
}

/// Adds the effects of columns to the sums of the same columns.
pub(crate) fn add_effects(sums: &mut Vec<Effects>, effects: Vec<Effects>) {
    sums.resize(sums.len().max(effects.len()), Effects::default());
    sums.iter_mut().zip(effects).for_each(|(sum, more)| *sum += more);
}

/// Bytes that are received straight into their column.
struct ValueSource<'a, 'b> {
    stream: &'a mut dyn RowStream,
    phases: &'b mut Phases,
}

impl LargeSource for ValueSource<'_, '_> {
    type Error = pgarrow_protocol::Error;

    fn receive(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        let started = Moment::now();
        let received = self.stream.receive(target);
        started.add_receiving(self.phases);
        received
    }
}

pub(crate) fn mib(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

fn broken(plan: &Plan, what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("{}: {what}; the export is not complete", plan.subject))
}

/// A batch with its memory, on its way to another thread.
pub(crate) type Queued = (RecordBatch, Lease);
