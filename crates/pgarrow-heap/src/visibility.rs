//! Which rows of a page belong to a snapshot, where VACUUM has not marked the page as all-visible.
//!
//! ```text
//!  xid      │ below xmin of the snapshot │ between xmin and xmax     │ from xmax on
//!  ─────────┼────────────────────────────┼───────────────────────────┼──────────────────
//!  it has   │ committed or rolled back:  │ not happened, if listed;  │ not happened
//!           │ as its hint bit says       │ otherwise nobody knows    │
//! ```
//!
//! A snapshot in words lists the top-level transactions that run, and none of their subtransactions. So a xid
//! between xmin and xmax that is not listed may be a subtransaction of one that is: only the server knows.
//! Below xmin there is none, because a subtransaction begins after its parent. What is not certain sends the
//! page to COPY.
//!
//! Hint bits below xmin are as good as the server's log. The server sets them only after it has looked there,
//! never takes them back, and never looks again. A bit alone is not enough: a transaction that committed
//! after the snapshot has it, too.
//!
//! Source: `HeapTupleSatisfiesMVCC` and `HeapTupleHeaderIsOnlyLocked` in PostgreSQL's
//! `src/backend/access/heap/heapam_visibility.c`, `XidInMVCCSnapshot` in `src/backend/utils/time/snapmgr.c`,
//! `pg_current_snapshot` in `src/backend/utils/adt/xid8funcs.c`, `src/include/access/htup_details.h`.

use crate::page::{
    ATTRIBUTES, HAS_NULL, HAS_OID_OLD, LINE_POINTER_BYTES, LP_NORMAL, MOVED, PAGE_HEADER_BYTES, Refusal,
    TUPLE_BYTES_MIN, TUPLE_HEADER_BYTES, TUPLES_MAX, Tuple, XMAX_INVALID, XMAX_LOCK_ONLY, XMIN_COMMITTED,
    bounds,
};

/// `InvalidTransactionId`, `BootstrapTransactionId` and `FrozenTransactionId` of
/// `src/include/access/transam.h`.
const XID_INVALID: u32 = 0;
const XID_BOOTSTRAP: u32 = 1;
const XID_FROZEN: u32 = 2;
const XID_NORMAL_MIN: u32 = 3;

const XMAX_KEYSHR_LOCK: u16 = 0x0010;
const XMAX_EXCL_LOCK: u16 = 0x0040;
const XMIN_INVALID: u16 = 0x0200;
/// Both bits together say something else than each.
const XMIN_FROZEN: u16 = XMIN_COMMITTED | XMIN_INVALID;
const XMAX_COMMITTED: u16 = 0x0400;
const XMAX_IS_MULTI: u16 = 0x1000;
/// `SpecTokenOffsetNumber`: INSERT … ON CONFLICT has not decided yet. See `src/include/storage/itemptr.h`.
const SPECULATIVE: u16 = 0xfffe;

/// What a snapshot sees, as far as its text says so: `pg_current_snapshot()`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// The oldest transaction that ran.
    xmin: u32,
    /// From xmin to the first transaction that had not begun.
    width: u32,
    /// Transactions that ran: how far each is from xmin, in order.
    running: Vec<u32>,
}

/// What a snapshot knows of a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Past {
    /// It had ended.
    Over,
    /// It ran, or had not begun.
    NotYet,
    /// It may have been a subtransaction of one that ran.
    Unknown,
}

