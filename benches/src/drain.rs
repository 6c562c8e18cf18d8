//! The limit: the same COPY, read and discarded, on one connection.
//!
//! Shares no code with the engine. It logs in without a password, runs simple queries, and reads a COPY into
//! one buffer until the last bytes are the server's ReadyForQuery. The *fair* drain sets `SO_RCVLOWAT`, so
//! that it is not woken for every 8 KiB that the server flushes; the *plain* one does not. The *SELECT* drain
//! is a fair one of the rows of a SELECT in binary: what a driver would ask for.

#![expect(unsafe_code, reason = "neither SO_RCVLOWAT nor poll has a safe wrapper in the standard library")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use pgarrow_protocol::Config;

use crate::Result;

const BUFFER_BYTES: usize = 256 << 10;
const LOW_WATER_BYTES: libc::c_int = 128 << 10;
/// ReadyForQuery without its last byte, the transaction's state.
const READY_FOR_QUERY: [u8; 5] = [b'Z', 0, 0, 0, 5];

/// What a drain asks for, and how it waits for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DrainWay {
    PlainCopy,
    FairCopy,
    /// The extended protocol, results in binary; it waits as the fair one does.
    Select,
}

impl DrainWay {
    fn is_fair(self) -> bool {
        self != Self::PlainCopy
    }

    /// The beginning of the command tag, before the number of rows.
    fn tag(self) -> &'static [u8] {
        match self {
            Self::PlainCopy | Self::FairCopy => b"COPY ",
            Self::Select => b"SELECT ",
        }
    }
}

/// A connection that can only drain, in a transaction.
#[derive(Debug)]
pub(crate) struct Drain {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a drain received.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Drained {
    pub(crate) bytes: u64,
    /// The rows, as the server counted them.
    pub(crate) rows: u64,
}

impl Drain {
    /// Logs in and begins the transaction that it stays in.
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
        drain.answer()?;
        drain.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        Ok(drain)
    }

    /// Runs a query with a small result in text, and returns its rows.
    pub(crate) fn query(&mut self, sql: &str) -> Result<Vec<Vec<String>>> {
        self.send(sql)?;
        self.answer()
    }

    /// Runs a COPY or a SELECT and discards its data.
    pub(crate) fn discard(&mut self, sql: &str, way: DrainWay) -> Result<Drained> {
        match way {
            DrainWay::PlainCopy | DrainWay::FairCopy => self.send(sql)?,
            DrainWay::Select => self.send_extended(sql)?,
        }
        if way.is_fair() {
            self.low_water(LOW_WATER_BYTES)?;
            self.stream.set_nonblocking(true)?;
        }
        let drained = self.until_ready(way)?;
        if way.is_fair() {
            self.low_water(1)?;
            self.stream.set_nonblocking(false)?;
        }
        Ok(drained)
    }

    fn send(&mut self, sql: &str) -> Result<()> {
        let length = u32::try_from(sql.len() + 5)?;
        Ok(self.stream.write_all(&[b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat())?)
    }

    /// Parse, Bind, Execute and Sync of a statement without parameters, with all results in binary.
    fn send_extended(&mut self, sql: &str) -> Result<()> {
        // Unnamed statement and portal; no types; no formats and no values of parameters, one format for all
        // results; no limit on rows.
        let parse = [b"\0", sql.as_bytes(), b"\0\0\0"].concat();
        let bodies: [(u8, &[u8]); 4] =
            [(b'P', &parse), (b'B', b"\0\0\0\0\0\0\0\x01\0\x01"), (b'E', b"\0\0\0\0\0"), (b'S', b"")];
        let mut messages = Vec::new();
        for (tag, body) in bodies {
            messages.push(tag);
            messages.extend_from_slice(&u32::try_from(body.len() + 4)?.to_be_bytes());
            messages.extend_from_slice(body);
        }
        Ok(self.stream.write_all(&messages)?)
    }

    /// Reads messages one by one until ReadyForQuery. Returns the values of DataRows, as text.
    fn answer(&mut self) -> Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let [tag, length @ ..] = head;
            let length = u32::from_be_bytes(length).checked_sub(4).ok_or("a message that is too short")?;
            let mut body = vec![0; length as usize];
            self.stream.read_exact(&mut body)?;
            match tag {
                b'D' => rows.push(values(&body).ok_or("a broken row")?),
                // The login's failures end the connection, all others come before a ReadyForQuery.
                b'E' => failure = Some(error_message(&body)),
                b'R' if body != [0; 4] => return Err("the drains cannot log in with a password".into()),
                b'Z' => return failure.map_or(Ok(rows), |failure| Err(failure.into())),
                _ => {}
            }
        }
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

