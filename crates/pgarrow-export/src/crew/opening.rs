//! How readers get their sessions: under the keeper's snapshot, or not at all.

use std::sync::mpsc;
use std::time::Instant;

use pgarrow_protocol::{Config, Session};
use pgarrow_session::{Backoff, Cancel, Error, ErrorKind, Result};
use pgarrow_types::Message;

use super::watch::{Ask, have_looked_at};
use super::{Crew, lock};
use crate::facts::Facts;
use crate::reader::Tally;
use crate::reader_session::ReaderSession;

/// How a reader opens its sessions.
#[derive(Clone, Debug)]
pub(super) struct ReaderOpening {
    /// Has the keeper looked at.
    pub(super) to_keeper: mpsc::Sender<Ask>,
    pub(super) config: Config,
    pub(super) facts: Facts,
    pub(super) begin: String,
    pub(super) locked: Vec<String>,
}

/// A reader that could not begin, though the others can go on.
pub(super) struct Retired(pub(super) Message);

fn fewer(error: &Error) -> Retired {
    Retired(error.message().clone().behind("fewer connections than asked for: "))
}

const INCONSISTENT: &str =
    "the readers have snapshots of their own: rows may be of different moments, missing or twice";

impl Crew<'_> {
    /// A session for a reader that has read nothing yet. None if it is not needed, or not to be had.
    pub(super) fn join(&self, opening: &ReaderOpening, tally: &mut Tally) -> Option<ReaderSession> {
        let (mut n_retries, mut backoff) = (0, Backoff::default());
        // Nobody connects for a queue that others have emptied.
        while self.queue.has_rest() && !self.joining.is_requested() {
            match self.open(opening, &self.joining, tally) {
                Ok(Ok(opened)) => return Some(opened),
                Ok(Err(Retired(why))) => {
                    self.warn(why);
                    break;
                }
                Err(_) if self.joining.is_requested() => break,
                Err(error) if error.is_transient() && n_retries < self.shared.options.retries => {
                    tally.retries += 1;
                    self.report_retry(n_retries + 1, &error);
                    self.joining.pause(backoff.next());
                    n_retries += 1;
                }
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
        None
    }

    /// Opens a reader's session under the keeper's snapshot. `cancel` stops that.
    pub(super) fn open(
        &self,
        opening: &ReaderOpening,
        cancel: &Cancel,
        tally: &mut Tally,
    ) -> Result<std::result::Result<ReaderSession, Retired>> {
        let started = Instant::now();
        let opened = self.open_session(opening, cancel);
        tally.phases.connect += started.elapsed().as_secs_f64();
        let error = match opened {
            Ok(opened) => {
                lock(&self.backend_pids).extend(opened.facts.backend_pid);
                return Ok(Ok(opened));
            }
            Err(error) => cancel.cancelled_or(error),
        };
        let is_pooled = opening.facts.pooled.is_pooled();
        match error.sqlstate() {
            // No connection to be had: the pooler's own limit, or ours.
            _ if is_pooled && error.is_timeout() => {
                let error = opening.facts.pooled.explain(error);
                Ok(Err(fewer(&error)))
            }
            Some("08P01") if is_pooled && error.to_string().contains("query_wait_timeout") => {
                Ok(Err(fewer(&error)))
            }
            Some("53300") => Ok(Err(fewer(&error))),
            Some("55P03") => Ok(Err(Retired(
                "another session waits to lock a table exclusively, so no further reader can lock it; its slices were left to others"
                    .into(),
            ))),
            // Such as a snapshot that is not there any more. What else may be wrong, without its keeper the run has failed.
            _ if error.kind() == ErrorKind::Server && !error.is_transient() => {
                have_looked_at(&opening.to_keeper, cancel);
                Err(cancel.cancelled_or(error))
            }
            _ => Err(error),
        }
    }

    fn open_session(&self, opening: &ReaderOpening, cancel: &Cancel) -> Result<ReaderSession> {
        let ReaderOpening { config, facts, begin, locked, .. } = opening;
        let (options, of_all) = (self.shared.options, self.shared.cancel);
        let connect = || -> Result<Session> {
            // Behind a pooler, a reader's session connects in another way than the keeper's.
            let idle = (!facts.pooled.is_pooled()).then(|| self.shared.pool.take_idle(cancel)).flatten();
            let mut session = match idle {
                Some(session) => session,
                None => cancel.connect(config)?,
            };
            session.set_read_timeout(facts.pooled.first_answer(options.read_timeout));
            Ok(session)
        };
        // Without a snapshot to take over, only who has asked for it reads under another one.
        if facts.exported.is_some() || !options.inconsistent {
            let session = connect()?;
            let _attached = cancel.attach(&session);
            match ReaderSession::import(session, facts, begin, locked, of_all) {
                Err(error) if options.inconsistent && error.kind() == ErrorKind::Server => {}
                Err(error) => return Err(error),
                Ok(mut opened) => {
                    opened.session.set_read_timeout(options.read_timeout);
                    return Ok(opened);
                }
            }
        }
        let session = connect()?;
        let _attached = cancel.attach(&session);
        self.warn(INCONSISTENT.to_owned());
        let mut opened = ReaderSession::begin_inconsistent(session, begin, locked, of_all)?;
        opened.session.set_read_timeout(options.read_timeout);
        Ok(opened)
    }
}
