//! The limit: the same COPY, read and thrown away.
//!
//! Shares no code with the engine. A login without a password, one query, and `read` into one buffer until the
//! last bytes are the server's ReadyForQuery. The *fair* drain sets `SO_RCVLOWAT`, so that it is not woken for
//! every 8 KiB the server flushes; the *plain* one does not.

#![expect(unsafe_code, reason = "SO_RCVLOWAT has no safe wrapper")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use pgarrow_protocol::Config;

use crate::Result;

const BUFFER_BYTES: usize = 256 << 10;
const LOW_WATER_BYTES: libc::c_int = 128 << 10;
const READY_FOR_QUERY: [u8; 5] = [b'Z', 0, 0, 0, 5];

/// A connection that can do nothing but drain.
#[derive(Debug)]
pub(crate) struct Drain {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drained {
    pub(crate) bytes: u64,
    /// As the server counted them.
    pub(crate) rows: u64,
}

impl Drain {
    pub(crate) fn connect(config: &Config) -> Result<Self> {
        let mut stream = TcpStream::connect((config.host(), config.port()))?;
        stream.set_nodelay(true)?;
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for (name, value) in
            [("user", config.user()), ("database", config.dbname()), ("client_encoding", "UTF8")]
        {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4)?;
        stream.write_all(&[&length.to_be_bytes()[..], &body].concat())?;
        let mut drain = Self { stream, buffer: vec![0; BUFFER_BYTES] };
        drain.until_ready(true)?;
        Ok(drain)
    }

    /// Runs a COPY and throws its data away.
    pub(crate) fn copy(&mut self, sql: &str, is_fair: bool) -> Result<Drained> {
        let length = u32::try_from(sql.len() + 5)?;
        self.stream.write_all(&[b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat())?;
        if is_fair {
            self.low_water(LOW_WATER_BYTES)?;
            // Below the low-water mark a read waits for this long, then takes what is there.
            self.stream.set_read_timeout(Some(Duration::from_millis(2)))?;
        }
        let drained = self.until_ready(false)?;
        if is_fair {
            self.low_water(1)?;
            self.stream.set_read_timeout(None)?;
        }
        Ok(drained)
    }

    fn low_water(&self, n_bytes: libc::c_int) -> Result<()> {
        let size = libc::socklen_t::try_from(size_of_val(&n_bytes))?;
        // SAFETY: the descriptor is open; the pointer is to a live c_int of that size, which is only read.
        let result = unsafe {
            let value = (&raw const n_bytes).cast();
            libc::setsockopt(self.stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, size)
        };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
    }

    /// Reads until the last six bytes are a ReadyForQuery, and the command tag stands before it.
    fn until_ready(&mut self, is_login: bool) -> Result<Drained> {
        const TAIL: usize = 64;
        let mut tail: Vec<u8> = Vec::with_capacity(2 * TAIL);
        let mut bytes = 0;
        loop {
            let n_read = match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed the connection; does it want a password?".into()),
                Ok(n_read) => n_read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error.into()),
            };
            bytes += n_read as u64;
            let end = self.buffer.get(n_read.saturating_sub(TAIL)..n_read).unwrap_or_default();
            tail.extend_from_slice(end);
            tail.drain(..tail.len().saturating_sub(TAIL));
            let is_ready =
                tail.len() >= 6 && tail.get(tail.len() - 6..tail.len() - 1) == Some(&READY_FOR_QUERY);
            if is_ready && (is_login || tail.windows(5).any(|window| window == b"COPY ")) {
                let text = String::from_utf8_lossy(&tail);
                let count = text.split("COPY ").last().and_then(|rest| rest.split('\0').next());
                return Ok(Drained { bytes, rows: count.and_then(|count| count.parse().ok()).unwrap_or(0) });
            }
        }
    }
}