    /// Waits until the low-water mark is reached, or for a millisecond: the end of a stream is shorter.
    ///
    /// A receive timeout of the socket would do, too, but lasts up to two of the kernel's ticks, which are 4
    /// ms or more.
    fn wait(&self) -> Result<()> {
        let mut socket = libc::pollfd { fd: self.stream.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the pointer is to one live pollfd, as the count says, and the descriptor is open.
        match unsafe { libc::poll(&raw mut socket, 1, 1) } {
            0.. => Ok(()),
            _ => Err(std::io::Error::last_os_error().into()),
        }
    }

    /// Reads until the last bytes are the command tag and ReadyForQuery.
    ///
    /// Inside a transaction, ReadyForQuery says whether the command failed.
    fn until_ready(&mut self, way: DrainWay) -> Result<Drained> {
        const TAIL: usize = 64;
        let mut tail: Vec<u8> = Vec::with_capacity(2 * TAIL);
        let mut bytes = 0;
        loop {
            if way.is_fair() {
                self.wait()?;
            }
            let n_read = match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(n_read) => n_read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            bytes += n_read as u64;
            let end = self.buffer.get(n_read.saturating_sub(TAIL)..n_read).unwrap_or_default();
            tail.extend_from_slice(end);
            tail.drain(..tail.len().saturating_sub(TAIL));
            if let Some(rows) = end_of_rows(&tail, way.tag()) {
                return Ok(Drained { bytes, rows: rows? });
            }
        }
    }
}

/// The rows of the command tag, which begins so, if these are the last bytes of a COPY or a SELECT.
fn end_of_rows(tail: &[u8], tag: &[u8]) -> Option<Result<u64>> {
    let (state, rest) = tail.split_last()?;
    let rest = rest.strip_suffix(&READY_FOR_QUERY)?;
    if *state == b'E' {
        let text = String::from_utf8_lossy(rest).replace('\0', " ");
        return Some(Err(format!("the server ended what the drain reads: … {}", text.trim()).into()));
    }
    let rest = rest.strip_suffix(b"\0")?;
    let at = rest.windows(tag.len()).rposition(|window| window == tag)?;
    let count = str::from_utf8(rest.get(at + tag.len()..)?).ok()?;
    count.parse().ok().map(Ok)
}

/// The values of a DataRow; NULL is empty.
fn values(body: &[u8]) -> Option<Vec<String>> {
    let (n_values, mut rest) = body.split_first_chunk::<2>()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*n_values) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (value, after) = after.split_at_checked(length)?;
        values.push(String::from_utf8_lossy(value).into_owned());
        rest = after;
    }
    Some(values)
}

/// The field `M` of an ErrorResponse.
fn error_message(body: &[u8]) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let message = fields.find_map(|field| field.strip_prefix(b"M"));
    String::from_utf8_lossy(message.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_copy() {
        let mut tail = b"\xff\xffc\0\0\0\x04C\0\0\0\x0dCOPY 1234\0Z\0\0\0\x05T".to_vec();
        assert_eq!(end_of_rows(&tail, b"COPY ").unwrap().unwrap(), 1234);
        assert!(end_of_rows(&tail, b"SELECT ").is_none());
        tail.pop();
        assert!(end_of_rows(&tail, b"COPY ").is_none());
        assert!(end_of_rows(b"values that end as it does Z\0\0\0\x05T", b"COPY ").is_none());
        assert!(end_of_rows(b"", b"COPY ").is_none());
    }

    #[test]
    fn the_end_of_a_select() {
        let tail = b"D\0\0\0\x0a\0\x01\xff\xff\xff\xffC\0\0\0\x0eSELECT 20\0Z\0\0\0\x05T";
        assert_eq!(end_of_rows(tail, b"SELECT ").unwrap().unwrap(), 20);
    }

    #[test]
    fn a_copy_that_fails() {
        let tail = b"MCanceling statement\0\0Z\0\0\0\x05E";
        let error = end_of_rows(tail, b"COPY ").unwrap().unwrap_err().to_string();
        assert!(error.contains("Canceling statement"), "{error}");
    }

    #[test]
    fn rows_and_errors() {
        assert_eq!(
            values(b"\0\x02\0\0\0\x03abc\xff\xff\xff\xff"),
            Some(vec!["abc".to_owned(), String::new()])
        );
        assert_eq!(values(b"\0\x01\0\0\0\x09abc"), None);
        assert_eq!(error_message(b"SERROR\0C42P01\0Mno such table\0\0"), "no such table");
    }
}
