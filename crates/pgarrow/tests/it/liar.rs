//! A relay in front of a real server that changes the server's messages one by one.
//!
//! A scripted server would have to answer every query that plans an export. The relay only changes the COPY.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use pgarrow_testkit::TestServer;

/// What the client receives in place of one message.
pub(crate) enum Said {
    /// The message as it is.
    Truth,
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, and then the end of the connection.
    BytesThenClose(Vec<u8>),
    /// These bytes, and then a reset, which may discard bytes that were not read yet.
    BytesThenReset(Vec<u8>),
}

/// A message in bytes.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], length.to_be_bytes().as_slice(), body].concat()
}

/// The relay's place in the stream of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// CopyOutResponse has come.
    pub(crate) is_in_copy: bool,
    /// CommandComplete of the COPY has come.
    pub(crate) is_after_copy: bool,
    /// How many bytes have come since CopyOutResponse began, this message not included.
    pub(crate) n_bytes: usize,
}

/// The relay. Dropping it ends its connections.
pub(crate) struct Liar {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Starts a relay to the private test server. `lie` sees every message of the server after the login.
    pub(crate) fn start(lie: impl Fn(Place, u8, &[u8]) -> Said + Send + Sync + 'static) -> Self {
        let port = TestServer::shared().private().expect("the test requires a private server").port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, lie) = (Arc::clone(&is_over), Arc::new(lie));
        let thread = thread::spawn(move || {
            let mut relays = Vec::new();
            while let Ok((client, _)) = listener.accept() {
                if over.load(Ordering::Acquire) {
                    break;
                }
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let lie = Arc::clone(&lie);
                let (client_end, server_end) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                relays.push(thread::spawn(move || {
                    // Passes the end of one side on to the other.
                    let _ = io::copy(&mut &client_end, &mut &server_end);
                    let _ = server_end.shutdown(Shutdown::Both);
                }));
                relays.push(thread::spawn(move || {
                    let _ = relay(&server, &client, &*lie);
                    let _ = client.shutdown(Shutdown::Write);
                    let _ = server.shutdown(Shutdown::Both);
                }));
            }
            for relay in relays {
                let _ = relay.join();
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }

    /// A URL of the server, through the relay.
    pub(crate) fn url_of(&self, url: &str) -> String {
        let (front, rest) = url.split_once('@').unwrap();
        let address_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
        crate::support::with_parameter(
            &format!("{front}@{}{}", self.address, &rest[address_bytes..]),
            "sslmode=disable",
        )
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn relay(
    mut server: &TcpStream,
    mut client: &TcpStream,
    lie: &dyn Fn(Place, u8, &[u8]) -> Said,
) -> io::Result<()> {
    let mut place = Place::default();
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        server.read_exact(&mut body)?;
        let tag = head[0];
        place.is_in_copy |= tag == b'H';
        match lie(place, tag, &body) {
            Said::Truth => client.write_all(&message(tag, &body))?,
            Said::Bytes(bytes) => client.write_all(&bytes)?,
            Said::BytesThenClose(bytes) => return client.write_all(&bytes),
            Said::BytesThenReset(bytes) => {
                client.write_all(&bytes)?;
                setsockopt(&client, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
                // The other direction has a handle of its own; only closing the last handle resets.
                return client.shutdown(Shutdown::Read);
            }
        }
        if place.is_in_copy {
            place.n_bytes += head.len() + body.len();
            place.is_after_copy |= tag == b'C';
        }
    }
}
