//! A TCP proxy that is a faulty network: it forwards, counts, and then cuts, resets, freezes or slows down.
//!
//! ```text
//! client ⇄ Proxy ⇄ server        one thread for each direction of each connection; two if it is a long line
//! ```

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

/// What goes wrong with a connection. Counts are bytes of that connection since it began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    None,
    /// After exactly this many bytes from the server, the client sees an orderly end.
    CloseAfterServerBytes(u64),
    /// After exactly this many bytes from the server, the client sees a reset.
    ResetAfterServerBytes(u64),
    /// After exactly this many bytes from the client, both sides see an orderly end.
    CloseAfterClientBytes(u64),
    /// After exactly this many bytes from the client, the client sees a reset.
    ResetAfterClientBytes(u64),
    /// After exactly this many bytes from the server, what it sends is accepted and lost. The other direction
    /// works.
    MuteServerAfter(u64),
    /// After exactly this many bytes from the client, what it sends is accepted and lost. The other direction
    /// works.
    MuteClientAfter(u64),
    /// The server's byte with this number, counted from 0, arrives with one bit flipped.
    FlipServerByte(u64),
    /// Passes on this many bytes from the server at a time, with a short pause after each piece.
    Slice(usize),
    /// After exactly this many bytes from the server, nothing moves any more in either direction; no end is
    /// seen.
    FreezeAfterServerBytes(u64),
    /// At most this many bytes a second from the server.
    Throttle(u64),
    /// A long line: what is sent arrives this much later, in both directions. Up to 16 MiB are on their way.
    /// Only the connection itself is there at once.
    Delay(Duration),
}

/// A proxy in front of one server. Dropping it resets all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    n_connections: AtomicUsize,
    from_server_bytes: AtomicU64,
    from_client_bytes: AtomicU64,
    n_round_trips: AtomicU64,
    connections: Mutex<Vec<Weak<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    is_frozen: AtomicBool,
    is_resetting: AtomicBool,
    /// The server has sent something since the client last did.
    is_answered: AtomicBool,
}

impl Proxy {
    /// Starts a proxy in front of `127.0.0.1:port`, with the same fault for every connection.
    ///
    /// # Panics
    ///
    /// When no port can be bound.
    pub fn start(server_port: u16, fault: Fault) -> Self {
        Self::start_with((Ipv4Addr::LOCALHOST, server_port).into(), move |_| fault)
    }

    /// Starts a proxy that asks for the fault of each connection, by its number from 0.
    ///
    /// # Panics
    ///
    /// When no port can be bound.
    pub fn start_with(server: SocketAddr, fault: impl Fn(usize) -> Fault + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || accept(&listener, server, fault, &of_thread));
        Self { address, shared, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a server, with this proxy in the place of its address.
    ///
    /// # Panics
    ///
    /// When `url` is not a URL.
    pub fn url_of(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_bytes);
        match authority.rsplit_once('@') {
            Some((user, _)) => format!("{scheme}://{user}@{}{rest}", self.address),
            None => format!("{scheme}://{}{rest}", self.address),
        }
    }

    /// How many connections have come.
    pub fn n_connections(&self) -> usize {
        self.shared.n_connections.load(Ordering::Acquire)
    }

    /// How many connections have not ended yet. One that its client has closed ends when the server has
    /// closed it, too, and all its bytes are counted.
    pub fn n_open(&self) -> usize {
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.iter().filter(|connection| connection.strong_count() > 0).count()
    }

    /// Bytes passed on from the server, all connections together.
    pub fn from_server_bytes(&self) -> u64 {
        self.shared.from_server_bytes.load(Ordering::Acquire)
    }

    /// Bytes passed on from clients, all connections together.
    pub fn from_client_bytes(&self) -> u64 {
        self.shared.from_client_bytes.load(Ordering::Acquire)
    }

    /// How often a client sent a request after an answer, all connections together. A request before the
    /// answer to another one is not a further round trip.
    pub fn n_round_trips(&self) -> u64 {
        self.shared.n_round_trips.load(Ordering::Acquire)
    }

