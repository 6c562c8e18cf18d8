//! A server that is far away: a proxy by which what is sent arrives later, in both directions.
//!
//! ```text
//!  client ─▶ reads ─▶ (when it is due, bytes) … at most 256 on their way ─▶ writes ─▶ server     and back
//! ```
//!
//! Not the proxy of the tests: their crate changes the features of the libraries that are measured here.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Bytes that are moved at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces between both ends of a direction: 16 MiB, more than the kernel's largest window.
const PIECES_MAX: usize = 256;

/// Listens for connections to `server_port`, each byte of which is `delay` late. Returns the port. It ends
/// with this process.
pub(crate) fn listen(server_port: u16, delay: Duration) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A connection that cannot be made ends at once, and the client says so.
            let _ = connect(client, server_port, delay);
        }
    });
    Ok(port)
}

/// Connects a client with the server.
fn connect(client: TcpStream, server_port: u16, delay: Duration) -> Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port))?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    let ends = [(client.try_clone()?, server.try_clone()?), (server, client)];
    for (from, to) in ends {
        let (line, arriving) = mpsc::sync_channel(PIECES_MAX);
        thread::spawn(move || depart(from, &line, delay));
        thread::spawn(move || arrive(to, &arriving));
    }
    Ok(())
}

/// Reads until the end. A side that breaks its connection ends both directions by what the other sees.
fn depart(mut from: TcpStream, line: &mpsc::SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(n_read @ 1..) = from.read(&mut buffer) {
        let piece = buffer.get(..n_read).unwrap_or_default().to_vec();
        if line.send((Instant::now() + delay, piece)).is_err() {
            break;
        }
    }
}

/// Writes each piece when it is due, then the end.
fn arrive(mut to: TcpStream, arriving: &mpsc::Receiver<(Instant, Vec<u8>)>) {
    for (due, piece) in arriving {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_all_of_it_is_late() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (delay, sent) = (Duration::from_millis(20), vec![7_u8; 3 * PIECE_BYTES + 1]);
        let port = listen(server.local_addr().unwrap().port(), delay).unwrap();
        let expected = sent.clone();
        thread::spawn(move || {
            let (mut socket, _) = server.accept().unwrap();
            socket.read_exact(&mut [0; 1]).unwrap();
            socket.write_all(&sent).unwrap();
        });
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let started = Instant::now();
        client.write_all(b"?").unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        // Not before: how much later it is depends on the machine.
        assert!(started.elapsed() >= 2 * delay);
        assert_eq!(received, expected);
    }
}
