//! The rows of a portal, as they come.

use super::{PHASE, Portal, State};
use crate::error::{Error, ErrorKind};
use crate::frame::Header;
use crate::row_stream::{CopyOutStep, RowStream};
use crate::session::{Message, Session};

/// The rows of a [`Portal`], while they are read. It may be dropped at any time, and made anew.
#[derive(Debug)]
pub struct PortalRows<'a> {
    session: &'a mut Session,
    portal: &'a mut Portal,
}

impl<'a> PortalRows<'a> {
    pub(super) fn new(session: &'a mut Session, portal: &'a mut Portal) -> Self {
        Self { session, portal }
    }

    fn advance_unchecked(&mut self) -> Result<CopyOutStep, Error> {
        if self.portal.left > 0 {
            return Err(self.session.violation(PHASE, "a row was left before its end"));
        }
        loop {
            let header = match self.session.header(PHASE)? {
                Some(header) if header.frame_bytes() <= self.session.wire.unread().len() => header,
                // A long message that cannot come now is refused before its body is received.
                Some(Header { tag, .. })
                    if tag == b'd' || (tag == b'D' && self.portal.state != State::Streaming) =>
                {
                    return Err(self.session.unexpected(PHASE, tag));
                }
                _ => {
                    self.session.read_more(PHASE)?;
                    continue;
                }
            };
            match (header.tag, self.portal.state) {
                (b'D', State::Streaming) => {
                    self.session.talk_bytes = 0;
                    return Ok(CopyOutStep::Data);
                }
                (b'N' | b'S' | b'A', _) => {
                    self.session.absorb_head(PHASE)?;
                }
                _ => {
                    let message = self.session.receive_or_fail(PHASE)?;
                    if self.portal.step(self.session, &message)? {
                        return Ok(CopyOutStep::Done { rows: self.portal.counted().unwrap_or(0) });
                    }
                    if self.portal.state == State::PartOver && message.tag == b'Z' {
                        self.portal.ask_for_part(self.session)?;
                    }
                }
            }
        }
    }

    fn check_going_on(&self) -> Result<(), Error> {
        if self.portal.state == State::Failed {
            let message = format!("{} ({PHASE}): the statement has failed before", self.session.endpoint);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        Ok(())
    }

    fn after<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.portal.state = State::Failed;
        }
        if self.portal.is_over() {
            // A failure here loses only comfort, and the next read reports it.
            let _ = self.session.wire.stop_streaming();
        }
        result
    }
}

impl Portal {
    /// Takes a message that is no row. Returns true at the end of the statement.
    pub(super) fn step(&mut self, session: &mut Session, message: &Message) -> Result<bool, Error> {
        match (message.tag, self.state) {
            (b'C', State::Streaming) => self.tagged(session, &message.body)?,
            (b's', State::Streaming) if message.body.is_empty() && self.rows_asked > 0 => {
                self.rows = self.rows.saturating_add(self.rows_asked.into());
                self.state = State::PartOver;
            }
            (b'Z', State::PartOver) => session.ready(PHASE, message)?,
            (b'Z', State::Tagged) => {
                session.ready(PHASE, message)?;
                self.state = State::Done;
                return Ok(true);
            }
            (tag, _) => return Err(session.unexpected(PHASE, tag)),
        }
        Ok(false)
    }

    fn ask_for_part(&mut self, session: &mut Session) -> Result<(), Error> {
        session.outgoing.clear();
        session.outgoing.execute_part(self.part_rows)?;
        session.outgoing.sync()?;
        self.rows_asked = self.part_rows.unwrap_or(0);
        self.state = State::Streaming;
        session.send(PHASE)
    }
}

impl RowStream for PortalRows<'_> {
    fn column_count(&self) -> usize {
        self.portal.n_columns
    }

    fn buffered(&self) -> &[u8] {
        self.session.wire.unread()
    }

    fn consume(&mut self, n_bytes: usize) {
        self.session.wire.consume(n_bytes);
    }

    fn bytes_received(&self) -> u64 {
        self.session.bytes_received().saturating_sub(self.portal.bytes_before)
    }

    /// At the end, `rows` is 0 for a statement that counts none: see [`Portal::counted`].
    fn advance(&mut self) -> Result<CopyOutStep, Error> {
        if self.portal.state == State::Done {
            return Ok(CopyOutStep::Done { rows: self.portal.counted().unwrap_or(0) });
        }
        self.check_going_on()?;
        let result = self.advance_unchecked();
        self.after(result)
    }

    fn receive(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.check_going_on()?;
        if self.portal.state != State::Streaming {
            return Err(self.session.violation(PHASE, "there are no rows to be received"));
        }
        let result = self.session.receive_data(PHASE, b'D', &mut self.portal.left, target);
        self.after(result)
    }
}
