//! From a host to a connection: names, addresses, TCP and Unix sockets. Every wait can be interrupted.
//!
//! ```text
//!  host ─▶ lookup (a thread: getaddrinfo cannot be stopped) ─▶ addresses ─▶ connect, not blocking ─▶ Wire
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::PeerCredentials;
use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use crate::config::{Config, Host, Keepalives};
use crate::error::{Error, ErrorKind};
use crate::interrupt::Interrupter;
use crate::socket::Socket;
use crate::wire::{TICK, Wire};

/// When to give up: at a deadline, or when the interrupter says so.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    pub(crate) interrupter: Interrupter,
}

impl Patience {
    pub(crate) fn new(time: Option<Duration>, interrupter: &Interrupter) -> Self {
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Self { deadline, interrupter: interrupter.clone() }
    }

    fn check(&self, endpoint: &str) -> Result<(), Error> {
        if self.interrupter.is_interrupted() {
            return Err(Error::new(
                ErrorKind::Interrupted,
                format!("{endpoint}: interrupted while connecting"),
            ));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let message = format!("cannot connect to {endpoint}: timed out");
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        Ok(())
    }

    /// How long to wait until the next check.
    fn tick(&self) -> Duration {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(TICK, |left| left.min(TICK))
    }
}

/// The addresses of the only host of `config`; none for a Unix socket.
pub(crate) fn addresses(config: &Config, patience: &Patience) -> Result<Vec<SocketAddr>, Error> {
    let Some(host) = config.first_host() else { return Ok(Vec::new()) };
    if host.is_unix_socket() {
        return Ok(Vec::new());
    }
    if let Some(address) = host.pinned.or_else(|| Some(SocketAddr::new(host.address?, host.port))) {
        return Ok(vec![address]);
    }
    // What is an address itself needs no lookup, and no thread for it.
    if let Ok(address) = host.name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, host.port)]);
    }
    let endpoint = host.endpoint();
    let found = look_up(host, patience, &endpoint)?
        .map_err(|cause| Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}: {cause}")))?;
    if found.is_empty() {
        let message = format!("cannot connect to {endpoint}: the name has no address");
        return Err(Error::new(ErrorKind::Connect, message));
    }
    Ok(found)
}

/// In its own thread, which stays behind if the caller stops waiting for the lookup.
fn look_up(host: &Host, patience: &Patience, endpoint: &str) -> Result<io::Result<Vec<SocketAddr>>, Error> {
    let target = (host.name.clone(), host.port);
    let (send, found) = mpsc::channel();
    let lookup = move || {
        // The receiver may be gone.
        let _ = send.send(target.to_socket_addrs().map(Iterator::collect));
    };
    if let Err(cause) = thread::Builder::new().name("pgarrow-lookup".to_owned()).spawn(lookup) {
        return Ok(Err(cause));
    }
    loop {
        patience.check(endpoint)?;
        match found.recv_timeout(patience.tick()) {
            Ok(found) => return Ok(found),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Err(io::Error::other("the lookup of the name ended without an answer")));
            }
        }
    }
}

/// Opens a connection to the only host of `config`, over TCP to `address`.
pub(crate) fn dial(config: &Config, address: Option<SocketAddr>, patience: &Patience) -> Result<Wire, Error> {
    let endpoint = match address {
        // A name may stand for several addresses; an address stands for itself.
        Some(address) if config.host_name().is_some_and(|name| name != address.ip().to_string()) => {
            format!("{} ({})", config.endpoint(), address.ip())
        }
        _ => config.endpoint(),
    };
    let refused =
        |cause: &io::Error| Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}: {cause}"));
    let target = match address {
        Some(address) => SockAddr::from(address),
        None => unix_address(config).map_err(|cause| refused(&cause))?,
    };
    let socket = RawSocket::new(Domain::from(i32::from(target.family())), Type::STREAM, None)
        .map_err(|cause| refused(&cause))?;
    start(&socket, &target).map_err(|cause| refused(&cause))?;
    loop {
        match is_connected(&socket, patience.tick()) {
            Ok(true) => break,
            Ok(false) => patience.check(&endpoint)?,
            Err(cause) => return Err(refused(&cause)),
        }
    }
    let wire = match address {
        Some(_) => tcp(socket, config.keepalives()),
        None => unix(socket),
    };
    let wire = wire.map_err(|cause| refused(&cause))?;
    Ok(wire)
}

fn start(socket: &RawSocket, target: &SockAddr) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    match socket.connect(target) {
        Err(cause) if cause.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

/// Waits until a connect that was begun ends.
fn is_connected(socket: &RawSocket, timeout: Duration) -> io::Result<bool> {
    let socket = SockRef::from(socket);
    let mut descriptors = [PollFd::new(std::os::fd::AsFd::as_fd(&*socket), PollFlags::POLLOUT)];
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
    match poll(&mut descriptors, timeout) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => Ok(false),
        Ok(_) => socket.take_error()?.map_or(Ok(true), Err),
        Err(cause) => Err(cause.into()),
    }
}

fn tcp(socket: RawSocket, keepalives: Keepalives) -> io::Result<Wire> {
    socket.set_nonblocking(false)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(keepalives.is_on)?;
    if keepalives.is_on {
        let settings = TcpKeepalive::new()
            .with_time(keepalives.idle)
            .with_interval(keepalives.interval)
            .with_retries(keepalives.count);
        socket.set_tcp_keepalive(&settings)?;
    }
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(keepalives.user_timeout)?;
    Wire::new(Socket::Tcp(TcpStream::from(socket)))
}

fn unix(socket: RawSocket) -> io::Result<Wire> {
    socket.set_nonblocking(false)?;
    Wire::new(Socket::Unix(UnixStream::from(socket)))
}

/// `@name` is an abstract name: it is in no file system, and begins with a zero byte.
fn unix_address(config: &Config) -> io::Result<SockAddr> {
    let path = config.socket_path();
    match path.to_str().and_then(|path| path.strip_prefix('@')) {
        Some(name) => SockAddr::unix(format!("\0{name}")),
        None => SockAddr::unix(&path),
    }
}

/// Refuses a server on a Unix socket that runs as another user than `requirepeer` says.
pub(crate) fn check_peer(wire: &Wire, config: &Config) -> Result<(), Error> {
    let Some(required) = config.auth().require_peer.as_deref() else { return Ok(()) };
    let Some(socket) = wire.unix_socket() else { return Ok(()) };
    let endpoint = config.endpoint();
    let refuse = |what: String| Error::new(ErrorKind::Auth, format!("{endpoint}: {what}"));
    let credentials = nix::sys::socket::getsockopt(&socket, PeerCredentials)
        .map_err(|cause| refuse(format!("the system does not say who runs the server: {cause}")))?;
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(credentials.uid()));
    match user {
        Ok(Some(user)) if user.name == required => Ok(()),
        Ok(Some(user)) => {
            Err(refuse(format!("requirepeer is {required}, and the server runs as {}", user.name)))
        }
        _ => Err(refuse(format!(
            "requirepeer is {required}, and the server runs as user {}, which has no name",
            credentials.uid()
        ))),
    }
}
