//! `PageDecoder`: pages in, rows of a batch out.

use std::sync::Arc;

use pgarrow_decode::CopyDecoder;
use pgarrow_types::HeapLayout;

use crate::locate::{PageAt, Places, Tuples, Wanted};
use crate::page::{Refusal, is_unmarked};
use crate::rows::{PageRows, Scratch};
use crate::visibility::Snapshot;

/// The reason for a page with a refused value.
const VALUE: Refusal = Refusal::Unverified("a value that is not as PostgreSQL stores it, or is refused");

/// Decodes pages of one heap into the batches of a [`CopyDecoder`].
///
/// ```text
///  pages ─▶ tuples ─▶ places of values ─┬─▶ stored: the column reads them in place ─┬─▶ batch
///                                       └─▶ written as COPY sends them ─▶ column ───┘
/// ```
#[derive(Debug)]
pub struct PageDecoder {
    layout: Arc<HeapLayout>,
    /// Judges rows of pages that are not all-visible.
    snapshot: Option<Snapshot>,
    wanted: Wanted,
    tuples: Tuples,
    places: Vec<Places>,
    scratch: Scratch,
    /// Where the rows of each page end, for pages that are decoded together.
    ends: Vec<usize>,
    /// Rows of the next page that a batch already has or had.
    n_taken: usize,
    /// The line pointer of the row behind them.
    next_number: u16,
}

/// The result of [`PageDecoder::decode`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// Pages that are done.
    pub pages: usize,
    /// Those of them that are not all-visible: their rows were judged one by one.
    pub judged: usize,
    /// Why it stopped there.
    pub stop: PageStop,
}

/// Why the decoder stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PageStop {
    /// All pages are done.
    Done,
    /// The batch is full: flush it, and call again with the pages that are not done.
    BatchFull,
    /// The next page is not decoded: read its rows from this line pointer on (0: all of them) in another way,
    /// and go on behind the page.
    Refused {
        /// The line pointer of the first row that was not taken.
        from: u16,
        /// Why.
        why: Refusal,
    },
}

impl PageDecoder {
    /// For the heap with this layout; the decoder's columns are those of the layout.
    pub fn new(layout: Arc<HeapLayout>) -> Self {
        let wanted = Wanted::of(&layout);
        let places = layout.columns.iter().map(|_| Places::default()).collect();
        Self {
            wanted,
            tuples: Tuples::default(),
            places,
            scratch: Scratch::default(),
            ends: Vec::new(),
            n_taken: 0,
            next_number: 0,
            snapshot: None,
            layout,
        }
    }

    /// With it, pages that are not all-visible are decoded, too: their rows that the snapshot has, as far as
    /// that is certain.
    ///
    /// The pages must have been read while the snapshot was held, in a session whose transaction has written
    /// nothing, by a primary server whose `old_snapshot_threshold` is -1.
    #[must_use]
    pub fn with_snapshot(self, snapshot: Option<Snapshot>) -> Self {
        Self { snapshot, ..self }
    }

    /// Bytes of memory that it holds.
    pub fn allocated_bytes(&self) -> usize {
        let places: usize = self.places.iter().map(Places::allocated_bytes).sum();
        self.tuples.allocated_bytes() + places + self.scratch.allocated_bytes()
    }

    /// Forgets pages that were not done, before it decodes others.
    pub fn restart(&mut self) {
        self.n_taken = 0;
    }

    /// Checks whether a page can be decoded, without looking at its values. May be called unless the last
    /// [`decode`](Self::decode) ended with [`PageStop::BatchFull`].
    ///
    /// # Errors
    ///
    /// The reason if not.
    pub fn check(&mut self, bytes: &[u8], page: PageAt) -> Result<(), Refusal> {
        self.gather(bytes, &[page], 1)?;
        self.tuples.locate(bytes, &self.wanted, &mut self.places)
    }

    /// Decodes `pages` of `bytes`, in their order.
    ///
    /// After [`PageStop::BatchFull`] the caller must pass the pages that are not done again, and no others
    /// before them.
    pub fn decode(&mut self, bytes: &[u8], pages: &[PageAt], decoder: &mut CopyDecoder) -> Decoded {
        let (done, stop) = self.decode_pages(bytes, pages, decoder);
        let is_judged = |page: &&PageAt| bytes.get(page.start..).is_some_and(is_unmarked);
        let judged = match self.snapshot {
            Some(_) => pages.iter().take(done).filter(is_judged).count(),
            None => 0,
        };
        Decoded { pages: done, judged, stop }
    }

