//! The pages of a window from the first bad one on, kept until they can be read in order.

use pgarrow_heap::{PageAt, PageDecoder, Refusal};

/// A page that waits until the COPY of pages is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Where it is in the kept bytes.
    pub(super) at: PageAt,
    /// Why its rows come by COPY, from this line pointer on.
    pub(super) refused: Option<(u16, Refusal)>,
}

/// Pages of consecutive blocks.
#[derive(Debug, Default)]
pub(super) struct KeptPages {
    bytes: Vec<u8>,
    pages: Vec<Kept>,
}

impl KeptPages {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.bytes.capacity() + self.pages.capacity() * size_of::<Kept>()
    }

    pub(super) fn page(&self, index: usize) -> Option<Kept> {
        self.pages.get(index).copied()
    }

    /// Keeps a page that lies in `bytes`: the next one after those that are kept.
    pub(super) fn keep(&mut self, bytes: &[u8], page: PageAt, refused: Option<(u16, Refusal)>) {
        let start = self.bytes.len();
        let end = page.start.saturating_add(page.length);
        self.bytes.extend_from_slice(bytes.get(page.start..end).unwrap_or_default());
        self.pages.push(Kept { at: PageAt { start, ..page }, refused });
    }

    /// Finds the bad pages, as far as that is possible without decoding values.
    pub(super) fn check(&mut self, decoder: &mut PageDecoder) {
        for page in self.pages.iter_mut().filter(|page| page.refused.is_none()) {
            page.refused = decoder.check(&self.bytes, page.at).err().map(|why| (0, why));
        }
    }

    /// Marks a page as bad after all, from this line pointer on.
    pub(super) fn refuse(&mut self, index: usize, from: u16, why: Refusal) {
        if let Some(page) = self.pages.get_mut(index) {
            page.refused = Some((from, why));
        }
    }

    /// The pages from `first` on before the next bad one.
    pub(super) fn good_from(&self, first: usize) -> Vec<PageAt> {
        let rest = self.pages.iter().skip(first);
        rest.take_while(|page| page.refused.is_none()).map(|page| page.at).collect()
    }

    /// Why each of these pages is bad; `None` for one that is not.
    pub(super) fn refusals(&self, first: usize, end: usize) -> Vec<Option<Refusal>> {
        let pages = self.pages.get(first..end).unwrap_or_default();
        pages.iter().map(|page| page.refused.map(|(_, why)| why)).collect()
    }

    /// The end of the run of pages that one COPY reads, from a bad page on: up to the last bad page,
    /// including good ones between as long as no more than `gap` follow one another. Returns the index after
    /// the run.
    pub(super) fn run_end(&self, first: usize, gap: usize) -> usize {
        let mut end = first + 1;
        for (index, page) in self.pages.iter().enumerate().skip(first + 1) {
            match page.refused {
                Some((0, _)) if index - end <= gap => end = index + 1,
                None if index - end < gap => {}
                _ => break,
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `.` is a good page, `x` a bad one.
    fn kept(pages: &str) -> KeptPages {
        let mut kept = KeptPages::default();
        for (block, page) in (7..).zip(pages.chars()) {
            let refused = (page == 'x').then_some((0, Refusal::NotAllVisible));
            kept.keep(&[1, 2, 3], PageAt { start: 1, length: 2, block }, refused);
        }
        kept
    }

    #[test]
    fn bad_pages_with_few_good_ones_between_are_one_run() {
        for (pages, end) in [
            ("x", 1),
            ("xx", 2),
            ("x.", 1),
            ("x.x", 3),
            ("x....x", 6),
            ("x.....x", 1),
            ("x....x....x.", 11),
            ("xx..........x", 2),
        ] {
            assert_eq!(kept(pages).run_end(0, 4), end, "{pages}");
        }
        assert_eq!(kept("x.....x").run_end(0, 5), 7);
        assert_eq!(kept("x.x").run_end(0, 0), 1);
    }

    #[test]
    fn pages_are_kept_one_behind_the_other() {
        let mut kept = kept("x..x");
        assert_eq!(kept.bytes(), [2, 3, 2, 3, 2, 3, 2, 3]);
        let good = kept.good_from(1);
        assert_eq!(good.iter().map(|page| (page.start, page.block)).collect::<Vec<_>>(), [(2, 8), (4, 9)]);
        kept.refuse(2, 5, Refusal::OutOfLine);
        assert_eq!(kept.good_from(1).len(), 1);
        assert_eq!(kept.refusals(1, 3), [None, Some(Refusal::OutOfLine)]);
    }
}
