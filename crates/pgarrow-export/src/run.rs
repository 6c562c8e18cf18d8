//! `Run`: a planned export in its transaction, ready to be read.
//!
//! ```text
//!  one plan        for_each, for_each_concurrently, into_stream, into_reader, write_to
//!  any number      for_each_with_plan, write_each
//! ```

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pgarrow_session::{Cancel, Error, ErrorKind, Holders, Result, ServerReport};
use pgarrow_sink::{Sink, SinkError};

use crate::answer::TextRows;
use crate::complete::Completions;
use crate::engine::{Engine, Job, stop};
use crate::file_report::FileReport;
use crate::held::HeldSnapshot;
use crate::keeper::Keeper;
use crate::outlet::{CallOutlet, SinkOutlet};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::reader::Queued;
use crate::report::Report;
use crate::sink_set::SinkSet;
use crate::slice::Slice;
use crate::stream::{BatchReader, BatchStream};
use crate::under::SharedSnapshot;

/// A planned export: its transaction is open, its snapshot taken, nothing read yet. It has one plan; for
/// [`Tables`](crate::Tables), one for each table.
///
/// Dropping it ends the transaction.
#[derive(Debug)]
pub struct Run {
    engine: Engine,
    /// The engine's first plan.
    plan: Arc<Plan>,
}

impl Run {
    /// # Errors
    ///
    /// Nothing was planned.
    pub(crate) fn new(engine: Engine) -> Result<Self> {
        match engine.job.plans.first().map(Arc::clone) {
            Some(plan) => Ok(Self { engine, plan }),
            None => Err(Error::new(ErrorKind::Protocol, "nothing was planned; please report it")),
        }
    }

