//! An in-process server that plays bytes: what it waits for, what it sends, and how it leaves.
//!
//! ```no_run
//! use pgarrow_testkit::{Script, Step, messages};
//!
//! let server = Script::new()
//!     .login()
//!     .expect_message(b'Q')
//!     .send([messages::copy_out_response(1), messages::copy_data(b"PGCOPY")].concat())
//!     .then(Step::Reset)
//!     .start();
//! // … connect to server.url() …
//! let received = server.finish();
//! assert_eq!(received.messages(b'Q').len(), 1);
//! ```
//!
//! Only what a script asks for is checked, and no step waits longer than [`PATIENCE`]: a test that would hang
//! fails.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::messages;
use crate::proxy::linger_zero;

/// How long a step waits for the client.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One thing the server does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Waits for this many bytes of any kind.
    ExpectBytes(usize),
    /// Waits for a startup request (also a request for TLS, or to cancel): a length and a body.
    ExpectStartup,
    /// Waits for one message with this tag; another tag fails the script.
    ExpectMessage(u8),
    /// Waits for one message of any kind.
    ExpectAnyMessage,
    /// Waits until the client has closed its side; reads and keeps what comes before.
    ExpectEnd,
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes in writes of this size, with a pause after each so that they arrive apart.
    SendSliced(Vec<u8>, usize),
    /// Closes the connection in an orderly way. This also happens after the last step.
    Close,
    /// Resets the connection.
    Reset,
    /// Does nothing until the client leaves or the server is dropped.
    Stall,
}

/// The steps for one connection.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Script {
    steps: Vec<Step>,
}

impl Script {
    /// A script without steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step.
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// A startup request, and the answer of a server that asks for no password.
    pub fn login(self) -> Self {
        self.then(Step::ExpectStartup).send(messages::login())
    }

    /// Waits for one message with this tag.
    pub fn expect_message(self, tag: u8) -> Self {
        self.then(Step::ExpectMessage(tag))
    }

    /// Sends bytes.
    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Step::Send(bytes.into()))
    }

    /// Starts a server that plays this to the first connection and then listens no longer.
    pub fn start(self) -> ScriptedServer {
        ScriptedServer::start(vec![self])
    }
}

/// A server that plays scripts, the first to the first connection and so on.
#[derive(Debug)]
pub struct ScriptedServer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Received>>>,
}

/// What a client sent on one connection.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Startup requests, without their length.
    pub startups: Vec<Vec<u8>>,
    /// Messages: tag and body.
    pub messages: Vec<(u8, Vec<u8>)>,
    /// The bytes that [`Step::ExpectBytes`] and [`Step::ExpectEnd`] read.
    pub bytes: Vec<u8>,
    /// Why the script could not be played to its end, if it could not.
    pub failure: Option<String>,
}

impl Received {
    /// The bodies of the messages with this tag.
    pub fn messages(&self, tag: u8) -> Vec<&[u8]> {
        self.messages.iter().filter(|(found, _)| *found == tag).map(|(_, body)| body.as_slice()).collect()
    }
}

impl ScriptedServer {
    /// Starts a server with one script for each connection to come.
    ///
    /// Connections are played at the same time. After the last one, the server listens no longer.
    ///
    /// # Panics
    ///
    /// When no port can be bound.
    pub fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = thread::spawn(move || accept(&listener, scripts, &flag));
        Self { address, is_over, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL for clients, without TLS.
    pub fn url(&self) -> String {
        format!("postgres://someone@{}/somewhere?sslmode=disable", self.address)
    }

    /// Waits until every script that was begun has ended, and returns what the client of the first one sent.
    ///
    /// # Panics
    ///
    /// When there was no connection, or a script could not be played to its end.
    pub fn finish(self) -> Received {
        self.finish_all().into_iter().next().expect("a client has connected")
    }

    /// As [`finish`](Self::finish), for all connections, in the order in which they came.
    ///
    /// # Panics
    ///
    /// When a script could not be played to its end.
    pub fn finish_all(mut self) -> Vec<Received> {
        let received = self.end();
        for (connection, received) in received.iter().enumerate() {
            if let Some(failure) = &received.failure {
                panic!("script of connection {connection}: {failure}");
            }
        }
        received
    }

    /// As [`finish_all`](Self::finish_all), but a client that left in the middle is no failure.
    pub fn finish_however(mut self) -> Vec<Received> {
        self.end()
    }

    fn end(&mut self) -> Vec<Received> {
        self.is_over.store(true, Ordering::Release);
        // Wakes the thread from waiting for a connection that will not come.
        let _ = TcpStream::connect(self.address);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(received)) => received,
            Some(Err(_)) => panic!("the scripted server panicked"),
            None => Vec::new(),
        }
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            self.end();
        }
    }
}

fn accept(listener: &TcpListener, scripts: Vec<Script>, is_over: &Arc<AtomicBool>) -> Vec<Received> {
    let mut players = Vec::new();
    for script in scripts {
        let Ok((stream, _)) = listener.accept() else { break };
        if is_over.load(Ordering::Acquire) {
            break;
        }
        let is_over = Arc::clone(is_over);
        players.push(thread::spawn(move || play(stream, script, &is_over)));
    }
    players.into_iter().map(|player| player.join().expect("a script does not panic")).collect()
}

