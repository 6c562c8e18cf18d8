//! Sizes to slices: no catalog, no server, no SQL.
//!
//! Slices follow the order of pages, whichever reader takes them. Without an order, they are guided: in each
//! reader's share of all bytes, the first slices are large, which is cheap, and the last are small, so that
//! all readers end together. Ordered slices wait for each other in memory, so they have one size.

use crate::planner::{Slicing, total};

const MIB: u64 = 1024 * 1024;

/// Bytes of a guided slice.
const GUIDED_BYTES_MIN: u64 = 4 * MIB;
const GUIDED_BYTES_MAX: u64 = 64 * MIB;
/// A guided slice is at most this part of a reader's share, since other readers cannot take it over,
const GUIDED_OF_SHARE: u64 = 8;
/// and this part of the rest of that share.
const GUIDED_OF_REST: u64 = 3;
/// Bytes of a slice that is handed out in order.
const ORDERED_BYTES: u64 = 32 * MIB;
/// A smaller piece is read together with others,
const SMALL_BYTES: u64 = MIB;
/// up to this many bytes,
const GROUP_BYTES: u64 = 8 * MIB;
/// and this many pieces: a statement names each.
const GROUP_PIECES: usize = 64;
/// The most slices of an export. With more data, slices are larger.
const SLICES_MAX: usize = 100_000;

/// A leaf, as far as it matters for cutting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    /// Pages of its heap.
    pub(crate) pages: u64,
    /// Bytes of heap and TOAST.
    pub(crate) bytes: u64,
    /// Rows, about.
    pub(crate) rows: Option<u64>,
    /// Whether it may be read by ranges of pages.
    pub(crate) by_pages: bool,
}

/// A slice: whole pieces, or some pages of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cut {
    /// Indices of pieces.
    pub(crate) pieces: Vec<usize>,
    /// The pages of the one piece: from the first to before the second; without a second, to its end.
    pub(crate) pages: Option<(u64, Option<u64>)>,
    pub(crate) bytes: u64,
    pub(crate) rows: Option<u64>,
}

/// Cuts pieces into slices. Every page of every piece is in exactly one of them, and the last slice of a
/// piece has no end.
pub(crate) fn cut(pieces: &[Piece], slicing: &Slicing) -> Vec<Cut> {
    let limits = Limits::of(pieces, slicing);
    let mut cut_bytes = 0_u64;
    let mut cuts = Vec::new();
    let mut group = Group::default();
    for (index, piece) in pieces.iter().enumerate() {
        if piece.bytes < limits.small_bytes {
            cut_bytes = cut_bytes.saturating_add(piece.bytes);
            if !group.has_room(piece, &limits) {
                cuts.extend(group.take());
            }
            group.add(index, piece);
            continue;
        }
        // A group ends where its neighbour is not small.
        cuts.extend(group.take());
        let mut from = 0;
        while from < piece.pages {
            let n_pages = limits.pages(piece, cut_bytes);
            let to = from.saturating_add(n_pages);
            let is_last = !piece.by_pages || to >= piece.pages || limits.is_crumb(piece, piece.pages - to);
            let n_pages = if is_last { piece.pages - from } else { n_pages };
            let cut = Cut {
                pieces: vec![index],
                pages: match (from, is_last) {
                    (0, true) => None,
                    (from, true) => Some((from, None)),
                    (from, false) => Some((from, Some(to))),
                },
                bytes: share(piece.bytes, n_pages, piece.pages),
                rows: piece.rows.map(|rows| share(rows, n_pages, piece.pages)),
            };
            cut_bytes = cut_bytes.saturating_add(cut.bytes);
            cuts.push(cut);
            from = from.saturating_add(n_pages);
        }
        if piece.pages == 0 {
            // Its rows are elsewhere, or it has none: for example a foreign table.
            cuts.push(Cut { pieces: vec![index], pages: None, bytes: piece.bytes, rows: piece.rows });
        }
    }
    cuts.extend(group.take());
    cuts
}

/// How large slices are. All in bytes of heap and TOAST.
#[derive(Debug)]
struct Limits {
    small_bytes: u64,
    group_bytes: u64,
    group_pieces: usize,
    /// The least size of a slice of pages, so that there are not too many slices; and how the size is chosen.
    floor_bytes: u64,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    /// Each reader's share has `share_bytes`.
    Guided {
        share_bytes: u64,
    },
    Fixed {
        bytes: u64,
    },
}

