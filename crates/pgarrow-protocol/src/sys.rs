//! The one socket option that has no safe wrapper anywhere: `SO_RCVLOWAT`.
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