    fn decode_pages(
        &mut self,
        bytes: &[u8],
        pages: &[PageAt],
        decoder: &mut CopyDecoder,
    ) -> (usize, PageStop) {
        let mut done = 0;
        // Pages up to this one are decoded one by one.
        let mut one_by_one = 0;
        while let Some(rest) = pages.get(done..)
            && !rest.is_empty()
        {
            if decoder.is_full() {
                return (done, PageStop::BatchFull);
            }
            let n_max = if done < one_by_one { 1 } else { usize::MAX };
            let n_pages = match self.gather(bytes, rest, n_max) {
                Ok(n_pages) => n_pages,
                Err(why) => return self.refused(done, why),
            };
            if let Err(why) = self.tuples.locate(bytes, &self.wanted, &mut self.places) {
                if n_pages == 1 {
                    return self.refused(done, why);
                }
                one_by_one = done + n_pages;
                continue;
            }
            match self.take(bytes, decoder) {
                Taken::All => {
                    done += n_pages;
                    self.n_taken = 0;
                }
                Taken::Full(n_rows) => {
                    done += self.pages_of(n_rows);
                    return (done, PageStop::BatchFull);
                }
                Taken::Refused(n_rows) => {
                    let n_done = self.pages_of(n_rows);
                    if n_pages == 1 {
                        return self.refused(done, VALUE);
                    }
                    one_by_one = done + n_pages;
                    done += n_done;
                }
            }
        }
        (done, PageStop::Done)
    }

    /// Finds the tuples of the first pages, up to a chunk. Returns the number of pages.
    fn gather(&mut self, bytes: &[u8], pages: &[PageAt], n_max: usize) -> Result<usize, Refusal> {
        self.tuples.clear();
        self.ends.clear();
        for page in pages.iter().take(n_max) {
            match self.tuples.add(bytes, *page, &self.layout, self.snapshot.as_ref()) {
                Ok(true) => self.ends.push(self.tuples.len()),
                Err(why) if self.ends.is_empty() => return Err(why),
                Ok(false) | Err(_) => break,
            }
        }
        Ok(self.ends.len())
    }

    /// Gives the located rows to the batch.
    fn take(&mut self, bytes: &[u8], decoder: &mut CopyDecoder) -> Taken {
        let n_rows = self.tuples.len();
        let mut first = self.n_taken;
        let is_exact = decoder.is_exact();
        while first < n_rows {
            let n_chunk = (n_rows - first).min(decoder.chunk_rows());
            if n_chunk == 0 {
                return Taken::Full(first);
            }
            let mut rows = PageRows {
                bytes,
                layout: &self.layout,
                places: &self.places,
                first,
                scratch: &mut self.scratch,
                is_exact,
                n_rows: 0,
            };
            let taken = decoder.decode_chunk(n_chunk, &mut rows);
            self.scratch.shrink();
            match taken {
                Ok(n_taken) => first += n_taken,
                Err(_) => return Taken::Refused(first),
            }
        }
        Taken::All
    }

    /// The number of pages whose rows are all among the first `n_rows`. Remembers the taken rows of the next
    /// page.
    fn pages_of(&mut self, n_rows: usize) -> usize {
        let n_pages = self.ends.iter().take_while(|end| **end <= n_rows).count();
        let before = n_pages.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        self.n_taken = n_rows - before;
        self.next_number = self.tuples.number(n_rows).unwrap_or(0);
        n_pages
    }

    fn refused(&mut self, pages: usize, why: Refusal) -> (usize, PageStop) {
        let n_taken = std::mem::take(&mut self.n_taken);
        let from = if n_taken > 0 { self.next_number } else { 0 };
        (pages, PageStop::Refused { from, why })
    }
}

enum Taken {
    All,
    /// The batch is full after this many rows.
    Full(usize),
    /// A value behind this many rows was refused.
    Refused(usize),
}
