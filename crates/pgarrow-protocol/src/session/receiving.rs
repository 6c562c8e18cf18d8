//! Messages from the server; notices, parameters and notifications are handled here.

use std::time::Instant;

use super::{
    ANSWER_BYTES_MAX, DRAIN_TIME, IDLE, Message, NOTICES_MAX, PARAMETERS_MAX, Session, TALK_BYTES_MAX, UTF8,
};
use crate::backend::{self, TransactionStatus};
use crate::error::{Error, ErrorKind};
use crate::frame;
use crate::server_error::ServerError;
use crate::wire::Fill;

impl Session {
    /// The next message that is not a notice, a parameter or a notification.
    pub(crate) fn receive(&mut self, phase: &'static str) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.take_message(phase)? {
                return Ok(message);
            }
            self.read_more(phase)?;
        }
    }

    /// As [`receive`](Self::receive), but returns an ErrorResponse as an error. Waits for the rest of the
    /// answer first, so that the session can be used again.
    pub(crate) fn receive_or_fail(&mut self, phase: &'static str) -> Result<Message, Error> {
        let message = self.receive(phase)?;
        if message.tag == b'E' { Err(self.fail_with_report(phase, &message.body)) } else { Ok(message) }
    }

    /// The next whole message in the buffer, without reading.
    pub(crate) fn take_message(&mut self, phase: &'static str) -> Result<Option<Message>, Error> {
        loop {
            let Some(header) = self.header(phase)? else { return Ok(None) };
            if header.is_talk() {
                if self.absorb_head(phase)? {
                    continue;
                }
                return Ok(None);
            }
            // A long message that cannot come now is refused before its body is received.
            match header.tag {
                b'd' => return Err(self.unexpected(phase, b'd')),
                b'D' if !self.takes_rows => return Err(self.unexpected(phase, b'D')),
                b'D' if header.body_bytes > ANSWER_BYTES_MAX => {
                    return Err(self.violation(phase, "a row is larger than 256 MiB, use COPY"));
                }
                _ => {}
            }
            let Some(body) = self.wire.unread().get(frame::HEADER_BYTES..header.frame_bytes()) else {
                return Ok(None);
            };
            let message = Message { tag: header.tag, body: body.to_vec() };
            self.wire.consume(header.frame_bytes());
            self.talk_bytes = 0;
            return Ok(Some(message));
        }
    }

    /// The header at the start of the buffer, if five bytes are there.
    pub(crate) fn header(&mut self, phase: &'static str) -> Result<Option<frame::Header>, Error> {
        let read = if self.is_started { frame::header } else { frame::startup_header };
        match read(self.wire.unread()) {
            Ok(header) => Ok(header),
            // The oldest form of an error, without a length: the postmaster sends it when it cannot start
            // another process.
            Err(cause) if cause.is_text() && !self.is_started => {
                let what = "the server could not start a session, and said so in a form that is not read";
                Err(self.fail(ErrorKind::Closed, phase, what))
            }
            Err(cause) => Err(self.violation(phase, &cause.to_string())),
        }
    }

    /// Takes the notice, parameter or notification at the start of the buffer, if all of it is there.
    pub(crate) fn absorb_head(&mut self, phase: &'static str) -> Result<bool, Error> {
        let Some(header) = self.header(phase)? else { return Ok(false) };
        let Some(body) = self.wire.unread().get(frame::HEADER_BYTES..header.frame_bytes()) else {
            return Ok(false);
        };
        match header.tag {
            b'N' => {
                let notice = ServerError::decode(body);
                if notice.is_crash_warning() {
                    self.last_words = Some(notice.clone());
                }
                if self.notices.len() == NOTICES_MAX {
                    self.notices.pop_front();
                    self.notices_dropped += 1;
                }
                self.notices.push_back(notice);
            }
            b'S' => match backend::parameter_status(body) {
                Ok((name, value)) => {
                    if self.parameters.len() < PARAMETERS_MAX || self.parameters.contains_key(&name) {
                        self.parameters.insert(name, value);
                    }
                }
                Err(cause) => return Err(self.malformed(phase, b'S', cause)),
            },
            _ => {} // a notification, which nothing here uses
        }
        self.wire.consume(header.frame_bytes());
        self.talk_bytes = self.talk_bytes.saturating_add(header.frame_bytes() as u64);
        if self.talk_bytes > TALK_BYTES_MAX {
            let what = "the server sends nothing but notices and parameters, a gigabyte of them";
            return Err(self.violation(phase, what));
        }
        Ok(true)
    }

    /// Waits until more bytes are there.
    pub(crate) fn read_more(&mut self, phase: &'static str) -> Result<(), Error> {
        let mut silence = None;
        loop {
            self.check_time(phase)?;
            match self.wire.fill() {
                Ok(Fill::Bytes) => {
                    self.answered();
                    return Ok(());
                }
                Ok(Fill::Nothing) => self.check_silence(&mut silence, phase)?,
                Ok(Fill::Eof) => return Err(self.closed(phase)),
                Ok(Fill::Full) => {
                    return Err(self.fail(
                        ErrorKind::Io,
                        phase,
                        "no memory for a message of the size the server announced",
                    ));
                }
                Err(cause) => return Err(self.io_error(&cause, phase)),
            }
        }
    }

    /// The first bytes since the statement began end its round trip.
    fn answered(&mut self) {
        if let Some(asked_at) = self.asked_at.take() {
            let trip = asked_at.elapsed();
            self.shortest_trip = Some(self.shortest_trip.map_or(trip, |shortest| shortest.min(trip)));
        }
    }

    /// As [`read_more`](Self::read_more), but straight into `target`, when nothing is buffered. Returns the
    /// number of bytes.
    pub(crate) fn read_into(&mut self, target: &mut [u8], phase: &'static str) -> Result<usize, Error> {
        let mut silence = None;
        loop {
            self.check_time(phase)?;
            match self.wire.read_into(target) {
                Ok(Some(0)) => return Err(self.closed(phase)),
                Ok(Some(n_bytes)) => return Ok(n_bytes),
                Ok(None) => self.check_silence(&mut silence, phase)?,
                Err(cause) => return Err(self.io_error(&cause, phase)),
            }
        }
    }

    /// Nothing moved in the last tick. `silence` is when the silence began, without its first tick.
    fn check_silence(&mut self, silence: &mut Option<Instant>, phase: &'static str) -> Result<(), Error> {
        if self.is_silent(silence) {
            return Err(self.give_up_silence("came", phase));
        }
        Ok(())
    }
    /// ReadyForQuery, and nothing else, must come now.
    pub(crate) fn expect_ready(&mut self, phase: &'static str) -> Result<(), Error> {
        let message = self.receive_or_fail(phase)?;
        self.ready(phase, &message)
    }

    /// Takes `message` as ReadyForQuery.
    pub(crate) fn ready(&mut self, phase: &'static str, message: &Message) -> Result<(), Error> {
        if message.tag != b'Z' {
            return Err(self.unexpected(phase, message.tag));
        }
        match backend::ready_for_query(&message.body) {
            Ok(status) => {
                self.transaction_status = status;
                if status == TransactionStatus::Idle {
                    // What was set for the transaction is over.
                    self.encoding = UTF8;
                }
                self.is_started = true;
                Ok(())
            }
            Err(cause) => Err(self.malformed(phase, b'Z', cause)),
        }
    }

    /// Turns an ErrorResponse into an error and waits, within limits, until the session is ready again.
    pub(crate) fn fail_with_report(&mut self, phase: &'static str, body: &[u8]) -> Error {
        let report = ServerError::decode(body);
        let error = Error::server(&format!("{} ({phase})", self.endpoint), report.clone());
        if report.is_fatal() || !self.is_started || phase == IDLE {
            self.unusable = Some("the server ended it".to_owned());
            self.last_words = Some(report);
            return error;
        }
        let deadline = self.deadline;
        self.deadline = Some(deadline.unwrap_or_else(|| Instant::now() + DRAIN_TIME));
        // A second error, or anything but ReadyForQuery, makes the session unusable by itself.
        if let Ok(message) = self.receive(phase) {
            let _ = self.ready(phase, &message);
        }
        self.deadline = deadline;
        error
    }
}
