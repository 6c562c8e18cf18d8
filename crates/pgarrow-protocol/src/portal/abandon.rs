//! The end of a portal whose rows nobody wants any more.
//!
//! What is on its way has to be received, since the next answer comes behind it. If that is much, the server
//! can be asked to stop; it then undoes the statement, and an open transaction has failed. So the caller says
//! whether that may be.

use std::time::{Duration, Instant};

use super::{PHASE, Portal, State};
use crate::error::Error;
use crate::session::{Canceller, Session};

/// What is received before the server is asked to stop: so much comes faster than the request is made.
const PATIENT_BYTES: u64 = 4 * 1024 * 1024;
const PATIENT_TIME: Duration = Duration::from_millis(50);

/// `query_canceled`.
const CANCELED: &str = "57014";

impl Portal {
    /// Ends it without reading the rest of its rows. Afterwards the session can be used for other statements.
    ///
    /// `may_cancel`: the server may be asked to stop, which undoes the statement. Otherwise all of the part
    /// that is being received comes first.
    ///
    /// # Errors
    ///
    /// Errors of the statement, other than that it was cancelled; the connection is lost.
    pub fn abandon(mut self, session: &mut Session, may_cancel: bool) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        let (began, bytes_before) = (Instant::now(), session.bytes_received());
        let mut may_cancel = may_cancel;
        let drained = self.drain_while(session, |session| {
            let bytes = session.bytes_received().saturating_sub(bytes_before);
            if may_cancel && (bytes > PATIENT_BYTES || began.elapsed() > PATIENT_TIME) {
                may_cancel = false;
                // If it cannot be sent, the rest just has to be received.
                let _ = session.canceller().cancel(Canceller::DEADLINE);
            }
        });
        let _ = session.wire.stop_streaming();
        match drained {
            Ok(()) => {}
            Err(error) if error.sqlstate() == Some(CANCELED) => return Ok(()),
            Err(error) => return Err(error),
        }
        if self.state == State::PartOver {
            // An open portal would keep its tables from being changed in the same transaction.
            session.begin()?;
            session.outgoing.close_portal()?;
            session.outgoing.sync()?;
            session.send(PHASE)?;
            session.expect_empty(PHASE, b'3')?;
            session.expect_ready(PHASE)?;
        }
        Ok(())
    }

    /// Receives the rest of the present part, which is all of it unless rows come in parts, and throws it
    /// away.
    ///
    /// # Errors
    ///
    /// Errors of the statement; the connection is lost.
    pub fn discard(&mut self, session: &mut Session) -> Result<(), Error> {
        if self.is_over() {
            return Ok(());
        }
        let drained = self.drain(session).inspect_err(|_| self.fail());
        let _ = session.wire.stop_streaming();
        drained
    }

    /// Receives the rest of the present part.
    pub(super) fn drain(&mut self, session: &mut Session) -> Result<(), Error> {
        self.drain_while(session, |_| {})
    }

    fn drain_while(
        &mut self,
        session: &mut Session,
        mut meanwhile: impl FnMut(&mut Session),
    ) -> Result<(), Error> {
        loop {
            self.skip_row(session);
            if self.left > 0 {
                session.read_more(PHASE)?;
                meanwhile(session);
                continue;
            }
            match session.header(PHASE)? {
                Some(header) if header.tag == b'D' && self.state == State::Streaming => {
                    self.left = header.frame_bytes();
                }
                Some(header) if header.frame_bytes() <= session.wire.unread().len() => {
                    let is_talk = header.is_talk();
                    if is_talk {
                        session.absorb_head(PHASE)?;
                        continue;
                    }
                    let message = session.receive_or_fail(PHASE)?;
                    let is_over = self.step(session, &message)?;
                    if is_over || (message.tag == b'Z' && self.state == State::PartOver) {
                        return Ok(());
                    }
                }
                Some(header) if header.tag == b'd' => return Err(session.unexpected(PHASE, b'd')),
                _ => {
                    session.read_more(PHASE)?;
                    meanwhile(session);
                }
            }
        }
    }

    /// Passes over what is there of the row that was begun.
    fn skip_row(&mut self, session: &mut Session) {
        let n_bytes = self.left.min(session.wire.unread().len());
        session.wire.consume(n_bytes);
        self.left -= n_bytes;
    }
}