impl Snapshot {
    /// Reads the text of a snapshot: `xmin:xmax:xid,xid`, each with its epoch. `None` if it is none that a
    /// server can have, in which case no row is judged.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax, running) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let (xmin, xmax): (u64, u64) = (number(xmin)?, number(xmax)?);
        // Farther apart, 32 bits do not say which is before.
        let width = u32::try_from(xmax.checked_sub(xmin)?).ok().filter(|width| *width < 1 << 31)?;
        let distance = |xid: &str| -> Option<u32> {
            let distance = u32::try_from(number(xid)?.checked_sub(xmin)?).ok()?;
            (distance < width).then_some(distance)
        };
        let running = running.split(',').filter(|_| !running.is_empty()).map(distance);
        let mut running = running.collect::<Option<Vec<u32>>>()?;
        running.sort_unstable();
        let xmin = low_half(xmin);
        let is_sane = xmin >= XID_NORMAL_MIN && low_half(xmax) >= XID_NORMAL_MIN;
        is_sane.then_some(Self { xmin, width, running })
    }

    /// What it knows of a transaction, for a xid as tuples have it: the lower half. None of them is farther
    /// away than half of all.
    #[inline]
    fn past(&self, xid: u32) -> Past {
        let distance = xid.wrapping_sub(self.xmin);
        match distance {
            // As `TransactionIdPrecedes`.
            _ if distance >= 1 << 31 => Past::Over,
            _ if distance >= self.width || self.running.binary_search(&distance).is_ok() => Past::NotYet,
            _ => Past::Unknown,
        }
    }

    /// Whether the snapshot has a tuple with these transactions and this `t_infomask`.
    fn has(&self, xmin: u32, xmax: u32, flags: u16) -> Result<bool, Refusal> {
        if flags & MOVED != 0 {
            return Err(UNDECIDED);
        }
        Ok(self.is_inserted(xmin, flags)? && !self.is_deleted(xmax, flags)?)
    }

    fn is_inserted(&self, xmin: u32, flags: u16) -> Result<bool, Refusal> {
        match (xmin, flags & XMIN_FROZEN) {
            // INSERT … ON CONFLICT has taken it back.
            (XID_INVALID, _) => Err(UNDECIDED),
            (_, XMIN_FROZEN) => Ok(true),
            (XID_BOOTSTRAP | XID_FROZEN, XMIN_INVALID) => Err(UNDECIDED),
            (XID_BOOTSTRAP | XID_FROZEN, _) => Ok(true),
            (xmin, hint) => match (self.past(xmin), hint) {
                (Past::Over, XMIN_COMMITTED) => Ok(true),
                // Rolled back, or ended by a crash: nobody ever sees the row.
                (Past::Over, XMIN_INVALID) | (Past::NotYet, _) => Ok(false),
                (Past::Over | Past::Unknown, _) => Err(UNDECIDED),
            },
        }
    }

    fn is_deleted(&self, xmax: u32, flags: u16) -> Result<bool, Refusal> {
        if flags & XMAX_INVALID != 0 || is_lock(flags) {
            return Ok(false);
        }
        // Several transactions: some have locked the row, and one has changed it. Which one is kept
        // elsewhere.
        if flags & XMAX_IS_MULTI != 0 {
            return Err(UNDECIDED);
        }
        match (xmax, flags & XMAX_COMMITTED) {
            (XID_INVALID, 0) => Ok(false),
            (XID_INVALID | XID_BOOTSTRAP | XID_FROZEN, _) => Err(UNDECIDED),
            (xmax, hint) => match (self.past(xmax), hint) {
                (Past::Over, XMAX_COMMITTED) => Ok(true),
                (Past::NotYet, _) => Ok(false),
                (Past::Over | Past::Unknown, _) => Err(UNDECIDED),
            },
        }
    }
}

const UNDECIDED: Refusal = Refusal::Undecided;

/// Whether the transaction in `t_xmax` has only locked the row: `HEAP_XMAX_IS_LOCKED_ONLY`. The second kind
/// is that of FOR UPDATE before PostgreSQL 9.3.
fn is_lock(flags: u16) -> bool {
    let old = flags & (XMAX_IS_MULTI | XMAX_EXCL_LOCK | XMAX_KEYSHR_LOCK);
    flags & XMAX_LOCK_ONLY != 0 || old == XMAX_EXCL_LOCK
}

/// A number in decimal digits, without a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[expect(clippy::cast_possible_truncation, reason = "that is what it does")]
fn low_half(xid: u64) -> u32 {
    xid as u32
}