    /// What will be read: a plan for each table, or one.
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.engine.job.plans
    }

    /// What will be read, if it is one table, query or slice. With several tables, the first.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The schema of the batches of [`plan`](Self::plan).
    pub fn schema(&self) -> &SchemaRef {
        self.plan.schema()
    }

    /// How far the run is. It can be watched from another thread.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.engine.job.progress
    }

    /// The snapshot that is read, as `pg_current_snapshot()` prints it.
    pub fn snapshot(&self) -> &str {
        &self.engine.keeper.reader.facts.snapshot
    }

    /// The cancel that stops it.
    pub fn cancel(&self) -> &Cancel {
        &self.engine.job.cancel
    }

    /// How many connections will read at once.
    pub fn readers(&self) -> usize {
        self.engine.job.n_readers()
    }

    /// Runs one statement under the snapshot, in the session that holds it, and returns its rows as
    /// [`Source::query_text`](crate::Source::query_text) does. The statement must not change anything.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for more than one statement, and for one that would
    /// end the transaction, such as COMMIT: it does not reach the server. The server refuses it, or the
    /// connection is lost. Then the run is over: its transaction has failed.
    pub fn query_text(&mut self, sql: &str) -> Result<TextRows> {
        self.engine.query_text(sql)
    }

    /// The server.
    pub fn server(&self) -> ServerReport {
        self.engine.keeper.reader.facts.server()
    }

    /// The sessions that hold what is read.
    pub fn holders(&self) -> Holders {
        let Engine { keeper, job } = &self.engine;
        Holders::new(keeper.reader.facts.server_start.clone(), keeper.backend_pids(), job.impatient.clone())
    }

    /// The slices as tokens, which [`Source::slice`](crate::Source::slice) reads, in other processes too:
    /// as long as this run is [held](Self::into_held).
    ///
    /// # Errors
    ///
    /// The server exports no snapshot.
    pub fn slices(&mut self) -> Result<Vec<Slice>> {
        self.engine.slices()
    }

    /// The snapshot for others who read the same tables ([`Tables::under`](crate::Tables::under)), as long as
    /// this run is not over.
    ///
    /// # Errors
    ///
    /// The server exports no snapshot; or each reader has one of its own.
    pub fn shared_snapshot(&mut self) -> Result<SharedSnapshot> {
        self.engine.shared_snapshot()
    }

    /// Holds transaction, locks and snapshot, for others who read the [`slices`](Self::slices). Reads
    /// nothing.
    pub fn into_held(self) -> HeldSnapshot {
        HeldSnapshot::of(self.engine)
    }

    /// [Holds](Self::into_held) the snapshot as long as `until` returns true, and checks once a second that
    /// it still exists. `until` is called a few times a second.
    ///
    /// # Errors
    ///
    /// The connection was lost, and with it the snapshot; or the run was cancelled.
    pub fn hold(self, until: impl FnMut() -> bool) -> Result<()> {
        let mut held = self.into_held();
        held.hold_while(until)?;
        held.release()
    }

    /// Reads everything and hands every batch to `consume`, in the calling thread. If `consume` panics, the
    /// panic resumes here after all readers have ended.
    ///
    /// # Errors
    ///
    /// Whatever stops the reading, or `consume`. Batches handed out before are then not the whole result.
    /// [`ErrorKind::Options`] if there are several plans: [`for_each_with_plan`](Self::for_each_with_plan)
    /// reads several.
    pub fn for_each(self, mut consume: impl FnMut(RecordBatch) -> Result<()>) -> Result<Report> {
        self.check_single(CALL_WITH_PLAN)?;
        let Engine { keeper, job } = self.engine;
        let setup = job.setup(0, job.cancel.child())?;
        if setup.n_readers() == 1 {
            let mut outlet = CallOutlet::new(&mut consume);
            return job.read_alone(keeper, &setup, &mut outlet)?.report(&job, Vec::new());
        }
        // One batch for each reader may wait; its memory counts until it is consumed.
        let (sender, receiver) = mpsc::sync_channel::<Option<Queued>>(setup.n_readers());
        let send = |batch, lease| sender.send(Some((batch, lease))).map_err(|_| job.cancel.error());
        let set = job.channel(&setup, &send);
        let make = |reader_index| SinkOutlet::new(&set, setup.order(), reader_index);
        let mut keeper = keeper;
        job.share_snapshot(&mut keeper)?;
        let crew = job.crew(&setup);
        let ran = crew.run(
            keeper,
            setup.n_readers(),
            &make,
            || {
                // There is no receiver any more if `consume` has failed.
                let _ = sender.send(None);
            },
            || {
                while let Ok(Some((batch, lease))) = receiver.recv() {
                    if let Err(error) = consume(batch) {
                        crew.fail(error);
                        break;
                    }
                    drop(lease);
                }
                drop(receiver);
            },
        );
        let (mut keeper, watched) = ran?;
        if crew.has_rest() {
            let mut outlet = CallOutlet::new(&mut consume);
            crew.work_alone(&mut keeper, &mut outlet);
        }
        job.finish(keeper, crew.done(watched)?, &setup)?.report(&job, Vec::new())
    }

    /// Reads everything and hands every batch to `consume`, in the thread of the reader that decoded it:
    /// several at once, and no batch moves to another thread. If `consume` panics, the panic resumes in the
    /// calling thread after all readers have ended.
    ///
    /// # Errors
    ///
    /// As for [`for_each`](Self::for_each).
    pub fn for_each_concurrently(self, consume: impl Fn(RecordBatch) -> Result<()> + Sync) -> Result<Report> {
        self.check_single(CALL_WITH_PLAN)?;
        if self.engine.job.options.ordered {
            return Err(refused("batches in order come one after another: use for_each"));
        }
        self.for_each_with_plan(|_, batch| consume(batch))
    }

    /// Reads everything and hands every batch to `consume`, with the index of its plan in
    /// [`plans`](Self::plans), in the thread of the reader that decoded it: several at once. If `consume`
    /// panics, the panic resumes in the calling thread after all readers have ended.
    ///
    /// # Errors
    ///
    /// Whatever stops the reading, or `consume`. Batches handed out before are then not the whole result.
    /// [`ErrorKind::Options`] if the options ask for an order.
    pub fn for_each_with_plan(
        self,
        consume: impl Fn(usize, RecordBatch) -> Result<()> + Sync,
    ) -> Result<Report> {
        let Engine { keeper, job } = self.engine;
        if job.options.ordered {
            return Err(refused(
                "batches come as they are read: leave out the order, or, for one table, call for_each",
            ));
        }
        let setup = job.setup(0, job.cancel.child())?;
        let make = |_| CallOutlet::of_plans(&consume);
        job.read(keeper, &setup, &make)?.report(&job, Vec::new())
    }

    /// Starts reading, in threads of its own, as an async stream for any runtime.
    ///
    /// # Errors
    ///
    /// No thread can be started. [`ErrorKind::Options`] if there are several plans, since a stream has one
    /// schema.
    pub fn into_stream(self) -> Result<BatchStream> {
        self.check_single(
            "a stream has one schema; open each by itself, call for_each_with_plan, which gives each batch its \
             plan's index, or write_each",
        )?;
        let (plan, progress) = (Arc::clone(&self.plan), Arc::clone(self.progress()));
        let (cancel, n_readers) = (self.cancel().clone(), self.readers());
        let Engine { keeper, job } = self.engine;
        BatchStream::start(plan, progress, cancel, n_readers, move |send| {
            let setup = job.setup(0, job.cancel.child())?;
            let set = job.channel(&setup, send);
            let make = |reader_index| SinkOutlet::new(&set, setup.order(), reader_index);
            job.read(keeper, &setup, &make)?.report(&job, Vec::new())
        })
    }

    /// Starts reading, in threads of its own, as an iterator that blocks for each batch.
    ///
    /// # Errors
    ///
    /// As for [`into_stream`](Self::into_stream).
    pub fn into_reader(self) -> Result<BatchReader> {
        Ok(BatchReader::new(self.into_stream()?))
    }

    /// Reads everything into a sink and commits it. The sink's schema must be [`schema`](Self::schema).
    ///
    /// The output appears only if everything went well, up to the end of the transaction on the server.
    ///
    /// # Errors
    ///
    /// Whatever stops the reading or the writing. No output is left then. [`ErrorKind::Options`] if there are
    /// several plans: [`write_each`](Self::write_each) writes several.
    pub fn write_to(self, sink: Box<dyn Sink>) -> Result<Report> {
        self.check_single("a sink takes the rows of one; call write_each, which makes a sink for each")?;
        let Engine { keeper, job } = self.engine;
        let cancel = job.cancel.child();
        let set = SinkSet::one(&job.plans, sink, stop(&cancel));
        write(&job, keeper, set, cancel)
    }

    /// Reads every plan into the sink that `make` makes for it when its first slice begins. A sink is
    /// committed after its last slice.
    ///
    /// For outputs that appear all at once, their sinks belong to one
    /// [`OutputFolder`](pgarrow_sink::OutputFolder), which the caller publishes afterwards.
    ///
    /// # Errors
    ///
    /// Whatever stops the reading or the writing. Sinks that were committed before are complete.
    pub fn write_each(
        self,
        make: impl Fn(&Plan) -> Result<Box<dyn Sink>, SinkError> + Sync,
    ) -> Result<Report> {
        let Engine { keeper, job } = self.engine;
        let cancel = job.cancel.child();
        let set = SinkSet::many(&job.plans, &make, stop(&cancel), job.completions.as_ref());
        let set = set.in_turn(job.in_turn);
        write(&job, keeper, set, cancel)
    }

    /// Calls `note` for each table of [`write_each`](Self::write_each) that is complete while others are
    /// still read: its sink is committed, and its rows are the snapshot's, also if the run fails afterwards.
    /// Tables that end together with the run are not noted.
    ///
    /// Each slice is proven by itself then, with one more question to the server, or up to three. `note` runs
    /// in the thread that holds the snapshot, and must not wait.
    #[must_use]
    pub fn on_complete(mut self, note: impl Fn(&Plan, &[FileReport]) + Send + Sync + 'static) -> Self {
        self.engine.job.completions = Some(Completions::new(note));
        self.engine.job.proof.prove_each_slice();
        self
    }

    /// Hands rows that are left out ([`ExportOptions::with_reject`](crate::ExportOptions::with_reject)) to
    /// `receive`, as batches of [`reject_schema`](crate::reject_schema), in the thread of the reader that
    /// read them: one call at a time, when their slice is complete. Without it, they are only counted.
    ///
    /// They are final when the run has succeeded; until then, they may be of a table that fails. An error of
    /// `receive` ends the run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if the run leaves out no rows.
    pub fn on_reject(self, receive: impl FnMut(&RecordBatch) -> Result<()> + Send + 'static) -> Result<Self> {
        match &self.engine.job.rejects {
            Some(rejects) => rejects.set_receiver(Box::new(receive)),
            None => return Err(refused("this export rejects no rows")),
        }
        Ok(self)
    }

    /// Lets [`write_each`](Self::write_each) go on when a table cannot be read, since a value does not fit or
    /// the server refuses it. Such a table has no output; [`Report::failed`] names it. What breaks
    /// connections, or is about the outputs, still ends the run.
    ///
    /// There is one connection more: the one that holds the snapshot does not read.
    #[must_use]
    pub fn keep_going(mut self) -> Self {
        self.engine.job.keeps_going = true;
        self
    }

    /// Lets [`write_each`](Self::write_each) make each table's sink only when that of the table before is
    /// complete, in the order of [`plans`](Self::plans): for outputs that take one table after another, such
    /// as a transaction of another server. All readers read one table, then the next. The sinks hold little
    /// memory themselves ([`Sink::part_bytes`] is not asked).
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        self.engine.job.in_turn = true;
        self
    }

    /// Refuses calls for a single plan if there are several, and says why and what to call.
    fn check_single(&self, instead: &str) -> Result<()> {
        match self.plans() {
            [_] => Ok(()),
            plans => Err(refused(&format!("{} tables are read under one snapshot: {instead}", plans.len()))),
        }
    }
}

