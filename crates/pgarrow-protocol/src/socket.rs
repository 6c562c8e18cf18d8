//! A TCP or Unix socket, read with a timeout and written without blocking.
//!
//! ```text
//! read          waits up to the read timeout         WouldBlock: nothing came
//! read_now      does not wait                        WouldBlock: nothing there
//! write_now     does not wait                        WouldBlock: no room
//! wait          until readable or writable, or the timeout
//! ```
//!
//! The descriptor itself stays in blocking mode.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::SockRef;

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What [`Socket::wait`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Socket {
    pub(crate) fn as_unix(&self) -> Option<&UnixStream> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(stream) => Some(stream),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    pub(crate) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.as_fd().as_raw_fd(), bytes, MsgFlags::empty())?)
    }

    pub(crate) fn read_now(&self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?)
    }

    pub(crate) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        Ok(send(self.as_fd().as_raw_fd(), bytes, flags)?)
    }

    /// As [`write_now`](Self::write_now), for several pieces in order.
    pub(crate) fn write_pieces_now(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        SockRef::from(&self.as_fd()).send_vectored_with_flags(pieces, flags.bits())
    }

    /// Waits until something can be read, if `for_read`, or written, if `for_write`, or until `timeout` has
    /// passed.
    pub(crate) fn wait(&self, for_read: bool, for_write: bool, timeout: Duration) -> io::Result<Readiness> {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::POLLIN, for_read);
        interest.set(PollFlags::POLLOUT, for_write);
        let mut descriptors = [PollFd::new(self.as_fd(), interest)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(cause) => return Err(cause.into()),
        }
        let [descriptor] = &descriptors;
        let found = descriptor.revents().unwrap_or(PollFlags::empty());
        // The next read or write reports the error or the hang-up.
        let broken = found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL);
        Ok(Readiness {
            readable: broken || found.contains(PollFlags::POLLIN),
            writable: broken || found.contains(PollFlags::POLLOUT),
        })
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    pub(crate) fn set_receive_low_water(&self, n_bytes: usize) -> io::Result<()> {
        crate::sys::set_receive_low_water(self.as_fd(), n_bytes)
    }

    pub(crate) fn shutdown(&self) {
        // The other side may be gone already; that is fine.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