/// A tuple's header.
struct Header {
    xmin: u32,
    xmax: u32,
    own_block: u32,
    own_number: u16,
    attributes: u16,
    flags: u16,
    data_offset: u32,
}

impl Header {
    /// Source: `HeapTupleHeaderData` in `src/include/access/htup_details.h`.
    fn of(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<TUPLE_BYTES_MIN>()?;
        let [a0, a1, a2, a3, b0, b1, b2, b3, _, _, _, _, block @ .., n0, n1, c0, c1, f0, f1, data, _] =
            *bytes;
        Some(Self {
            xmin: u32::from_le_bytes([a0, a1, a2, a3]),
            xmax: u32::from_le_bytes([b0, b1, b2, b3]),
            // Its upper half comes first.
            own_block: u32::from_le_bytes(block).rotate_left(16),
            own_number: u16::from_le_bytes([n0, n1]),
            attributes: u16::from_le_bytes([c0, c1]) & ATTRIBUTES,
            flags: u16::from_le_bytes([f0, f1]),
            data_offset: data.into(),
        })
    }
}

/// Finds the tuples of a page that the snapshot has, in the order of their line pointers: as
/// [`tuples`](crate::page::tuples), for a page that is not all-visible.
///
/// # Errors
///
/// Only the server can tell, or the page is not as expected. The tuples found so far are then invalid.
pub(crate) fn tuples(
    page: &[u8],
    block: u32,
    attributes_max: usize,
    snapshot: &Snapshot,
    mut found: impl FnMut(Tuple),
) -> Result<(), Refusal> {
    const UNSOUND: Refusal = Refusal::Unverified("a tuple that does not fit its line pointer");
    let (lower, upper) = bounds(page)?;
    let pointers = page.get(PAGE_HEADER_BYTES..lower).unwrap_or_default();
    let (mut n_tuples, mut is_of_page) = (0, false);
    for (pointer, number) in pointers.as_chunks::<LINE_POINTER_BYTES>().0.iter().zip(1_u16..) {
        let pointer = u32::from_le_bytes(*pointer);
        // What is unused or dead is no row, and a redirection leads to a tuple with a pointer of its own.
        if pointer >> 15 & 3 != LP_NORMAL {
            continue;
        }
        let (offset, length) = (pointer & 0x7fff, pointer >> 17);
        if (offset as usize) < upper || offset & 7 != 0 {
            return Err(Refusal::Unverified("a line pointer that leads to no tuple"));
        }
        let tuple = page.get(offset as usize..(offset + length) as usize);
        let header = tuple.and_then(Header::of).ok_or(UNSOUND)?;
        n_tuples += 1;
        if n_tuples > TUPLES_MAX {
            return Err(Refusal::Unverified("a page with more tuples than fit"));
        }
        if header.own_number == SPECULATIVE {
            return Err(UNDECIDED);
        }
        // An updated tuple points to the next version of its row, mostly on the same page.
        is_of_page |= header.own_block == block;
        if header.flags & HAS_OID_OLD != 0 {
            return Err(Refusal::Unverified("a tuple with an OID of old"));
        }
        if !snapshot.has(header.xmin, header.xmax, header.flags)? {
            continue;
        }
        let Header { attributes, data_offset, .. } = header;
        let has_null = header.flags & HAS_NULL != 0;
        let bitmap_bytes = if has_null { u32::from(attributes).div_ceil(8) } else { 0 };
        if data_offset < TUPLE_HEADER_BYTES + bitmap_bytes || data_offset > length || data_offset & 7 != 0 {
            return Err(UNSOUND);
        }
        if usize::from(attributes) > attributes_max {
            return Err(Refusal::Unverified("a tuple with more attributes than the table has"));
        }
        found(Tuple {
            number,
            attributes,
            start: offset + data_offset,
            end: offset + length,
            bitmap: if has_null { offset + TUPLE_HEADER_BYTES } else { 0 },
        });
    }
    match is_of_page || n_tuples == 0 {
        true => Ok(()),
        false => Err(Refusal::Unverified("a page whose tuples are of another page")),
    }
}

#[cfg(test)]
mod tests;
