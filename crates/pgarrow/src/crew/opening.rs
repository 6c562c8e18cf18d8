//! How readers get their sessions: under the keeper's snapshot, or not at all.

use std::time::Instant;

use pgarrow_protocol::Config;

use super::{Crew, lock};
use crate::cancel::Cancel;
use crate::error::{ErrorKind, Result};
use crate::keeper::{Facts, Keeper, prepare};
use crate::reader::Tally;

/// How readers open their sessions.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) config: Config,
    pub(super) facts: Facts,
    pub(super) begin: String,
    pub(super) locked: Vec<String>,
}

/// A reader that could not begin, though the others can go on.
pub(super) struct Retired(pub(super) String);

const INCONSISTENT: &str =
    "the readers have snapshots of their own: rows may be of different moments, missing or twice";

impl Crew<'_> {
    /// A session for a reader that has read nothing yet. None if it is not needed, or not to be had.
    pub(super) fn join(&self, opening: &Opening, tally: &mut Tally) -> Option<Keeper> {
        let mut n_retries = 0;
        // Nobody connects for a queue that others have emptied.
        while !lock(&self.queue).is_empty() && !self.joining.is_requested() {
            match self.open(opening, &self.joining, tally) {
                Ok(Ok(opened)) => return Some(opened),
                Ok(Err(Retired(why))) => {
                    self.warn(why);
                    break;
                }
                Err(_) if self.joining.is_requested() => break,
                Err(error) if error.is_transient() && n_retries < self.shared.options.retries => {
                    tracing::warn!(target: "pgarrow", attempt = n_retries + 1, "a reader could not connect: {error}");
                    self.pause(n_retries);
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
        opening: &Opening,
        cancel: &Cancel,
        tally: &mut Tally,
    ) -> Result<std::result::Result<Keeper, Retired>> {
        let started = Instant::now();
        let opened = self.open_session(opening, cancel);
        tally.phases.connect += started.elapsed().as_secs_f64();
        let error = match opened {
            Ok(opened) => {
                lock(&self.backend_pids).extend(opened.session.backend_pid());
                return Ok(Ok(opened));
            }
            Err(error) => cancel.told(error),
        };
        match error.sqlstate() {
            Some("53300") => Ok(Err(Retired(format!("fewer connections than asked for: {error}")))),
            Some("55P03") => Ok(Err(Retired(
                "somebody waits to lock a table exclusively, so that no further reader can; its slices were left to others"
                    .to_owned(),
            ))),
            _ => Err(error),
        }
    }

    fn open_session(&self, opening: &Opening, cancel: &Cancel) -> Result<Keeper> {
        let Opening { config, facts, begin, locked } = opening;
        let (options, of_all) = (self.shared.options, self.shared.cancel);
        // Without a snapshot to take over, only who has asked for it reads under another one.
        if facts.exported.is_some() || !options.inconsistent {
            let mut session = cancel.connect(config)?;
            let _attached = cancel.attach(&session);
            prepare(&mut session, options)?;
            match Keeper::import(session, facts, begin, locked, of_all) {
                Err(error) if options.inconsistent && error.kind() == ErrorKind::Server => {}
                opened => return opened,
            }
        }
        let mut session = cancel.connect(config)?;
        let _attached = cancel.attach(&session);
        prepare(&mut session, options)?;
        self.warn(INCONSISTENT.to_owned());
        Keeper::begin_inconsistent(session, begin, locked, of_all)
    }
}
