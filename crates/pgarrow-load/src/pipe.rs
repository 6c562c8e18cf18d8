//! The sending thread: lanes encode rows while earlier rows are on their way.
//!
//! ```text
//!  lanes ── buffer of whole rows ──▶ Queue ──▶ thread: CopyIn, or Bulk ──▶ socket
//!    ▲                                │
//!    └─────── buffer, empty again ◀───┘
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pgarrow_encode::{HEADER, TRAILER};
use pgarrow_protocol::{AskedBehind, Session};
use pgarrow_session::{AttachedSession, Cancel, Error, ErrorKind, Result};
use pgarrow_sink::Stop;

use crate::copied::{Copied, Failed};
use crate::insert::{Inserts, insert};
use crate::owner::Owner;
use crate::queue::{Buffer, Next, NotTaken, OnTheWay, Queue};
use crate::report::Times;
use crate::transaction::outcome;

/// How long the server may keep taking rows of an abandoned load before it gets a cancel request.
const PATIENCE: Duration = Duration::from_millis(500);

/// How rows reach the table.
#[derive(Clone, Debug)]
pub(crate) enum Transfer {
    /// By this COPY, with this number of values per row. `then`: the query that comes next in its session,
    /// and its parameters.
    Copy { sql: String, n_columns: usize, then: Option<(String, [String; 2])> },
    /// By INSERT.
    Insert(Inserts),
}

impl Transfer {
    /// Sends the queue's rows until the queue ends. If it does not end with `Finish`, nothing may stay.
    pub(crate) fn load(&self, session: &mut Session, queue: &Queue) -> std::result::Result<Copied, Failed> {
        let (loaded, what) = match self {
            Self::Copy { sql, n_columns, then } => {
                let then = then.as_ref().map(|(sql, parameters)| (sql.as_str(), parameters.each_ref()));
                (copy(session, sql, *n_columns, then, queue), "COPY")
            }
            Self::Insert(inserts) => (insert(session, inserts, queue), "INSERT"),
        };
        match &loaded {
            Ok(Copied { rows, bytes, send, blocked, wait, .. }) => tracing::info!(
                target: "pgarrow",
                rows,
                bytes,
                send = send.as_secs_f64(),
                blocked = blocked.as_secs_f64(),
                wait = wait.as_secs_f64(),
                "{what} ended"
            ),
            Err(Failed::Refused { error, .. }) => tracing::warn!(target: "pgarrow", "{what} failed: {error}"),
            Err(Failed::Unexpected(why)) => tracing::warn!(target: "pgarrow", "{what} failed: {why}"),
        }
        loaded
    }
}

/// A COPY of one session, or its INSERTs, fed by a thread.
#[derive(Debug)]
pub(crate) struct Pipe {
    queue: Arc<Queue>,
    state: Mutex<State>,
    /// Stops only the session of an abandoned pipe.
    stop: Cancel,
    attached: Option<AttachedSession>,
    target: String,
    /// Rolls back what was sent.
    owner: Owner,
    /// Rows of the data that earlier transactions committed.
    committed: u64,
    /// Rows come from several readers, so they have no meaningful numbers.
    is_unnumbered: AtomicBool,
}

#[derive(Debug)]
enum State {
    Running(JoinHandle<Ended>),
    /// The first failure, which all callers get, and the session, to be ended in order.
    Failed(Error, Option<Box<Session>>),
    Over,
}

/// The result of the thread.
#[derive(Debug)]
struct Ended {
    session: Session,
    result: std::result::Result<Copied, Failed>,
}

