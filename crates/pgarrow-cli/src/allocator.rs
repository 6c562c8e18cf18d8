//! The allocator of the command, and how long it keeps what was freed.

#![allow(unsafe_code)]

use std::ffi::c_long;

/// Batches are large buffers that come and go; the system's allocator returns each to the kernel and gets it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in mimalloc's `include/mimalloc.h`, of versions 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// At once, where mimalloc 3 waits for a second. It costs Parquet 3 to 5 % of its CPU, and 10 ms no less.
const PURGE_DELAY_MILLISECONDS: c_long = 0;

/// With so much memory, what is kept for a second fits beside it.
const PLENTY_BYTES: usize = 512 << 20;

/// Lets the kernel have memory again when it is freed, where `--memory` allows `limit` bytes and that is little.
///
/// Each column of a row group reserves a mebibyte and writes to little of it. What was freed a moment ago is taken for the
/// next ones, so that within a second all of it has been written to: 16 columns by six readers had 165 MiB where 64 were
/// allowed, and have 60.
pub(crate) fn give_back_at_once(limit: usize) {
    if limit < PLENTY_BYTES {
        // SAFETY: sets one number, which mimalloc reads whenever memory is freed. Threads may see it late, and no harm is done.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MILLISECONDS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number is not in the bindings: it is asked for by what it was before.
    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: reads one number.
        let get = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(get(), 1000);
        give_back_at_once(PLENTY_BYTES);
        assert_eq!(get(), 1000);
        give_back_at_once(PLENTY_BYTES - 1);
        assert_eq!(get(), PURGE_DELAY_MILLISECONDS);
    }
}
