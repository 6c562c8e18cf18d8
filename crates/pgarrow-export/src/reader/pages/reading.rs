//! How the pages of one heap are read, learnt from the pages read before.

use std::sync::Arc;
use std::time::Duration;

use pgarrow_catalog::Relation;
use pgarrow_heap::{PageDecoder, Snapshot};
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
const SPAN_MAX: u64 = 1 << 20;

/// A window with more than one undecided page among so many ends judging for a while: they came whole in
/// vain.
const UNDECIDED_ONE_IN: u64 = 8;

/// Below this share of all-visible pages, the first pages of a table come by COPY unseen, or are few if their
/// rows can be judged.
const VISIBLE_SHARE_MIN: f64 = 0.02;

/// Good pages between bad ones come by COPY, too, since a statement of their own costs more: at least this
/// many,
const GAP_MIN: usize = 4;
/// and one for each such time that a statement takes to begin. About what COPY needs for a page.
const GAP_PAGE: Duration = Duration::from_micros(40);

/// How the pages of one heap are read, across slices.
#[derive(Debug)]
pub(crate) struct PageReading {
    oid: u32,
    layout: Arc<HeapLayout>,
    /// What the session sees, in words.
    snapshot: String,
    pub(super) decoder: PageDecoder,
    /// Pages to ask for next.
    pub(super) window: u64,
    /// Pages whose rows come by COPY before pages are asked for again.
    pub(super) span: u64,
    /// The last window was mostly bad, or the next one is thought to be.
    pub(super) is_bad: bool,
    /// Rows of pages that are not all-visible can be judged,
    can_judge: bool,
    /// but for this number of pages, that is not tried;
    unjudged: u64,
    /// and for so many the next time.
    unjudged_span: u64,
    /// The shortest time that a statement took to begin.
    pub(super) statement: Duration,
    /// The server refused to hand out a page: it is not asked again.
    pub(super) is_refused: bool,
    /// The backend whose session has a lock of its own on the heap.
    pub(super) locked_by: Option<i32>,
}

impl PageReading {
    /// `snapshot`: that of the session, in words.
    pub(super) fn new(relation: &Relation, table: PageTable<'_>, window_max: u64, snapshot: &str) -> Self {
        let judge = Snapshot::parse(snapshot).filter(|_| table.access.has_unmarked());
        let can_judge = judge.is_some();
        let is_unmarked = table.visible_share < VISIBLE_SHARE_MIN;
        Self {
            oid: relation.oid,
            layout: Arc::clone(table.layout),
            snapshot: snapshot.to_owned(),
            decoder: PageDecoder::new(Arc::clone(table.layout)).with_snapshot(judge),
            window: if is_unmarked { WINDOW_MIN } else { WINDOW_MIN.max(window_max / 8) },
            span: SPAN_MIN,
            is_bad: is_unmarked && !can_judge,
            can_judge,
            unjudged: 0,
            unjudged_span: SPAN_MIN,
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

    /// Whether this is how the relation is read in a session with this snapshot.
    pub(super) fn is_of(&self, relation: &Relation, table: PageTable<'_>, snapshot: &str) -> bool {
        self.oid == relation.oid && self.layout == *table.layout && self.snapshot == snapshot
    }

    /// Whether pages that are not all-visible are wanted whole.
    pub(super) fn judges(&self) -> bool {
        self.can_judge && self.unjudged == 0
    }

    /// Skips pages that come by COPY unseen.
    pub(super) fn skip(&mut self, n_pages: u64) {
        self.unjudged = self.unjudged.saturating_sub(n_pages);
        self.span = (2 * self.span).min(SPAN_MAX);
        self.is_bad = false;
        self.window = WINDOW_MIN;
    }

    /// Learns from a window of `n_pages` pages; `n_copied` of them came by COPY, `n_undecided` because nobody
    /// but the server could judge them.
    pub(super) fn learn(&mut self, n_pages: u64, n_copied: u64, n_undecided: u64, window_max: u64) {
        self.is_bad = 2 * n_copied > n_pages;
        if n_copied == 0 {
            self.window = (2 * self.window).min(window_max);
            self.span = SPAN_MIN;
        } else if self.is_bad {
            self.window = WINDOW_MIN;
        }
        if !self.judges() {
            self.unjudged = self.unjudged.saturating_sub(n_pages);
        } else if UNDECIDED_ONE_IN * n_undecided > n_pages {
            self.unjudged = self.unjudged_span;
            self.unjudged_span = (2 * self.unjudged_span).min(SPAN_MAX);
        } else {
            self.unjudged_span = SPAN_MIN;
        }
    }
}

#[cfg(test)]
mod tests {
    use pgarrow_catalog::{PageAccess, PageSource, RelationKind};

    use super::*;

    fn reading(source: PageSource, visible_share: f64, snapshot: &str) -> PageReading {
        let layout = Arc::new(HeapLayout { attributes: Vec::new(), columns: Vec::new() });
        let access = PageAccess { source };
        let table = PageTable { access: &access, layout: &layout, visible_share };
        let relation = Relation {
            oid: 16_400,
            schema: "public".to_owned(),
            name: "t".to_owned(),
            kind: RelationKind::Table,
        };
        PageReading::new(&relation, table, WINDOW_MAX, snapshot)
    }

    fn inspect(visible_share: f64, snapshot: &str) -> PageReading {
        reading(PageSource::Inspect { schema: "public".to_owned() }, visible_share, snapshot)
    }

    #[test]
    fn a_table_that_was_never_vacuumed_is_tried_only_if_its_rows_can_be_judged() {
        let judging = inspect(0.0, "100:110:100");
        assert_eq!((judging.judges(), judging.is_bad, judging.window), (true, false, WINDOW_MIN));
        let function = reading(PageSource::Function, 0.0, "100:110:100");
        assert_eq!((function.judges(), function.is_bad), (false, true));
        let unknown = inspect(0.0, "some snapshot");
        assert_eq!((unknown.judges(), unknown.is_bad), (false, true));
        let vacuumed = inspect(1.0, "100:110:100");
        assert_eq!((vacuumed.judges(), vacuumed.is_bad, vacuumed.window), (true, false, WINDOW_MAX / 8));
    }

    #[test]
    fn judging_rests_while_it_is_mostly_in_vain() {
        let mut reading = inspect(1.0, "100:110:");
        reading.learn(80, 10, 10, WINDOW_MAX);
        assert!(reading.judges(), "one in eight");
        for span in [SPAN_MIN, 2 * SPAN_MIN, 4 * SPAN_MIN] {
            reading.learn(80, 11, 11, WINDOW_MAX);
            assert!(!reading.judges() && !reading.is_bad);
            reading.learn(span - 1, 9, 0, WINDOW_MAX);
            assert!(!reading.judges());
            reading.learn(1, 0, 0, WINDOW_MAX);
            assert!(reading.judges());
        }
        reading.learn(80, 0, 0, WINDOW_MAX);
        reading.learn(80, 60, 60, WINDOW_MAX);
        assert_eq!((reading.unjudged, reading.is_bad), (SPAN_MIN, true));
        // Behind pages that nobody looked at, it is tried again.
        reading.skip(SPAN_MIN);
        assert!(reading.judges() && !reading.is_bad);
    }
}
