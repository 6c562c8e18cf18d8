//! Pages of texts whose lengths stand apart from their bytes.
//!
//! ```text
//!  while values come   room │ bytes of the values
//!  at the end             levels, lengths │ bytes of the values
//! ```

use std::mem;

use crate::leaf::delta::Delta;

/// Lengths, and bytes behind room for what will come before them: so the page need not be copied together.
pub(crate) struct Apart {
    pub(crate) lengths: Delta<i32>,
    /// Values are appended here.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the room, of this page and of the next.
    front: usize,
    next_front: usize,
    /// The bytes are in the place of what comes before them, and that is in theirs.
    is_exchanged: bool,
}

impl Apart {
    pub(crate) fn new() -> Self {
        Self { lengths: Delta::new(), bytes: Vec::new(), front: 0, next_front: 0, is_exchanged: false }
    }

    /// Makes room in front of a page that begins with this many rows, whose values have so many bytes.
    pub(crate) fn begin_page(&mut self, rows: usize, n_bytes: impl FnOnce() -> usize) {
        /// What the levels and lengths of up to 255 take, as a rule.
        const ROOM_FOR_64_ROWS: usize = 80;
        if self.bytes.is_empty() {
            self.front = self.next_front.max(ROOM_FOR_64_ROWS * rows.div_ceil(64));
            self.bytes.reserve(self.front + n_bytes());
            self.bytes.resize(self.front, 0);
        }
    }

    /// Appends the page to `out`, or exchanges `out` for the page, until [`take_back`](Self::take_back).
    /// Returns where the page begins.
    pub(crate) fn end_page(&mut self, out: &mut Vec<u8>) -> usize {
        self.lengths.end_page(out);
        let before = out.len();
        self.next_front = before + before / 8;
        let start = match self.front.checked_sub(before) {
            Some(start) if !self.bytes.is_empty() => {
                self.bytes[start..self.front].copy_from_slice(out);
                mem::swap(out, &mut self.bytes);
                self.is_exchanged = true;
                start
            }
            _ => {
                out.extend_from_slice(self.bytes.get(self.front..).unwrap_or_default());
                0
            }
        };
        self.bytes.clear();
        start
    }

    /// The page is written. Each column has its own buffer again: with that of another one, a column of short
    /// texts would hold as much as one of long texts.
    pub(crate) fn take_back(&mut self, out: &mut Vec<u8>) {
        if mem::take(&mut self.is_exchanged) {
            mem::swap(out, &mut self.bytes);
            self.bytes.clear();
        }
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.lengths.held_bytes() + self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page of these values, behind these levels, and whether it was copied.
    fn page(apart: &mut Apart, levels: &[u8], values: &[&str]) -> (Vec<u8>, bool) {
        apart.begin_page(values.len(), || values.iter().map(|value| value.len()).sum());
        for value in values {
            apart.lengths.extend(&[value.len() as i32]);
            apart.bytes.extend_from_slice(value.as_bytes());
        }
        let bytes = apart.bytes.as_ptr();
        let mut out = levels.to_vec();
        let start = apart.end_page(&mut out);
        let (page, is_copied) = (out[start..].to_vec(), out.as_ptr() != bytes);
        apart.take_back(&mut out);
        assert!(apart.bytes.as_ptr() == bytes && apart.bytes.is_empty());
        (page, is_copied)
    }

    fn expected(levels: &[u8], values: &[&str]) -> Vec<u8> {
        let (mut lengths, mut page) = (Delta::new(), levels.to_vec());
        values.iter().for_each(|value| lengths.extend(&[value.len() as i32]));
        lengths.end_page(&mut page);
        page.extend(values.concat().bytes());
        page
    }

    #[test]
    fn a_page_is_the_same_whether_its_room_suffices_or_not() {
        let long = "x".repeat(70_000);
        let uneven: Vec<&str> = (0..500).map(|i| if i % 3 == 0 { &long[..i * 130] } else { "é" }).collect();
        let mut apart = Apart::new();
        for n_levels in [0, 1, 5, 200, 100_000] {
            let levels = vec![7; n_levels];
            for values in [&["a", "bc", ""][..], &[""], &["", ""], &uneven[..], &[], &[long.as_str()]] {
                let what = format!("{n_levels} bytes of levels, {} values", values.len());
                let (found, _) = page(&mut apart, &levels, values);
                assert!(found == expected(&levels, values), "{what}");
                // The next page has learned what room it needs, so nothing is copied together.
                let (found, is_copied) = page(&mut apart, &levels, values);
                assert!(found == expected(&levels, values), "{what}, again");
                assert!(!is_copied, "{what}");
            }
        }
    }
}