/// Closes the queue when the thread ends for any reason, so nobody waits for a dead thread.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Pipe {
    /// Starts the COPY, or the INSERTs.
    pub(crate) fn start(session: Session, way: Transfer, target: String) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let stop = Cancel::new();
        let attached = stop.attach(&session);
        let closing = Closing(Arc::clone(&queue));
        let span = tracing::info_span!(target: "pgarrow", "load", table = %target);
        let work = move || {
            let _entered = span.enter();
            let mut session = session;
            let queue = &closing.0;
            let result = way.load(&mut session, queue);
            Ended { session, result }
        };
        let thread = thread::Builder::new().name("pgarrow-load".to_owned()).spawn(work);
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Connection, format!("no thread could be started: {error}"))
        })?;
        Ok(Self {
            queue,
            state: Mutex::new(State::Running(thread)),
            stop,
            attached: Some(attached),
            target,
            owner: Owner::Load,
            committed: 0,
            is_unnumbered: AtomicBool::new(false),
        })
    }

    /// The same in the transaction of this owner.
    pub(crate) fn of(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// The same in a transaction that follows this many committed rows of the data; used in errors.
    pub(crate) fn after(mut self, committed: u64) -> Self {
        self.committed = committed;
        self
    }

    /// From now on, rows come from several readers, so their numbers mean nothing.
    pub(crate) fn set_unnumbered(&self) {
        self.is_unnumbered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unnumbered(&self) -> bool {
        self.is_unnumbered.load(Ordering::Relaxed)
    }

    /// Sends these rows and ends the COPY. Returns the session and the result with the server's own error.
    pub(crate) fn run(self, rows: Buffer) -> Option<(Session, std::result::Result<Copied, Failed>)> {
        // If the queue takes no more, the thread's result says why.
        let _ = self.queue.push(rows, &OnTheWay::default(), &Stop::default());
        self.queue.finish();
        self.join().map(|ended| (ended.session, ended.result))
    }

    /// An empty buffer for rows.
    pub(crate) fn empty_buffer(&self) -> Buffer {
        self.queue.empty_buffer()
    }

    /// Sends whole rows.
    ///
    /// # Errors
    ///
    /// The pipe's failure, at every call; or that the run was stopped.
    pub(crate) fn send(&self, rows: Buffer, of: &OnTheWay, stop: &Stop) -> Result<()> {
        self.queue.push(rows, of, stop).map_err(|why| self.not_taken(why))
    }

    /// Waits until the operating system has taken all rows of this lane.
    pub(crate) fn drain(&self, of: &OnTheWay, stop: &Stop) -> Result<()> {
        match of.bytes() {
            0 => Ok(()),
            _ => self.queue.drain(of, stop).map_err(|why| self.not_taken(why)),
        }
    }

    /// Ends the COPY. Returns the session and what the server has confirmed.
    pub(crate) fn finish(&self) -> Result<(Session, Copied)> {
        if !self.queue.finish() {
            return Err(self.failure());
        }
        match self.join() {
            Some(Ended { session, result: Ok(copied) }) => Ok((session, copied)),
            ended => Err(self.fail(&mut lock(&self.state), ended)),
        }
    }

    /// Aborts the COPY if it is running. Returns the session, if there is one.
    fn abandon(&self) -> Option<Session> {
        let state = self.take_state();
        match state {
            State::Running(thread) => {
                if !self.queue.abandon(PATIENCE) {
                    // The thread waits for a server that takes nothing, for example because it waits for a
                    // lock.
                    self.stop.cancel_for("whoever gave up the load");
                }
                thread.join().ok().map(|ended| ended.session)
            }
            State::Failed(_, session) => session.map(|session| *session),
            State::Over => None,
        }
    }

    fn not_taken(&self, why: NotTaken) -> Error {
        match why {
            NotTaken::Closed => self.failure(),
            NotTaken::Stopped => Error::new(ErrorKind::Cancelled, "the load was stopped"),
        }
    }

    /// The failure of the pipe.
    fn failure(&self) -> Error {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Over) {
            State::Running(thread) => self.fail(&mut state, thread.join().ok()),
            State::Failed(error, session) => {
                let again = error.duplicate();
                *state = State::Failed(error, session);
                again
            }
            State::Over => ended_before(),
        }
    }

    fn fail(&self, state: &mut State, ended: Option<Ended>) -> Error {
        let (error, session) = match ended {
            Some(Ended { session, result: Err(failed) }) => (self.explain(failed), Some(session)),
            Some(Ended { session, result: Ok(_) }) => (ended_before(), Some(session)),
            None => {
                let text = "the thread that sends rows has panicked; please report it";
                (Error::new(ErrorKind::Protocol, text).advice(outcome(self.committed)), None)
            }
        };
        let again = error.duplicate();
        *state = State::Failed(error, session.map(Box::new));
        again
    }

    fn explain(&self, failed: Failed) -> Error {
        failed.into_error(&self.target, self.committed, self.is_unnumbered())
    }

    /// Releases the lock on return; in the head of a `match`, the lock would last for all arms.
    fn take_state(&self) -> State {
        std::mem::replace(&mut *lock(&self.state), State::Over)
    }

    fn join(&self) -> Option<Ended> {
        let state = self.take_state();
        match state {
            State::Running(thread) => thread.join().ok(),
            state => {
                *lock(&self.state) = state;
                None
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(session) = self.abandon() {
            self.owner.roll_back(session, self.attached.take());
        }
    }
}

/// The main function of the thread. If the queue does not end with `Finish`, the COPY is aborted and nothing
/// is loaded.
fn copy(
    session: &mut Session,
    sql: &str,
    n_columns: usize,
    then: Option<(&str, [&String; 2])>,
    queue: &Queue,
) -> std::result::Result<Copied, Failed> {
    let started = session.copy_in(sql);
    let mut copy = started.map_err(|error| Failed::Refused { error, place: None, at_start: true })?;
    if !copy.is_binary() || copy.columns() != n_columns {
        // The server's own error would not explain what happens to these rows.
        let what = format!(
            "the server expects rows of {} columns in {} form, and {n_columns} in binary form were planned; please \
             report it",
            copy.columns(),
            if copy.is_binary() { "binary" } else { "text" }
        );
        copy.fail("the rows have another number of columns")?;
        return Err(Failed::Unexpected(what));
    }
    let (mut send, mut bytes, mut times) = (Duration::ZERO, 0, Times::default());
    copy.write(HEADER)?;
    loop {
        match queue.next() {
            Next::Rows(mut rows) => {
                let started = Instant::now();
                bytes += rows.buffer.rows().len() as u64;
                copy.send_rows(rows.buffer.bytes_mut())?;
                let took = started.elapsed();
                send += took;
                times.add(took);
                queue.sent(rows);
            }
            Next::Finish => break,
            // Dropping the COPY sends CopyFail.
            Next::Abandon => return Ok(Copied::default()),
        }
    }
    let blocked = copy.waited();
    let started = Instant::now();
    copy.write(&TRAILER)?;
    let rows = match then {
        Some((sql, parameters)) => {
            let parameters = parameters.map(|parameter| Some(parameter.as_str()));
            copy.finish_and(Some(AskedBehind { sql, parameters: &parameters, and_commit: false }))?
        }
        None => copy.finish()?,
    };
    let (send, wait) = (send.saturating_sub(blocked), started.elapsed());
    Ok(Copied { rows, bytes, times, send, blocked, wait })
}

pub(crate) fn ended_before() -> Error {
    Error::new(ErrorKind::Sink, "the load has failed before")
}

/// Each change under the lock is complete or was not begun, even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use pgarrow_protocol::Config;
    use pgarrow_testkit::{Script, messages};

    use super::*;

    /// Regression: the reason was lost, and users saw "the load has failed before".
    #[test]
    fn a_server_that_expects_other_rows_than_were_planned() {
        // In binary form, with three columns.
        let begun = b"G\0\0\0\x0d\x01\0\x03\0\x01\0\x01\0\x01".to_vec();
        let broken_off = [messages::error_response("ERROR", "57014", "bad"), messages::ready_for_query()];
        let rolled_back = [messages::command_complete("ROLLBACK"), messages::ready_for_query()];
        let server = Script::new()
            .login()
            .expect_message(b'Q')
            .send(begun)
            .expect_message(b'f')
            .send(broken_off.concat())
            .expect_message(b'Q')
            .send(rolled_back.concat())
            .expect_message(b'X')
            .start();
        let session = Session::connect(&Config::parse(Some(&server.url())).unwrap()).unwrap();
        let way =
            Transfer::Copy { sql: "COPY t FROM STDIN (FORMAT binary)".to_owned(), n_columns: 2, then: None };
        let pipe = Pipe::start(session, way, "public.t".to_owned()).unwrap();
        // Each call gives the same error.
        for _ in 0..2 {
            let error = pipe.finish().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let text = error.to_string();
            assert!(
                text.starts_with("public.t: the server expects rows of 3 columns in binary form"),
                "{text}"
            );
            assert!(text.contains("nothing was loaded"), "{text}");
        }
        // Regression: a second join of the thread waited for its own lock.
        let pipe = Arc::new(pipe);
        let (joined, is_joined) = mpsc::channel();
        let again = Arc::clone(&pipe);
        thread::spawn(move || joined.send(again.join().is_none()));
        assert!(is_joined.recv_timeout(Duration::from_secs(60)).expect("it waits for itself"));
        assert_eq!(pipe.finish().unwrap_err().kind(), ErrorKind::Protocol);
        drop(pipe);
        server.finish();
    }
}
