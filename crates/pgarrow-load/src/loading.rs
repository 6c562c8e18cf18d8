//! `Loading`: an open load, in its own transaction or in one of the caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use pgarrow_catalog::RelationName;
use pgarrow_protocol::{Answer, Session};
use pgarrow_session::{AttachedSession, Cancel, Error, ErrorKind, Result};
use pgarrow_types::Message;

use crate::ahead;
use crate::arrival::insert_from_staging;
use crate::batchwise::{Batchwise, restarted};
use crate::end::End;
use crate::hidden::sweep;
use crate::lane::{Lane, LaneContext};
use crate::load::{Load, Place};
use crate::marks::{self, Mark};
use crate::options::{LoadMode, LoadOptions};
use crate::own_locks::tell_of_earlier_locks;
use crate::owner::Owner;
use crate::pipe::Pipe;
use crate::plan::{self, LoadPlan};
use crate::progress::LoadProgress;
use crate::reject::Sieve;
use crate::report::{LoadColumnReport, LoadReport};
use crate::sink::LoadSink;
use crate::target::{self, TargetTable};
use crate::transaction::{begin, server_error, with_outcome};
use crate::writers::{self, OpenWriters, Senders};

/// A load that is planned: its transaction is open, the table locked, COPY begun (or INSERT possible).
///
/// Dropping it leaves the target as it was.
#[derive(Debug)]
pub struct Loading {
    plan: Arc<LoadPlan>,
    /// Schema and name of the table.
    target: String,
    work: Work,
    /// When the last `write` returned.
    idle_since: Instant,
    read: Duration,
    pub(crate) end: End,
}

/// How batches become rows.
#[derive(Debug)]
enum Work {
    /// One COPY in one transaction, through the lane of [`write`](Loading::write).
    Streaming(Arc<LaneContext>, Lane),
    Batchwise(Box<Batchwise>),
}

impl Load {
    /// Connects, finds or creates the table, and plans how batches of this schema become its rows.
    ///
    /// # Errors
    ///
    /// No connection; a table that does not exist, or must not exist and does; a schema that does not fit
    /// the table, with a list of all differences. Nothing is changed then.
    pub fn open(self, schema: SchemaRef) -> Result<Loading> {
        Loading::open(self, schema, Instant::now())
    }
}