    /// Resets all connections there are now.
    pub fn reset_all(&self) {
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.iter().filter_map(Weak::upgrade) {
            connection.reset();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.reset_all();
        // Wakes the thread from waiting for a connection that will not come.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Connection {
    /// Makes both sides see a reset, as soon as both threads have dropped the sockets.
    fn reset(&self) {
        self.is_resetting.store(true, Ordering::Release);
        for stream in [&self.client, &self.server] {
            linger_zero(stream);
            // Wakes the thread that reads, and sends nothing.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Both sides see an orderly end after what was passed on to them.
    fn close(&self) {
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// Makes closing this socket a reset: bytes that are not sent yet are discarded.
pub(crate) fn linger_zero(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    let _ = setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
}

fn accept(listener: &TcpListener, server: SocketAddr, fault: impl Fn(usize) -> Fault, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while let Ok((client, _)) = listener.accept() {
        if shared.is_over.load(Ordering::Acquire) {
            break;
        }
        let fault = fault(shared.n_connections.fetch_add(1, Ordering::AcqRel));
        // A server that refuses: the client sees its connection end.
        let Ok(server) = TcpStream::connect(server) else { continue };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
            // So that a thread notices a freeze and the end of the proxy, whatever the other side does.
            let _ = stream.set_read_timeout(Some(TICK));
            let _ = stream.set_write_timeout(Some(TICK));
        }
        let connection = Arc::new(Connection {
            client,
            server,
            // Before either thread moves a byte.
            is_frozen: AtomicBool::new(fault == Fault::FreezeAfterServerBytes(0)),
            is_resetting: AtomicBool::new(false),
            // The first message is the first trip.
            is_answered: AtomicBool::new(true),
        });
        shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&connection));
        for direction in [Direction::FromServer, Direction::FromClient] {
            let pump =
                Pump { direction, fault, connection: Arc::clone(&connection), shared: Arc::clone(shared) };
            threads.push(thread::spawn(move || pump.run()));
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// How often a waiting thread looks whether it must stop.
const TICK: Duration = Duration::from_millis(20);

/// The most bytes that are moved at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The most pieces between the ends of a long line.
const PIECES_ON_THE_WAY: usize = 256;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    FromServer,
    FromClient,
}

/// Moves the bytes of one direction of one connection.
struct Pump {
    direction: Direction,
    fault: Fault,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
}

impl Pump {
    fn run(self) {
        let moved = match self.fault {
            Fault::Delay(delay) => self.forward_late(delay),
            _ => self.forward(),
        };
        if moved.is_err() {
            self.connection.reset();
        }
    }

    /// The sockets and the count of this direction.
    fn ends(&self) -> (&TcpStream, &TcpStream, &AtomicU64) {
        let Connection { client, server, .. } = &*self.connection;
        match self.direction {
            Direction::FromServer => (server, client, &self.shared.from_server_bytes),
            Direction::FromClient => (client, server, &self.shared.from_client_bytes),
        }
    }

    /// Forwards until the end; each piece arrives `delay` after it was read.
    fn forward_late(&self, delay: Duration) -> io::Result<()> {
        let (mut from, ..) = self.ends();
        let (line, arriving) = mpsc::sync_channel(PIECES_ON_THE_WAY);
        thread::scope(|scope| {
            let far_end = scope.spawn(move || self.arrive(&arriving));
            let mut buffer = vec![0; PIECE_BYTES];
            let sent = loop {
                match from.read(&mut buffer) {
                    Ok(0) if self.connection.is_resetting.load(Ordering::Acquire) => break Ok(()),
                    Ok(n_read) => {
                        // Trips are counted at the client's end of the line. The end of its stream asks for
                        // nothing.
                        if self.direction == Direction::FromClient && n_read > 0 {
                            self.count_trip();
                        }
                        let piece = buffer.get(..n_read).unwrap_or_default().to_vec();
                        // An empty piece is the end of the stream. No far end: its socket broke.
                        if line.send((Instant::now() + delay, piece)).is_err() || n_read == 0 {
                            break Ok(());
                        }
                    }
                    Err(cause) if is_timeout(&cause) && self.must_stop() => break Ok(()),
                    Err(cause) if is_timeout(&cause) => {}
                    Err(cause) => break Err(cause),
                }
            };
            drop(line);
            far_end.join().unwrap_or(Ok(())).and(sent)
        })
    }

    /// Passes pieces on when they are due.
    fn arrive(&self, arriving: &mpsc::Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
        let (_, mut to, total) = self.ends();
        for (due, piece) in arriving {
            while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                if self.must_stop() {
                    return Ok(());
                }
                thread::sleep(left.min(TICK));
            }
            if piece.is_empty() {
                let _ = to.shutdown(Shutdown::Write);
                return Ok(());
            }
            if self.direction == Direction::FromServer {
                self.count_trip();
            }
            total.fetch_add(piece.len() as u64, Ordering::AcqRel);
            if !self.write_all(&mut to, &mut piece.as_slice())? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Forwards until the end or the fault. An error is a side that broke its connection.
    fn forward(&self) -> io::Result<()> {
        let (mut from, mut to, total) = self.ends();
        let limit = self.limit();
        let began = Instant::now();
        let mut n_passed = 0_u64;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            if n_passed == limit {
                return self.strike(from);
            }
            let room = usize::try_from(limit - n_passed)
                .unwrap_or(usize::MAX)
                .min(buffer.len())
                .min(self.piece_bytes());
            let n_read = match from.read(&mut buffer[..room]) {
                Ok(0) if self.connection.is_resetting.load(Ordering::Acquire) => return Ok(()),
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return Ok(());
                }
                Ok(n_read) => n_read,
                Err(cause) if is_timeout(&cause) => {
                    if self.must_stop() {
                        return Ok(());
                    }
                    continue;
                }
                Err(cause) => return Err(cause),
            };
            self.count_trip();
            // Bytes read before the other direction froze the connection do not arrive either.
            if self.connection.is_frozen.load(Ordering::Acquire) {
                self.wait_until_over();
                return Ok(());
            }
            self.flip(n_passed, &mut buffer[..n_read]);
            // Counted before they are passed on, or the answer to them could come before the count.
            total.fetch_add(n_read as u64, Ordering::AcqRel);
            let mut rest = &buffer[..n_read];
            let written = self.write_all(&mut to, &mut rest);
            total.fetch_sub(rest.len() as u64, Ordering::AcqRel);
            if !written? {
                return Ok(());
            }
            n_passed += n_read as u64;
            self.pace(began, n_passed);
        }
    }

    /// Writes `rest` until nothing is left of it. Returns false when the thread must stop before.
    fn write_all(&self, to: &mut impl Write, rest: &mut &[u8]) -> io::Result<bool> {
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(n_written) => *rest = &rest[n_written..],
                Err(cause) if is_timeout(&cause) => {
                    if self.must_stop() {
                        return Ok(false);
                    }
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(true)
    }

    /// Counts before the bytes are passed on, so that no answer comes before the count.
    fn count_trip(&self) {
        let is_answer = self.direction == Direction::FromServer;
        let was_answered = self.connection.is_answered.swap(is_answer, Ordering::AcqRel);
        if was_answered && !is_answer {
            self.shared.n_round_trips.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Flips one bit, if the byte is among these, which come after `n_passed` others.
    fn flip(&self, n_passed: u64, bytes: &mut [u8]) {
        if let (Direction::FromServer, Fault::FlipServerByte(number)) = (self.direction, self.fault) {
            let index = number.checked_sub(n_passed).and_then(|index| usize::try_from(index).ok());
            if let Some(byte) = index.and_then(|index| bytes.get_mut(index)) {
                *byte ^= 1 << (number % 8);
            }
        }
    }

    /// After how many bytes of this direction the fault strikes.
    fn limit(&self) -> u64 {
        match (self.direction, self.fault) {
            (
                Direction::FromServer,
                Fault::CloseAfterServerBytes(n)
                | Fault::ResetAfterServerBytes(n)
                | Fault::FreezeAfterServerBytes(n)
                | Fault::MuteServerAfter(n),
            )
            | (
                Direction::FromClient,
                Fault::CloseAfterClientBytes(n) | Fault::ResetAfterClientBytes(n) | Fault::MuteClientAfter(n),
            ) => n,
            _ => u64::MAX,
        }
    }

    /// How many bytes are moved at a time.
    fn piece_bytes(&self) -> usize {
        match (self.direction, self.fault) {
            (Direction::FromServer, Fault::Slice(n_bytes)) => n_bytes.max(1),
            // A twentieth of a second's worth, for an even flow.
            (Direction::FromServer, Fault::Throttle(rate)) => {
                usize::try_from(rate / 20).unwrap_or(usize::MAX).max(1)
            }
            _ => usize::MAX,
        }
    }

    /// Waits as long as the fault's speed asks for.
    fn pace(&self, began: Instant, n_passed: u64) {
        match (self.direction, self.fault) {
            (Direction::FromServer, Fault::Slice(_)) => thread::sleep(Duration::from_micros(200)),
            (Direction::FromServer, Fault::Throttle(rate)) => {
                let due = began + Duration::from_secs_f64(n_passed as f64 / rate.max(1) as f64);
                while !self.must_stop() {
                    match due.checked_duration_since(Instant::now()) {
                        Some(left) if !left.is_zero() => thread::sleep(left.min(TICK)),
                        _ => return,
                    }
                }
            }
            _ => {}
        }
    }

    /// Carries out the fault.
    fn strike(&self, from: &TcpStream) -> io::Result<()> {
        match self.fault {
            Fault::ResetAfterServerBytes(_) | Fault::ResetAfterClientBytes(_) => self.connection.reset(),
            Fault::FreezeAfterServerBytes(_) => {
                self.connection.is_frozen.store(true, Ordering::Release);
                self.wait_until_over();
            }
            Fault::MuteServerAfter(_) | Fault::MuteClientAfter(_) => {
                self.drain(from);
                self.wait_until_over();
            }
            _ => {
                self.connection.close();
                // Closing a socket with unread bytes would reset it, and the client could lose what it was
                // sent.
                self.drain(from);
            }
        }
        Ok(())
    }

    /// Reads to the end, and discards the bytes.
    fn drain(&self, mut from: &TcpStream) {
        let mut nowhere = [0; 4096];
        while !self.must_stop() {
            match from.read(&mut nowhere) {
                Ok(0) => break,
                Err(cause) if !is_timeout(&cause) => break,
                _ => {}
            }
        }
    }

    fn must_stop(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire) || self.connection.is_resetting.load(Ordering::Acquire)
    }

    fn wait_until_over(&self) {
        while !self.must_stop() {
            thread::sleep(TICK);
        }
    }
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends `n_bytes` as soon as it has read one byte, and then waits for the end.
    fn sender(n_bytes: usize) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let _ = stream.read(&mut [0]);
                    let _ = stream.write_all(&vec![7; n_bytes]);
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = stream.read_to_end(&mut Vec::new());
                });
            }
        });
        port
    }

