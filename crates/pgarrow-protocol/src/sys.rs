//! `SO_RCVLOWAT`, the one socket option for which no crate has a safe wrapper.
//!
//! Source: socket(7) and tcp(7); `tcp_set_rcvlowat` in Linux' `net/ipv4/tcp.c`.

#![expect(unsafe_code, reason = "neither std nor nix wraps SO_RCVLOWAT")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Lets a blocking read, or a poll, wait until `n_bytes` have arrived (or its timeout has passed).
pub(crate) fn set_receive_low_water(socket: BorrowedFd<'_>, n_bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(n_bytes).unwrap_or(libc::c_int::MAX);
    let value_bytes = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the pointer is to a live
    //   c_int of `value_bytes` bytes, which the kernel only reads during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            value_bytes,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    use nix::sys::socket::{getsockopt, setsockopt};
    use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

    use super::*;

    sockopt_impl!(
        /// The same option, set by nix's code for custom options.
        LowWater,
        Both,
        libc::SOL_SOCKET,
        libc::SO_RCVLOWAT,
        libc::c_int
    );

    /// Our code sets the option on one socket, nix's on another: the kernel reports the same for both.
    #[test]
    fn the_option_is_set_as_by_code_that_is_not_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, twin) = (connect(), connect());
        for n_bytes in [1, 0, 2, 4096, 65_536, 131_072, 1, 1 << 30, i32::MAX as usize, 1 << 40, usize::MAX, 1]
        {
            set_receive_low_water(ours.as_fd(), n_bytes).unwrap();
            setsockopt(&twin, LowWater, &i32::try_from(n_bytes).unwrap_or(i32::MAX)).unwrap();
            let values = (getsockopt(&ours, LowWater).unwrap(), getsockopt(&twin, LowWater).unwrap());
            assert_eq!(values.0, values.1, "{n_bytes}");
            assert!(n_bytes > 65_536 || values.0 == n_bytes.max(1) as i32, "{n_bytes}: {values:?}");
        }
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(set_receive_low_water(file.as_fd(), 1).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
