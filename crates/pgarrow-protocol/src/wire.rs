//! The socket, TLS if there is any, and the receive buffer: bytes in, bytes out, without their meaning.
//!
//! ```text
//!  socket ──read──▶ (ciphertext 256 KiB ──rustls──▶) free tail of the receive buffer
//!
//!  pace        SO_RCVLOWAT   waits     when
//!  Idle        1             100 ms    outside a COPY, and on Unix sockets
//!  Waiting     1             100 ms    at the beginning of a COPY, and after some waits without a byte
//!  Streaming   256 KiB       1 ms      while a COPY streams over TCP, with TLS or without
//! ```
//!
//! Whoever knows how much is still to come chooses the mark for it, and the COPY streams from then on.
//!
//! A low-water mark of 256 KiB wakes us once for 32 of the server's 8 KiB writes. The end of the stream
//! is shorter than the mark, so after a short wait the bytes that are there are taken. A mark above the free
//! tail would wait for bytes that have no place. The short wait is a poll, which respects the mark too: a
//! receive timeout of the socket lasts up to two of the kernel's ticks of 4 ms or more, at the end of every
//! slice. Short streams end before any of this begins.

mod tls;

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::ClientConnection;

use self::tls::Tls;
use crate::receive::ReceiveBuffer;
use crate::socket::{Readiness, Socket};

/// How often a blocked call looks at the clock and at the interrupt flag.
pub(crate) const TICK: Duration = Duration::from_millis(100);

const STREAMING_WAIT: Duration = Duration::from_millis(1);
/// A COPY counts as a stream from this number of bytes on.
const STREAMING_FROM: u64 = 256 * 1024;
const STREAMING_LOW_WATER: usize = 256 * 1024;
/// Empty waits in a row after which the pace goes back to Waiting.
const QUIET_READS: u32 = 25;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pace {
    Idle,
    Streaming,
    Waiting,
}

/// How long one read of the socket waits for bytes.
#[derive(Clone, Copy, Debug)]
enum Patience {
    None,
    /// [`STREAMING_WAIT`], for as many bytes as the low-water mark says.
    Streaming,
    /// [`TICK`], for one byte.
    Tick,
}

impl Patience {
    fn read(self, socket: &Socket, target: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None => socket.read_now(target),
            Self::Streaming => {
                socket.wait(true, false, STREAMING_WAIT)?;
                socket.read_now(target)
            }
            Self::Tick => socket.read(target),
        }
    }
}

impl Pace {
    fn patience(self) -> Patience {
        match self {
            Self::Streaming => Patience::Streaming,
            Self::Idle | Self::Waiting => Patience::Tick,
        }
    }
}

/// The result of one read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fill {
    /// Bytes were added to the buffer.
    Bytes,
    /// None came in time.
    Nothing,
    /// There will be no more.
    Eof,
    /// The buffer takes no more until something is consumed.
    Full,
}

#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    tls: Option<Box<Tls>>,
    buffer: ReceiveBuffer,
    bytes_received: u64,
    bytes_sent: u64,
    pace: Pace,
    low_water: usize,
    quiet_reads: u32,
    /// The value of `bytes_received` at which a COPY becomes a stream.
    streaming_from: u64,
    /// Bytes that a stream waits for.
    streaming_low_water: LowWater,
}

/// What the low-water mark of a stream follows.
#[derive(Clone, Copy, Debug)]
enum LowWater {
    /// [`STREAMING_LOW_WATER`].
    Usual,
    /// As many bytes as are wanted at once.
    Wanted(usize),
}