impl Loading {
    fn open(load: Load, schema: SchemaRef, started: Instant) -> Result<Self> {
        let Load { place, cancel, name, mut options } = load;
        options.check()?;
        let (mut session, owner, begun) = match &place {
            Place::Server { config, kept } => match kept.take_begun(&name, &options) {
                Some((session, answers)) => (session, Owner::Load, answers),
                None => (kept.take(config, &cancel)?, Owner::Load, Vec::new()),
            },
            Place::Connection(connection) => {
                let (session, owner) = Owner::enter(connection, &mut options, &cancel)?;
                (session, owner, Vec::new())
            }
        };
        options.is_locked = !begun.is_empty();
        // The caller may have cursors. Those of a set have none, and each load its own savepoint.
        options.no_freeze |= !owner.is_load() && !options.is_of_set;
        let (started, connected) = spent_before(&place, started, Instant::now());
        session.set_read_timeout(options.read_timeout);
        if options.has_writers() {
            let attached = cancel.attach(&session);
            let began = (started, connected);
            return Self::open_writers(session, attached, cancel, &name, schema, &options, began);
        }
        // A guest has attached its session already.
        let attached = owner.is_load().then(|| cancel.attach(&session));
        let planned = plan_all(&mut session, &name, &schema, options, &owner, begun);
        let (options, target, plan, mark) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                owner.roll_back(session, attached);
                return Err(match cancel.cancelled_or(error) {
                    error if error.kind() == ErrorKind::Cancelled => with_outcome(error, 0),
                    error => error,
                });
            }
        };
        let plan = Arc::new(plan);
        let mut end = End::of(&session, options.mode, cancel);
        end.begun(started, connected, target.may_leave_out);
        (end.attached, end.owner) = (attached, owner.clone());
        let shown = target.shown.clone();
        let work = match options.is_batchwise() {
            true => {
                let of_load = (target, Arc::clone(&plan));
                let cancel = (end.cancel.clone(), Arc::clone(&end.progress));
                let load = Batchwise::new(session, schema, name, options, of_load, mark, cancel);
                Work::Batchwise(Box::new(load.map_err(|error| end.explain(error))?))
            }
            false => {
                let mut session = session;
                if let Some(staging) = &plan.staging
                    && let Err(error) =
                        staging.set_zone(&mut session).and_then(|()| session.execute(&staging.create))
                {
                    owner.roll_back(session, None);
                    return Err(end.explain(server_error(error, &shown)));
                }
                let pipe = Pipe::start(session, plan.transfer_of_all(), shown.clone())?.of(owner);
                let of_lanes = Arc::clone(&plan);
                let pipe = Senders::One(pipe);
                let shared =
                    LaneContext { plan: of_lanes, schema, pipe, target: shown.clone(), committed: 0 };
                let shared = Arc::new(shared);
                Work::Streaming(Arc::clone(&shared), Lane::new(shared))
            }
        };
        Ok(Self { plan, target: shown, work, idle_since: Instant::now(), read: Duration::ZERO, end })
    }

    /// The same with several writers.
    fn open_writers(
        session: Session,
        attached: AttachedSession,
        cancel: Cancel,
        name: &RelationName,
        schema: SchemaRef,
        options: &LoadOptions,
        (started, connected): (Instant, Instant),
    ) -> Result<Self> {
        let mut end = End::of(&session, options.mode, cancel);
        let opened = writers::open(session, attached, &end.cancel, name, &schema, options);
        let OpenWriters { target, plan, writers } = opened.map_err(|error| end.explain(error))?;
        end.begun(started, connected, target.may_leave_out);
        let (pipe, of_lanes, shown) =
            (Senders::Many(Box::new(writers)), Arc::clone(&plan), target.shown.clone());
        let shared = Arc::new(LaneContext { plan: of_lanes, schema, pipe, target: shown, committed: 0 });
        let work = Work::Streaming(Arc::clone(&shared), Lane::new(shared));
        let (idle_since, read) = (Instant::now(), Duration::ZERO);
        Ok(Self { plan, target: target.shown, work, idle_since, read, end })
    }

    /// Schema and name of the table.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Warnings for the user, known before anything is loaded.
    pub fn warnings(&self) -> &[Message] {
        &self.plan.warnings
    }

    /// How each column would be filled.
    pub fn columns(&self) -> &[LoadColumnReport] {
        &self.plan.columns
    }

    /// Bytes of rows sent so far.
    pub fn wire_bytes(&self) -> u64 {
        match &self.work {
            Work::Streaming(_, lane) => lane.tally.bytes,
            Work::Batchwise(load) => load.wire_bytes(),
        }
    }

    /// Rows given so far, including skipped and rejected rows.
    pub fn rows(&self) -> u64 {
        match &self.work {
            Work::Streaming(_, lane) => lane.tally.rows,
            Work::Batchwise(load) => load.rows(),
        }
    }

    /// Rows of the data that earlier loads with the same restart key finished: [`write`](Self::write) skips
    /// them.
    pub fn rows_to_skip(&self) -> u64 {
        match &self.work {
            Work::Streaming(..) => 0,
            Work::Batchwise(load) => load.skipped,
        }
    }

    /// Rows from the start of the data that stay whatever happens, also after an error: this load, or
    /// earlier loads with the same restart key, committed them. Rejected rows are included.
    pub fn rows_committed(&self) -> u64 {
        match &self.work {
            Work::Streaming(..) => 0,
            Work::Batchwise(load) => load.committed(),
        }
    }

    /// Whether earlier loads with the same restart key have loaded everything. Then nothing is to be done,
    /// and the data need not be read.
    pub fn is_complete(&self) -> bool {
        matches!(&self.work, Work::Batchwise(load) if load.is_complete())
    }

    /// The progress, for other threads.
    pub fn progress(&self) -> &Arc<LoadProgress> {
        &self.end.progress
    }

    /// The schema of rejected rows: the data's schema followed by `pgarrow_row` (UInt64, the row's number in
    /// the data, from 1), `pgarrow_sqlstate` (Utf8; null if the row was not sent) and `pgarrow_reason`
    /// (Utf8). If the data has columns of these names, the new names get a `_` at the end. `None` if the
    /// load rejects no rows. The added fields are marked in their metadata (`pgarrow.rejected`), so rejected
    /// rows can be loaded into the table again unchanged.
    pub fn reject_schema(&self) -> Option<&SchemaRef> {
        match &self.work {
            Work::Batchwise(load) => load.sieve.as_ref().map(Sieve::schema),
            Work::Streaming(..) => None,
        }
    }

    /// Sets the receiver of rejected rows, which gets them in the order of the data. Call it before the
    /// first batch. Without a receiver, rejected rows are only counted. An error of the receiver fails the
    /// load.
    ///
    /// Received rows are final once the transaction that contains their neighbours commits: a load that
    /// fails may reject other rows at the next start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if the load rejects no rows ([`with_reject`](crate::LoadOptions::with_reject)).
    pub fn on_reject(
        &mut self,
        receiver: impl FnMut(&RecordBatch) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        if let Work::Batchwise(load) = &mut self.work
            && let Some(sieve) = &mut load.sieve
        {
            sieve.set_receiver(Box::new(receiver));
            return Ok(());
        }
        Err(Error::new(ErrorKind::Options, "this load rejects no rows"))
    }

    /// Loads one batch, which must have the load's schema. Blocks while the server takes no more.
    ///
    /// # Errors
    ///
    /// A value that its column cannot hold, with row and column; or an error of the server, which may
    /// concern rows of earlier batches. The load has then failed, and every later call fails, too.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.read += self.idle_since.elapsed();
        self.end.unless_cancelled()?;
        let written = match &mut self.work {
            Work::Streaming(_, lane) => lane.write(batch),
            Work::Batchwise(load) => load.write(batch),
        };
        self.idle_since = Instant::now();
        self.end.progress.set_rows(self.rows(), self.wire_bytes());
        written.map_err(|error| self.end.explain(error))
    }

    /// Ends the COPY and commits. In a transaction of the caller, the rows become part of that transaction.
    ///
    /// # Errors
    ///
    /// An error of the server: the target is as it was, or as the last commit left it. Only if the
    /// connection is lost during the commit is the outcome unknown; the error then says so.
    pub fn finish(mut self) -> Result<LoadReport> {
        self.read += self.idle_since.elapsed();
        self.end.phases.wait_for_input = self.read.as_secs_f64();
        self.end.unless_cancelled()?;
        match self.work {
            Work::Streaming(shared, mut lane) => {
                lane.send().map_err(|error| self.end.explain(error))?;
                self.end.merge(&lane.tally);
                self.end.commit(&shared)
            }
            Work::Batchwise(load) => self.end.finish(*load, &self.plan, self.target),
        }
    }

    /// Rolls back what is not committed, as dropping does, and reports what could not be removed.
    ///
    /// # Errors
    ///
    /// The hidden table of several writers that could not be dropped, and why. The target is as it was, or
    /// as the last commit left it.
    pub fn abandon(self) -> Result<()> {
        match &self.work {
            Work::Streaming(shared, _) => shared.pipe.abandon(),
            Work::Batchwise(_) => Ok(()),
        }
    }

    /// Runs the load without rows, and rolls it back: this shows errors that the server has with the COPY
    /// itself, or that statement triggers raise. With INSERT it shows no such errors, because an INSERT
    /// needs rows.
    ///
    /// # Errors
    ///
    /// As for [`finish`](Self::finish), except for the commit, which is not tried.
    pub fn rehearse(self) -> Result<()> {
        let rehearsed = match self.work {
            Work::Streaming(shared, _) => match &shared.pipe {
                Senders::One(pipe) => pipe.finish().and_then(|(mut session, copied)| {
                    let (plan, target) = (&shared.plan, &shared.target);
                    let brought = insert_from_staging(&mut session, plan, target, copied.rows, 0, false, 0);
                    self.end.owner.roll_back(session, None);
                    brought.map(drop)
                }),
                Senders::Many(writers) => self.end.rehearse_writers(&shared, writers),
            },
            Work::Batchwise(mut load) => load.rehearse(),
        };
        rehearsed.map_err(|error| self.end.explain(error))
    }

    /// Makes this load the sink of an export. Each reader's batches go into the table as they come, in one
    /// transaction, after the rows already written.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a load that commits in parts, has a restart key or rejects rows: rows of
    /// several readers have no order in which to skip or number them. Also the error with which an earlier
    /// [`write`](Self::write) failed.
    pub fn into_sink(self) -> Result<LoadSink> {
        match self.work {
            Work::Streaming(shared, mut lane) => {
                lane.send().map_err(|error| self.end.explain(error))?;
                self.end.merge(&lane.tally);
                Ok(LoadSink::new(shared, self.end))
            }
            Work::Batchwise(_) => {
                let text = "the rows of an export come in no order that a restart mark or the number of a rejected row \
                            could rely on";
                let error = Error::new(ErrorKind::Options, text);
                Err(error
                    .advice("export to a file and load that, or load in one transaction without rejects"))
            }
        }
    }
}

