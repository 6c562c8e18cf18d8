//! What all ways to read rows have in common: data messages in one buffer, and an end that reports the number
//! of rows.

use crate::error::Error;
use crate::session::Session;

/// Below this size a read goes through the receive buffer: a direct read of the rest of a message into its
/// place is worth a system call only for large values.
const DIRECT_BYTES: usize = 32 * 1024;

/// Rows on their way in: [`CopyOut`](crate::CopyOut) or [`RowsOut`](crate::RowsOut).
pub trait RowStream {
    /// How many columns the server announced.
    fn column_count(&self) -> usize;

    /// Bytes that are received and not consumed. They start at a message boundary: tag, `u32` length, body.
    ///
    /// The caller decodes the whole data messages at the start of the buffer (CopyData `d` of a COPY, DataRow
    /// `D` otherwise) and [`consume`](Self::consume)s them. At any other tag, and at an incomplete message,
    /// it calls [`advance`](Self::advance). Lengths are not checked yet.
    fn buffered(&self) -> &[u8];

    /// Marks the first `n_bytes` of [`buffered`](Self::buffered) as read: whole data messages, with their
    /// headers.
    fn consume(&mut self, n_bytes: usize);

    /// Bytes received since the statement was sent.
    fn bytes_received(&self) -> u64;

    /// Continues: handles other messages, and reads until a whole data message is there or the stream is
    /// over.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`](crate::ErrorKind::Server) if the server ends the stream with an error. Only one
    /// end means success; any other message is an error, too. After an error, and after
    /// [`CopyOutStep::Done`], the stream stays as it is.
    fn advance(&mut self) -> Result<CopyOutStep, Error>;

    /// Fills `target` with the next bytes of the stream: what is buffered, then straight from the socket.
    ///
    /// For data messages that are too large to be held twice. The first call starts at a data message at the
    /// start of [`buffered`](Self::buffered), and includes its header. The caller continues, with targets of
    /// any sizes, to the end of that message and not beyond it. In between, it may call no other method but
    /// [`bytes_received`](Self::bytes_received).
    ///
    /// # Errors
    ///
    /// As for [`advance`](Self::advance). [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) also if there
    /// is no data message at the start, or `target` is larger than the rest of the message.
    fn receive(&mut self, target: &mut [u8]) -> Result<(), Error>;
}

/// The result of [`RowStream::advance`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CopyOutStep {
    /// At least one whole data message is at the start of [`RowStream::buffered`].
    Data,
    /// The COPY is over and the session is ready. `rows` is what the server counted: the caller
    /// compares it with the rows it has decoded.
    Done {
        /// From the tag `COPY <rows>`.
        rows: u64,
    },
}

impl Session {
    /// [`RowStream::receive`] for messages tagged `tag`; `left` counts the bytes left of the current message.
    pub(crate) fn receive_data(
        &mut self,
        phase: &'static str,
        tag: u8,
        left: &mut usize,
        mut target: &mut [u8],
    ) -> Result<(), Error> {
        if *left == 0 && !target.is_empty() {
            *left = loop {
                match self.header(phase)? {
                    Some(header) if header.tag == tag => break header.frame_bytes(),
                    Some(_) => return Err(self.violation(phase, "there is no data message to be received")),
                    None => self.read_more(phase)?,
                }
            };
        }
        *left = left
            .checked_sub(target.len())
            .ok_or_else(|| self.violation(phase, "more was to be received than the message has"))?;
        while !target.is_empty() {
            let (place, rest) = target.split_at_mut(self.wire.unread().len().min(target.len()));
            place.copy_from_slice(self.wire.unread().get(..place.len()).unwrap_or_default());
            self.wire.consume(place.len());
            target = rest;
            if target.len() >= DIRECT_BYTES {
                let n_bytes = self.read_into(target, phase)?;
                target = target.get_mut(n_bytes..).unwrap_or_default();
            } else if !target.is_empty() {
                self.read_more(phase)?;
            }
        }
        Ok(())
    }
}