impl Limits {
    fn of(pieces: &[Piece], slicing: &Slicing) -> Self {
        let all_bytes = total(pieces.iter().map(|piece| piece.bytes));
        let wanted = match (slicing.slice_bytes, slicing.ordered) {
            (Some(bytes), _) => Wanted::Fixed { bytes },
            (None, true) => Wanted::Fixed { bytes: ORDERED_BYTES },
            (None, false) => {
                let n_readers = u64::try_from(slicing.readers).unwrap_or(u64::MAX).max(1);
                Wanted::Guided { share_bytes: all_bytes.div_ceil(n_readers).max(1) }
            }
        };
        let small_bytes = slicing.slice_bytes.unwrap_or(SMALL_BYTES).min(SMALL_BYTES);
        let group_bytes = slicing.slice_bytes.unwrap_or(GROUP_BYTES).clamp(small_bytes, GROUP_BYTES);
        let (n_pieces, n_max) = (pieces.len() as u64, SLICES_MAX as u64);
        if n_pieces <= n_max / 2 {
            // Each piece has at most one slice that is smaller than the others.
            let floor_bytes = all_bytes.div_ceil(n_max - n_pieces);
            return Self { small_bytes, group_bytes, group_pieces: GROUP_PIECES, floor_bytes, wanted };
        }
        // With a fifth of all slices as the measure of "large": two fifths are ranges of large pieces, two
        // are groups by bytes (two neighbours together are larger than one may be), and one is groups by
        // number.
        let share = all_bytes.div_ceil(n_max / 5).saturating_add(1);
        Self {
            small_bytes: small_bytes.max(share),
            group_bytes: group_bytes.max(share),
            group_pieces: GROUP_PIECES.max(pieces.len().div_ceil(SLICES_MAX / 5)),
            floor_bytes: share,
            wanted,
        }
    }

    /// The pages of the next slice of a piece, after `cut_bytes` bytes.
    fn pages(&self, piece: &Piece, cut_bytes: u64) -> u64 {
        let bytes = match self.wanted {
            Wanted::Fixed { bytes } => bytes,
            Wanted::Guided { share_bytes } => {
                let rest_bytes = share_bytes - cut_bytes % share_bytes;
                (rest_bytes / GUIDED_OF_REST)
                    .min(share_bytes / GUIDED_OF_SHARE)
                    .clamp(GUIDED_BYTES_MIN, GUIDED_BYTES_MAX)
            }
        };
        let (pages, piece_bytes) = (u128::from(piece.pages), u128::from(piece.bytes.max(1)));
        let wanted = u128::from(bytes) * pages / piece_bytes;
        let floor = (u128::from(self.floor_bytes) * pages).div_ceil(piece_bytes);
        u64::try_from(wanted.max(floor)).unwrap_or(u64::MAX).max(1)
    }

    /// Whether `n_pages` pages at the end of a piece are too few for a slice of their own: a reader might
    /// read it without its neighbours.
    fn is_crumb(&self, piece: &Piece, n_pages: u64) -> bool {
        match self.wanted {
            Wanted::Fixed { .. } => false,
            Wanted::Guided { .. } => share(piece.bytes, n_pages, piece.pages) < GUIDED_BYTES_MIN / 2,
        }
    }
}

/// Small pieces that are read together.
#[derive(Debug, Default)]
struct Group {
    pieces: Vec<usize>,
    bytes: u64,
    rows: Option<u64>,
}

impl Group {
    fn has_room(&self, piece: &Piece, limits: &Limits) -> bool {
        self.pieces.len() < limits.group_pieces
            && self.bytes.saturating_add(piece.bytes) <= limits.group_bytes
    }

    fn add(&mut self, index: usize, piece: &Piece) {
        self.rows = match self.pieces.is_empty() {
            true => piece.rows,
            false => self.rows.zip(piece.rows).map(|(a, b)| a.saturating_add(b)),
        };
        self.pieces.push(index);
        self.bytes = self.bytes.saturating_add(piece.bytes);
    }

    fn take(&mut self) -> Option<Cut> {
        let Self { pieces, bytes, rows } = std::mem::take(self);
        (!pieces.is_empty()).then_some(Cut { pieces, pages: None, bytes, rows })
    }
}

/// `part` of `whole` parts of a number.
fn share(number: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(number) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}
