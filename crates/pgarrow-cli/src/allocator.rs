//! How long the allocator keeps freed memory. Programs choose mimalloc; where another one is chosen, nothing
//! here has an effect.

#![allow(unsafe_code)]

use std::ffi::c_long;

/// `mi_option_purge_delay` in mimalloc's `include/mimalloc.h`, of versions 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// mimalloc 3 waits for a second; this returns memory at once. It costs Parquet 3 to 5 % of its CPU, and a
/// delay of 10 ms costs no less.
const PURGE_DELAY_MILLISECONDS: c_long = 0;

/// Memory that is freed stays where it is.
const NEVER: c_long = -1;

/// With this much memory, what mimalloc keeps for a second fits beside it.
const PLENTY_BYTES: usize = 512 << 20;

/// Returns freed memory to the kernel at once if `limit`, the bytes that `--memory` allows, is small.
///
/// Each column of a row group reserves a mebibyte and writes to little of it. The next columns reuse what was
/// just freed, so that within a second all of it is written to: 16 columns and six readers took 165 MiB where
/// 64 were allowed, and now take 60.
pub(crate) fn give_back_at_once(limit: usize) {
    if limit < PLENTY_BYTES {
        // SAFETY: sets one number, which mimalloc reads whenever memory is freed. A thread that sees it late
        // does no harm.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MILLISECONDS) };
    }
}

/// The process ends, and its memory goes back with it: mimalloc need not give back one piece after another
/// before, in 70 calls of the system after a small export.
pub(crate) fn leave_the_rest() {
    // SAFETY: as above.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, NEVER) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bindings lack the option's number: the test knows the option by its default.
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