/// A planned load. Its options no longer contain what an earlier start has done.
type Planned = (LoadOptions, TargetTable, LoadPlan, Option<Mark>);

/// Reads the mark, finds or creates the table, and plans the columns. Leaves the transaction open.
///
/// `begun`: all answers, if the transaction has begun.
fn plan_all(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: LoadOptions,
    owner: &Owner,
    begun: Vec<Answer>,
) -> Result<Planned> {
    // Hidden tables of a killed load may depend on the table that is to be replaced. They are removed in
    // separate transactions.
    let swept = match options.mode {
        LoadMode::Replace if owner.is_load() => sweep(session, name, &options)?,
        _ => Vec::new(),
    };
    let key = options.restart_key.as_deref();
    let mark = key.map(|key| marks::open(session, name, key, &options)).transpose()?;
    let options = restarted(options, mark.as_ref());
    let answers = match owner {
        Owner::Load if options.is_locked => begun,
        Owner::Load if mark.is_none() => ahead::ask(session, name, &options)?,
        Owner::Load | Owner::Caller(_) => Vec::new(),
    };
    session
        .with_answers(answers, |session| plan_in_turn(session, name, schema, options, owner, (mark, swept)))
}

/// Finds or creates the table, and plans the columns.
fn plan_in_turn(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: LoadOptions,
    owner: &Owner,
    (mark, swept): (Option<Mark>, Vec<String>),
) -> Result<Planned> {
    match owner {
        Owner::Load => begin(session, &options)?,
        Owner::Caller(_) => tell_of_earlier_locks(session, &options)?,
    }
    let committed = mark.as_ref().map_or(0, |mark| mark.rows);
    let found = match committed {
        0 => target::open(session, name, schema, &options),
        _ => target::open_again(session, name, schema, &options, committed),
    };
    let planned = found.and_then(|target| {
        mark.as_ref().map_or(Ok(()), |mark| mark.check_target(&target.shown, target.names.schema()))?;
        let mut plan = plan::plan(session, &target, schema, &options)?;
        plan.warnings.extend(swept.into_iter().map(Message::from));
        Ok((target, plan))
    });
    match (planned, mark) {
        (Ok((target, plan)), mark) => Ok((options, target, plan, mark)),
        (Err(error), Some(mark)) if !mark.is_new() => Err(error.advice(mark.advice())),
        (Err(error), _) => Err(error),
    }
}

/// The beginnings of connecting and of planning, as if what was done ahead had been done now.
fn spent_before(place: &Place, started: Instant, connected: Instant) -> (Instant, Instant) {
    let spent = match place {
        Place::Server { kept, .. } => kept.take_spent(),
        Place::Connection(_) => return (started, connected),
    };
    let earlier = |time: Instant, spent: Duration| time.checked_sub(spent).unwrap_or(time);
    (earlier(started, spent.connect.saturating_add(spent.ask)), earlier(connected, spent.ask))
}