impl Wire {
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        socket.set_read_timeout(TICK)?;
        Ok(Self {
            socket,
            tls: None,
            buffer: ReceiveBuffer::new(),
            bytes_received: 0,
            bytes_sent: 0,
            pace: Pace::Idle,
            low_water: 1,
            quiet_reads: 0,
            streaming_from: 0,
            streaming_low_water: LowWater::Usual,
        })
    }

    /// The socket itself, if it is a Unix socket.
    pub(crate) fn unix_socket(&self) -> Option<&UnixStream> {
        self.socket.as_unix()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    /// Bytes that [`write_now`](Self::write_now) has taken.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// Bytes that the socket has taken, to see progress: with TLS, those of its records.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.tls.as_ref().map_or(self.bytes_sent, |tls| tls.written)
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.unread()
    }

    pub(crate) fn consume(&mut self, n_bytes: usize) {
        self.buffer.consume(n_bytes);
    }

    /// Waits until there is something to read or, if `for_write`, room to write.
    pub(crate) fn wait(&self, for_write: bool, timeout: Duration) -> io::Result<Readiness> {
        self.socket.wait(true, for_write, timeout)
    }

    /// Waits until there is room to write or, if `or_read`, something to read.
    pub(crate) fn wait_for_room(&self, or_read: bool, timeout: Duration) -> io::Result<Readiness> {
        self.socket.wait(or_read, true, timeout)
    }

    /// Reads exactly one unencrypted byte: the bytes after it belong to TLS.
    pub(crate) fn read_single_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let n_bytes = self.socket.read(&mut byte)?;
        let [byte] = byte;
        Ok((n_bytes == 1).then_some(byte))
    }

    /// Reads once into the free tail. The pace decides how long it waits.
    pub(crate) fn fill(&mut self) -> io::Result<Fill> {
        if self.buffer.make_room().is_err() {
            return Ok(Fill::Full);
        }
        let n_free = self.buffer.free_tail().len();
        self.adjust_low_water(n_free)?;
        let (patience, free) = (self.pace.patience(), self.buffer.free_tail());
        let result = match &mut self.tls {
            None => patience.read(&self.socket, free),
            Some(tls) => tls.read(&self.socket, patience, free),
        };
        let filled = self.note(result)?;
        if self.pace != Pace::Idle {
            self.adjust_pace(filled)?;
        }
        Ok(filled)
    }

    /// As [`fill`](Self::fill), but into `target`; the buffer has to be empty. Returns the number of bytes, 0
    /// at the end of the stream, `None` if none came in time.
    pub(crate) fn read_into(&mut self, target: &mut [u8]) -> io::Result<Option<usize>> {
        debug_assert!(self.buffer.unread().is_empty());
        self.adjust_low_water(target.len())?;
        let patience = self.pace.patience();
        let result = match &mut self.tls {
            None => patience.read(&self.socket, target),
            Some(tls) => tls.read(&self.socket, patience, target),
        };
        let (n_bytes, filled) = match result {
            Ok(0) => return Ok(Some(0)),
            Ok(n_bytes) => (Some(n_bytes), Fill::Bytes),
            Err(cause) if is_nothing(&cause) => (None, Fill::Nothing),
            Err(cause) => return Err(cause),
        };
        self.bytes_received = self.bytes_received.saturating_add(n_bytes.unwrap_or(0) as u64);
        if self.pace != Pace::Idle {
            self.adjust_pace(filled)?;
        }
        Ok(n_bytes)
    }

    /// Reads once into the free tail, without waiting.
    pub(crate) fn fill_now(&mut self) -> io::Result<Fill> {
        if self.buffer.make_room().is_err() {
            return Ok(Fill::Full);
        }
        let result = match &mut self.tls {
            None => self.socket.read_now(self.buffer.free_tail()),
            Some(tls) => tls.read(&self.socket, Patience::None, self.buffer.free_tail()),
        };
        self.note(result)
    }

    fn note(&mut self, result: io::Result<usize>) -> io::Result<Fill> {
        match result {
            Ok(0) => Ok(Fill::Eof),
            Ok(n_bytes) => {
                self.buffer.commit(n_bytes);
                self.bytes_received = self.bytes_received.saturating_add(n_bytes as u64);
                Ok(Fill::Bytes)
            }
            Err(cause) if is_nothing(&cause) => Ok(Fill::Nothing),
            Err(cause) => Err(cause),
        }
    }

    /// Prepares the socket for a long stream. [`stop_streaming`](Self::stop_streaming) undoes it.
    pub(crate) fn start_streaming(&mut self) -> io::Result<()> {
        if self.socket.is_tcp() {
            self.streaming_from = self.bytes_received.saturating_add(STREAMING_FROM);
            self.streaming_low_water = LowWater::Usual;
            self.set_pace(Pace::Waiting)?;
        }
        Ok(())
    }

    /// The stream waits for `n_bytes` from now on, if there is one: no more than are still to come.
    pub(crate) fn want_at_once(&mut self, n_bytes: usize) {
        self.streaming_low_water = LowWater::Wanted(n_bytes);
        // Nothing is known about the server's pace. If nothing comes, the next reads find out.
        if self.pace == Pace::Waiting && self.bytes_received < self.streaming_from {
            (self.pace, self.streaming_from) = (Pace::Streaming, self.bytes_received);
        }
    }

    pub(crate) fn stop_streaming(&mut self) -> io::Result<()> {
        if self.pace != Pace::Idle {
            self.set_pace(Pace::Idle)?;
        }
        self.buffer.shrink();
        Ok(())
    }

    fn set_pace(&mut self, pace: Pace) -> io::Result<()> {
        self.quiet_reads = 0;
        self.pace = pace;
        let n_free = self.buffer.free_tail().len();
        self.adjust_low_water(n_free)
    }

    fn adjust_pace(&mut self, filled: Fill) -> io::Result<()> {
        match (filled, self.pace) {
            (Fill::Bytes, Pace::Waiting) if self.bytes_received >= self.streaming_from => {
                self.set_pace(Pace::Streaming)
            }
            (Fill::Nothing, Pace::Streaming) => {
                self.quiet_reads += 1;
                if self.quiet_reads >= QUIET_READS { self.set_pace(Pace::Waiting) } else { Ok(()) }
            }
            _ => {
                self.quiet_reads = 0;
                Ok(())
            }
        }
    }

    /// `n_free`: the room of the next read, in bytes. With TLS, the socket is read into a buffer of its own,
    /// which has room for the whole mark.
    fn adjust_low_water(&mut self, n_free: usize) -> io::Result<()> {
        let n_free = if self.tls.is_some() { tls::CIPHERTEXT_BYTES } else { n_free };
        let low_water = match self.pace {
            // A power of two, so that it rarely changes: each change is a system call.
            Pace::Streaming => match self.streaming_low_water {
                LowWater::Usual => {
                    n_free.min(STREAMING_LOW_WATER).checked_ilog2().map_or(1, |exponent| 1 << exponent)
                }
                LowWater::Wanted(n_bytes) => n_free.min(n_bytes).max(1),
            },
            Pace::Idle | Pace::Waiting => 1,
        };
        if low_water != self.low_water {
            self.socket.set_receive_low_water(low_water)?;
            self.low_water = low_water;
        }
        Ok(())
    }

    /// Writes as many bytes as there is room for and returns their number. All of them are sent once
    /// `is_flushed`.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = match &mut self.tls {
            None if bytes.is_empty() => Ok(0),
            None => self.socket.write_now(bytes),
            Some(tls) => tls.write(&self.socket, bytes),
        };
        match result {
            Ok(n_bytes) => {
                self.bytes_sent += n_bytes as u64;
                Ok(n_bytes)
            }
            Err(cause) if is_nothing(&cause) => Ok(0),
            Err(cause) => Err(cause),
        }
    }

    /// True if nothing is held back between [`write_now`](Self::write_now) and the socket.
    pub(crate) fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.connection.wants_write())
    }

    /// From here on, everything goes through TLS.
    pub(crate) fn start_tls(&mut self, connection: ClientConnection) {
        self.tls = Some(Box::new(Tls::new(connection)));
    }

    /// The certificate that the server has shown, in DER; `None` without TLS.
    pub(crate) fn server_certificate(&self) -> Option<&[u8]> {
        let certificates = self.tls.as_ref()?.connection.peer_certificates()?;
        certificates.first().map(AsRef::as_ref)
    }

    /// The server has chosen the one protocol that we offered by ALPN.
    pub(crate) fn has_application_protocol(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.connection.alpn_protocol().is_some())
    }

    /// Sends and receives bytes of the handshake; true once it is complete.
    pub(crate) fn handshake_step(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        tls.shake_hands(&self.socket).map_err(|cause| match cause.kind() {
            // The server's reason for closing may have arrived before.
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                tls.last_words(&self.socket).unwrap_or(cause)
            }
            _ => cause,
        })?;
        Ok(!tls.connection.is_handshaking() && !tls.connection.wants_write())
    }

    /// Ends TLS and shuts the socket down.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.connection.send_close_notify();
            let _ = tls.flush(&self.socket); // courtesy only
        }
        self.socket.shutdown();
    }
}

/// A timeout, a socket without room, or a signal: no error, just nothing yet.
pub(crate) fn is_nothing(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
