//! How the pages of one heap are read, learnt from the pages read before.

use std::sync::Arc;
use std::time::Duration;

use pgarrow_catalog::Relation;
use pgarrow_heap::PageDecoder;
use pgarrow_types::HeapLayout;

use crate::planner::PageTable;

/// The most pages in one window: a statement costs about as much as ten pages, and all of them may have to be
/// kept.
pub(super) const WINDOW_MAX: u64 = 1024;
/// The window where memory is short, and where it is unknown whether pages are good.
pub(super) const WINDOW_MIN: u64 = 32;

/// Pages whose rows come by COPY unseen, after a window that was mostly bad; twice as many after each such
/// window.
const SPAN_MIN: u64 = 256;
pub(super) const SPAN_MAX: u64 = 1 << 20;

/// Below this share of all-visible pages, the first pages of a table come by COPY unseen.
const VISIBLE_SHARE_MIN: f64 = 0.02;

/// Good pages between bad ones come by COPY, too, since a statement of their own costs more: at least this
/// many,
const GAP_MIN: usize = 4;
/// and one for each such time that a statement takes to begin. About what COPY needs for a page.
const GAP_PAGE: Duration = Duration::from_micros(40);

/// How the pages of one heap are read, across slices.
#[derive(Debug)]
pub(crate) struct PageReading {
    pub(super) oid: u32,
    pub(super) layout: Arc<HeapLayout>,
    pub(super) decoder: PageDecoder,
    /// Pages to ask for next.
    pub(super) window: u64,
    /// Pages whose rows come by COPY before pages are asked for again.
    pub(super) span: u64,
    /// The last window was mostly bad, or the next one is thought to be.
    pub(super) is_bad: bool,
    /// The shortest time that a statement took to begin.
    pub(super) statement: Duration,
    /// The server refused to hand out a page: it is not asked again.
    pub(super) is_refused: bool,
    /// The backend whose session has a lock of its own on the heap.
    pub(super) locked_by: Option<i32>,
}

impl PageReading {
    pub(super) fn new(relation: &Relation, table: PageTable<'_>, window_max: u64) -> Self {
        Self {
            oid: relation.oid,
            layout: Arc::clone(table.layout),
            decoder: PageDecoder::new(Arc::clone(table.layout)),
            window: WINDOW_MIN.max(window_max / 8),
            span: SPAN_MIN,
            is_bad: table.visible_share < VISIBLE_SHARE_MIN,
            statement: Duration::MAX,
            is_refused: false,
            locked_by: None,
        }
    }

    /// How many good pages between bad ones are read together with these.
    pub(super) fn gap(&self) -> usize {
        let n_pages = self.statement.as_micros() / GAP_PAGE.as_micros();
        usize::try_from(n_pages).unwrap_or(usize::MAX).max(GAP_MIN)
    }

    /// Learns from a window of `n_pages` pages; `n_copied` of them came by COPY.
    pub(super) fn learn(&mut self, n_pages: u64, n_copied: u64, window_max: u64) {
        self.is_bad = 2 * n_copied > n_pages;
        if n_copied == 0 {
            self.window = (2 * self.window).min(window_max);
            self.span = SPAN_MIN;
        } else if self.is_bad {
            self.window = WINDOW_MIN;
        }
    }
}
