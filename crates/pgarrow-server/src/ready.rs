//! Whether a server answers: the first message of PostgreSQL's protocol, without a client.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The answer of a server that is still starting or already stopping: `cannot_connect_now`.
const NOT_NOW: &[u8] = b"C57P03\0";

/// Whether the server on `port` takes connections.
///
/// Any request for a password and any refusal other than "not now" shows that it does; it does not matter
/// whether *we* may enter.
pub(crate) fn answers(port: u16) -> bool {
    ask(port).is_ok_and(|is_ready| is_ready)
}

fn ask(port: u16) -> io::Result<bool> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&startup_message())?;
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let [tag, length @ ..] = header;
    if tag != b'E' {
        return Ok(tag == b'R');
    }
    let body_bytes = u64::from(u32::from_be_bytes(length).saturating_sub(4));
    let mut body = Vec::new();
    stream.take(body_bytes.min(64 * 1024)).read_to_end(&mut body)?;
    Ok(!body.windows(NOT_NOW.len()).any(|window| window == NOT_NOW))
}

/// `StartupMessage`, protocol 3.0, user and database `postgres`.
fn startup_message() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0application_name\0pgarrow-server\0\0";
    let mut message = (body.len() as u32 + 4).to_be_bytes().to_vec();
    message.extend_from_slice(body);
    message
}