    /// What a client reads before the end, and how that end looks.
    fn fetch(proxy: &Proxy) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        client.write_all(b"?").unwrap();
        let mut bytes = Vec::new();
        let end = client.read_to_end(&mut bytes).err().map(|cause| cause.kind());
        (bytes, end)
    }

    #[test]
    fn everything_passes_without_a_fault() {
        let proxy = Proxy::start(sender(1_000_000), Fault::None);
        let (bytes, end) = fetch(&proxy);
        assert_eq!((bytes.len(), end), (1_000_000, None));
        assert_eq!(
            (proxy.from_server_bytes(), proxy.from_client_bytes(), proxy.n_connections()),
            (1_000_000, 1, 1)
        );
    }

    #[test]
    fn an_orderly_end_after_exactly_so_many_bytes() {
        for n in [0, 1, 5000, 100_000] {
            let proxy = Proxy::start(sender(200_000), Fault::CloseAfterServerBytes(n));
            let (bytes, end) = fetch(&proxy);
            assert_eq!((bytes.len() as u64, end), (n, None));
            assert_eq!(proxy.from_server_bytes(), n);
        }
    }

    #[test]
    fn a_reset_after_so_many_bytes() {
        let proxy = Proxy::start(sender(200_000), Fault::ResetAfterServerBytes(10));
        let (bytes, end) = fetch(&proxy);
        // A reset may overtake bytes.
        assert!(bytes.len() <= 10);
        assert_eq!(end, Some(io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn an_end_after_bytes_of_the_client() {
        let proxy = Proxy::start(sender(10), Fault::CloseAfterClientBytes(0));
        assert_eq!(fetch(&proxy), (vec![], None));
        assert_eq!(proxy.from_client_bytes(), 0);
    }

    #[test]
    fn a_frozen_connection_neither_moves_nor_ends() {
        let proxy = Proxy::start(sender(10), Fault::FreezeAfterServerBytes(4));
        let (bytes, end) = fetch(&proxy);
        assert_eq!(bytes.len(), 4);
        assert!(matches!(end, Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)));
    }

    /// Before, the order of its two threads decided whether a client's first bytes, such as a cancel request,
    /// went through.
    #[test]
    fn nothing_passes_a_connection_that_is_frozen_from_the_beginning() {
        let proxy = Proxy::start(sender(10), Fault::FreezeAfterServerBytes(0));
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let mut client = TcpStream::connect(proxy.address()).unwrap();
                client.write_all(b"?").unwrap();
                client
            })
            .collect();
        while proxy.n_connections() < clients.len() {
            thread::yield_now();
        }
        let mut last = clients.last().unwrap();
        last.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        assert!(is_timeout(&last.read(&mut [0]).unwrap_err()));
        assert_eq!(proxy.from_client_bytes(), 0);
    }

    #[test]
    fn a_direction_that_is_mute_and_a_bit_that_turns_over() {
        let proxy = Proxy::start(sender(10), Fault::MuteServerAfter(4));
        assert_eq!(fetch(&proxy).0.len(), 4);
        let proxy = Proxy::start(sender(10), Fault::MuteClientAfter(0));
        assert_eq!((fetch(&proxy).0.len(), proxy.from_client_bytes()), (0, 0));
        let proxy = Proxy::start(sender(10), Fault::FlipServerByte(3));
        assert_eq!(fetch(&proxy).0, [7, 7, 7, 15, 7, 7, 7, 7, 7, 7]);
        let proxy = Proxy::start(sender(10), Fault::ResetAfterClientBytes(0));
        assert_eq!(fetch(&proxy).1, Some(io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn slices_and_a_slow_network_lose_nothing() {
        let proxy = Proxy::start(sender(100), Fault::Slice(3));
        assert_eq!(fetch(&proxy).0.len(), 100);
        let proxy = Proxy::start(sender(1000), Fault::Throttle(5000));
        let began = Instant::now();
        assert_eq!(fetch(&proxy).0.len(), 1000);
        assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    }

    /// Before, the end of the client's stream counted as a request, if it came before the test looked.
    #[test]
    fn the_end_of_a_client_is_no_round_trip() {
        for fault in [Fault::None, Fault::Delay(Duration::ZERO)] {
            let proxy = Proxy::start(sender(10), fault);
            assert_eq!(fetch(&proxy).0.len(), 10);
            while proxy.n_open() > 0 {
                thread::yield_now();
            }
            assert_eq!(proxy.n_round_trips(), 1, "{fault:?}");
        }
    }

    /// Pieces wait side by side: the line is long, not slow.
    #[test]
    fn a_long_line_loses_nothing_and_delays_both_directions() {
        let proxy = Proxy::start(sender(1_000_000), Fault::Delay(Duration::from_millis(50)));
        let began = Instant::now();
        assert_eq!(fetch(&proxy), (vec![7; 1_000_000], None));
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
        let counts = (proxy.from_server_bytes(), proxy.from_client_bytes(), proxy.n_round_trips());
        assert_eq!(counts, (1_000_000, 1, 1));
    }

    #[test]
    fn each_connection_has_its_own_fault() {
        let server = (Ipv4Addr::LOCALHOST, sender(10)).into();
        let proxy = Proxy::start_with(server, |connection| match connection {
            1 => Fault::CloseAfterServerBytes(2),
            _ => Fault::None,
        });
        let sizes: Vec<usize> = (0..3).map(|_| fetch(&proxy).0.len()).collect();
        assert_eq!(sizes, [10, 2, 10]);
    }

    #[test]
    fn the_address_in_a_url_is_replaced() {
        let proxy = Proxy::start(1, Fault::None);
        let address = proxy.address();
        assert_eq!(proxy.url_of("postgres://u:p%40@h:1/d?a=b"), format!("postgres://u:p%40@{address}/d?a=b"));
        assert_eq!(proxy.url_of("postgres://h"), format!("postgres://{address}"));
    }
}
