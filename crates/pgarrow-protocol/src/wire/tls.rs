//! TLS between the session's bytes and the socket, in both directions. It waits no longer than the caller
//! allows.

use std::io::{self, Read as _, Write as _};

use rustls::ClientConnection;

use super::{Patience, is_nothing};
use crate::socket::Socket;

/// What one read of the socket takes at most: as much as the low-water mark of a stream.
pub(super) const CIPHERTEXT_BYTES: usize = super::STREAMING_LOW_WATER;

#[derive(Debug)]
pub(super) struct Tls {
    pub(super) connection: ClientConnection,
    /// Bytes of records that the socket has taken.
    pub(super) written: u64,
    /// rustls asks for 4 KiB at a time, which would be a system call for each.
    ciphertext: Vec<u8>,
    start: usize,
    end: usize,
}

impl Tls {
    pub(super) fn new(connection: ClientConnection) -> Self {
        Self { connection, written: 0, ciphertext: vec![0; CIPHERTEXT_BYTES], start: 0, end: 0 }
    }

    /// Decrypted bytes of one read of the socket.
    pub(super) fn read(
        &mut self,
        socket: &Socket,
        patience: Patience,
        mut free: &mut [u8],
    ) -> io::Result<usize> {
        let mut n_read = 0;
        let mut has_received = false;
        loop {
            match self.connection.reader().read(free) {
                Ok(0) => return Ok(n_read), // closed properly, or no room
                Ok(n_bytes) => {
                    n_read += n_bytes;
                    free = free.get_mut(n_bytes..).unwrap_or_default();
                    if free.is_empty() {
                        return Ok(n_read);
                    }
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
                    if self.start == self.end {
                        if n_read > 0 {
                            return Ok(n_read);
                        }
                        // Only once: a server that sends a byte now and then would keep us from the clock
                        // otherwise.
                        if has_received {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        has_received = true;
                    }
                    self.receive(socket, patience)?;
                }
                // The connection ended without close_notify. The messages tell whether it was complete.
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(n_read),
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Hands ciphertext to rustls, from the socket if none is buffered; 0 at its end.
    fn receive(&mut self, socket: &Socket, patience: Patience) -> io::Result<usize> {
        if self.start == self.end {
            let n_bytes = patience.read(socket, &mut self.ciphertext)?;
            self.start = 0;
            self.end = n_bytes;
        }
        let mut rest = self.ciphertext.get(self.start..self.end).unwrap_or_default();
        let n_bytes = self.connection.read_tls(&mut rest)?;
        self.start += n_bytes;
        self.connection
            .process_new_packets()
            .map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
        if self.connection.wants_write() && !self.connection.is_handshaking() {
            // An answer to a key update, or outgoing bytes. If they cannot be sent any more, the server's
            // earlier bytes are still to be read, and the next write reports the failure.
            let _ = self.flush(socket);
        }
        Ok(n_bytes)
    }

    pub(super) fn shake_hands(&mut self, socket: &Socket) -> io::Result<()> {
        self.flush(socket)?;
        if self.connection.is_handshaking() {
            match self.receive(socket, Patience::Tick) {
                Err(cause) if is_nothing(&cause) => {}
                Err(cause) => {
                    let _ = self.flush(socket); // the alert with the reason
                    return Err(cause);
                }
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
            }
            self.flush(socket)?;
        }
        Ok(())
    }

    /// The alert by which the server ended the handshake, if it has arrived.
    pub(super) fn last_words(&mut self, socket: &Socket) -> Option<io::Error> {
        loop {
            match self.receive(socket, Patience::None) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(cause) => return (cause.kind() == io::ErrorKind::InvalidData).then_some(cause),
            }
        }
    }

    pub(super) fn write(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        // rustls holds 64 KiB at most, so a slow peer shows as a short write.
        let n_bytes = self.connection.writer().write(bytes)?;
        self.flush(socket)?;
        Ok(n_bytes)
    }

    pub(super) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut WriteNow(socket)) {
                Ok(n_bytes) => self.written += n_bytes as u64,
                Err(cause) if is_nothing(&cause) => return Ok(()),
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }
}

struct WriteNow<'a>(&'a Socket);

impl io::Write for WriteNow<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_now(bytes)
    }

    /// Sends several records, which rustls keeps apart, in one system call.
    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_pieces_now(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