/// Advice for calls that hand out batches of several plans.
const CALL_WITH_PLAN: &str =
    "their batches differ; call for_each_with_plan, which gives each batch its plan's index";

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}

/// `cancel` stops the readers, and the sinks of the set.
fn write(job: &Job, keeper: Keeper, set: SinkSet<'_>, cancel: Cancel) -> Result<Report> {
    let setup = job.setup(set.part_bytes()?, cancel)?;
    let make = |reader_index| {
        let outlet = SinkOutlet::new(&set, setup.order(), reader_index).in_line(setup.line());
        outlet.with_share(setup.part_share())
    };
    let mut finished = job.read(keeper, &setup, &make)?;
    if job.cancel.is_requested() {
        return Err(job.cancel.error());
    }
    let written_rows = set.rows()?;
    if written_rows != finished.done.rows {
        let (read, written) = (finished.done.rows.iter().sum::<u64>(), written_rows.iter().sum::<u64>());
        let text = format!("{read} rows were read, but {written} written; please report it");
        return Err(Error::new(ErrorKind::Sink, text));
    }
    let started = Instant::now();
    let written = set.commit()?;
    finished.done.warnings.extend(written.iter().flat_map(|written| written.warnings.iter().cloned()));
    finished.phases.commit += started.elapsed().as_secs_f64();
    finished.report(job, written)
}
