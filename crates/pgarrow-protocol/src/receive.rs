//! The receive buffer: one owned block per session, two indices.
//!
//! ```text
//!  0          start                 end              capacity
//!  ├─ consumed ─┼─ received, unread ─┼──── free tail ────┤      read() goes straight into the tail
//!                                    │
//!  before a read: the unread bytes (at most one incomplete message) move to the front
//! ```
//!
//! It has 512 KiB. It doubles only while one message is larger than it and the bytes of the message really
//! arrive: a length is only a claim, and allocates nothing. It shrinks to 512 KiB after a number of reads in
//! a row for which 512 KiB would have been enough.

use crate::frame::{FRAME_BYTES_MAX, HEADER_BYTES};

/// Measured: 8 KiB to 4 MiB made no difference in wall time. Half of this, with half of the low-water mark,
/// takes up to a seventh more CPU of the client.
pub(crate) const RESTING_BYTES: usize = 512 * 1024;

/// A large buffer shrinks after this many reads in a row that did not need it.
const CALM_READS: u32 = 64;

pub(crate) struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    calm_reads: u32,
}

/// Without the bytes, which may be values of tables or a key.
impl std::fmt::Debug for ReceiveBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBuffer")
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// The buffer cannot grow: it is full of bytes that must be consumed first, or memory has run out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Full;

impl ReceiveBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; RESTING_BYTES], start: 0, end: 0, calm_reads: 0 }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, n_bytes: usize) {
        self.start = self.start.saturating_add(n_bytes).min(self.end);
    }

    /// Moves unread bytes to the front and makes sure that there is room behind them.
    ///
    /// Grows only if the unread bytes are the beginning of one message.
    pub(crate) fn make_room(&mut self) -> Result<(), Full> {
        let n_unread = self.end - self.start;
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = n_unread;
        }
        if self.end == self.bytes.len() {
            return self.grow();
        }
        if self.bytes.len() > RESTING_BYTES {
            self.calm_reads = if n_unread < RESTING_BYTES { self.calm_reads + 1 } else { 0 };
            if self.calm_reads >= CALM_READS {
                self.shrink();
            }
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Full> {
        self.calm_reads = 0;
        let is_incomplete = matches!(
            crate::frame::header(self.unread()),
            Ok(Some(header)) if header.frame_bytes() > self.unread().len()
        );
        let n_bytes = self.bytes.len().saturating_mul(2).min(FRAME_BYTES_MAX + HEADER_BYTES);
        let additional = n_bytes.saturating_sub(self.bytes.len());
        if !is_incomplete || additional == 0 || self.bytes.try_reserve_exact(additional).is_err() {
            return Err(Full);
        }
        self.bytes.resize(n_bytes, 0);
        Ok(())
    }

    /// Shrinks to the resting size, if the unread bytes fit.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.len() > RESTING_BYTES && self.start == 0 && self.end < RESTING_BYTES {
            self.bytes.truncate(RESTING_BYTES);
            self.bytes.shrink_to_fit();
            self.calm_reads = 0;
        }
    }

    /// Where the next bytes go; not empty after [`make_room`](Self::make_room).
    pub(crate) fn free_tail(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Marks `n_bytes` of the free tail as received.
    pub(crate) fn commit(&mut self, n_bytes: usize) {
        self.end = self.end.saturating_add(n_bytes).min(self.bytes.len());
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut ReceiveBuffer, bytes: &[u8]) {
        buffer.make_room().unwrap();
        buffer.free_tail()[..bytes.len()].copy_from_slice(bytes);
        buffer.commit(bytes.len());
    }

    #[test]
    fn what_is_unread_moves_to_the_front() {
        let mut buffer = ReceiveBuffer::new();
        put(&mut buffer, b"abcdef");
        buffer.consume(4);
        assert_eq!(buffer.unread(), b"ef");
        put(&mut buffer, b"gh");
        assert_eq!(buffer.unread(), b"efgh");
        assert_eq!(buffer.free_tail().len(), RESTING_BYTES - 4);
        buffer.consume(usize::MAX);
        assert_eq!(buffer.unread(), b"");
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut buffer = ReceiveBuffer::new();
        put(&mut buffer, b"d\x3f\xff\xff\xff");
        for _ in 0..1000 {
            put(&mut buffer, b"x");
        }
        assert_eq!(buffer.capacity(), RESTING_BYTES);
    }

    #[test]
    fn grows_with_one_large_message_and_shrinks_afterwards() {
        let mut buffer = ReceiveBuffer::new();
        put(&mut buffer, b"d\x00\x10\x00\x04"); // 1 MiB of payload
        let mut missing = 1024 * 1024;
        while missing > 0 {
            buffer.make_room().unwrap();
            let n_bytes = buffer.free_tail().len().min(missing);
            buffer.commit(n_bytes);
            missing -= n_bytes;
            assert!(buffer.capacity() <= 2 * RESTING_BYTES.max(buffer.unread().len()));
        }
        buffer.consume(5 + 1024 * 1024);
        for _ in 0..CALM_READS {
            put(&mut buffer, b"d\0\0\0\x04");
            buffer.consume(5);
        }
        assert_eq!(buffer.capacity(), RESTING_BYTES);
    }

    #[test]
    fn complete_messages_that_nobody_consumes_do_not_make_it_grow() {
        let mut buffer = ReceiveBuffer::new();
        put(&mut buffer, b"d\0\0\0\x04");
        buffer.commit(usize::MAX);
        assert_eq!(buffer.make_room(), Err(Full));
        assert_eq!(buffer.capacity(), RESTING_BYTES);
    }
}