fn play(mut stream: TcpStream, script: Script, is_over: &AtomicBool) -> Received {
    let mut received = Received::default();
    let patience =
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    // Small writes are sent at once.
    let mut result = patience.and_then(|()| stream.set_nodelay(true));
    for (index, step) in script.steps.into_iter().enumerate() {
        if result.is_err() {
            break;
        }
        let name = format!("{step:.60?}");
        match step {
            Step::Reset => {
                linger_zero(&stream);
                return received;
            }
            Step::Close => break,
            step => {
                result = play_step(&mut stream, step, &mut received, is_over)
                    .map_err(|cause| io::Error::new(cause.kind(), format!("step {index}, {name}: {cause}")));
            }
        }
    }
    received.failure = result.err().map(|cause| cause.to_string());
    close(&mut stream, is_over);
    received
}

fn play_step(
    stream: &mut TcpStream,
    step: Step,
    received: &mut Received,
    is_over: &AtomicBool,
) -> io::Result<()> {
    match step {
        Step::ExpectBytes(n_bytes) => received.bytes.extend(read_bytes(stream, n_bytes)?),
        Step::ExpectStartup => {
            let body = read_body(stream)?;
            received.startups.push(body);
        }
        Step::ExpectMessage(tag) => {
            let message = read_message(stream)?;
            let found = message.0;
            received.messages.push(message);
            if found != tag {
                let (found, tag) = (char::from(found), char::from(tag));
                return Err(io::Error::other(format!("a message {tag:?} was expected, {found:?} came")));
            }
        }
        Step::ExpectAnyMessage => {
            let message = read_message(stream)?;
            received.messages.push(message);
        }
        Step::ExpectEnd => {
            stream.read_to_end(&mut received.bytes)?;
        }
        Step::Send(bytes) => stream.write_all(&bytes)?,
        Step::SendSliced(bytes, n_bytes) => {
            for slice in bytes.chunks(n_bytes.max(1)) {
                stream.write_all(slice)?;
                thread::sleep(Duration::from_micros(200));
            }
        }
        Step::Stall => drain(stream, is_over),
        Step::Close | Step::Reset => {}
    }
    Ok(())
}

/// Closes without destroying what was sent: closing a socket with unread bytes resets the connection, and
/// then the client may lose what it has not read yet.
fn close(stream: &mut TcpStream, is_over: &AtomicBool) {
    let _ = stream.shutdown(Shutdown::Write);
    drain(stream, is_over);
}

/// Reads and discards until the client leaves, the server is dropped, or the time is over.
fn drain(stream: &mut TcpStream, is_over: &AtomicBool) {
    let deadline = Instant::now() + PATIENCE;
    let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(cause) if is_timeout(&cause) && !is_over.load(Ordering::Acquire) => {}
            Err(_) => return,
        }
    }
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn read_bytes(stream: &mut TcpStream, n_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; n_bytes];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_message(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut tag = [0];
    stream.read_exact(&mut tag)?;
    Ok((tag[0], read_body(stream)?))
}

/// A length, which counts itself, and what follows.
fn read_body(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let n_bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    match n_bytes.checked_sub(4) {
        Some(n_bytes) if n_bytes < 1 << 30 => read_bytes(stream, n_bytes),
        _ => Err(io::Error::other(format!("a message of {n_bytes} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTUP: &[u8] = b"\0\0\0\x0e\0\x03\0\0user\0u";

    fn connect(server: &ScriptedServer) -> TcpStream {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    #[test]
    fn steps_are_played_and_what_came_is_kept() {
        let server = Script::new()
            .then(Step::ExpectStartup)
            .send(*b"hello")
            .expect_message(b'Q')
            .then(Step::SendSliced(b"sliced".to_vec(), 1))
            .then(Step::ExpectBytes(2))
            .start();
        let mut client = connect(&server);
        client.write_all(STARTUP).unwrap();
        client.write_all(b"Q\0\0\0\x06a\0xy").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        drop(client);
        assert_eq!(answer, "hellosliced");
        let received = server.finish();
        assert_eq!(received.startups, [&STARTUP[4..]]);
        assert_eq!(received.messages(b'Q'), [b"a\0"]);
        assert_eq!(received.bytes, b"xy");
    }

    #[test]
    fn a_reset_is_one() {
        let server = Script::new().then(Step::ExpectBytes(1)).then(Step::Reset).start();
        let mut client = connect(&server);
        client.write_all(b"x").unwrap();
        let cause = client.read(&mut [0]).unwrap_err();
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn another_message_than_expected_is_a_failure() {
        let server = Script::new().expect_message(b'Q').start();
        let mut client = connect(&server);
        client.write_all(b"X\0\0\0\x04").unwrap();
        drop(client);
        // Ends by itself once the client has left.
        let received = server.thread_result();
        assert!(
            received[0].failure.as_deref().unwrap().contains("'Q' was expected, 'X' came"),
            "{received:?}"
        );
    }

    impl ScriptedServer {
        fn thread_result(mut self) -> Vec<Received> {
            self.thread.take().unwrap().join().unwrap()
        }
    }

    #[test]
    fn stalling_ends_with_the_server() {
        let server = Script::new().then(Step::Stall).start();
        let mut client = connect(&server);
        drop(server);
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }

    #[test]
    fn a_server_that_nobody_calls_can_be_dropped() {
        drop(ScriptedServer::start(vec![Script::new(), Script::new()]));
    }

    #[test]
    fn the_independent_client_accepts_the_login() {
        let script = Script::new()
            .login()
            .expect_message(b'Q')
            .send(messages::command_complete("SET"))
            .send(messages::ready_for_query())
            .expect_message(b'X');
        let server = script.start();
        let mut client = postgres::Client::connect(&server.url(), postgres::NoTls).unwrap();
        client.batch_execute("SET a = b").unwrap();
        client.close().unwrap();
        assert_eq!(server.finish().messages(b'Q'), [b"SET a = b\0"]);
    }
}
