//! Pages of heaps in a report: how many were decoded as stored, and why the others were not.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

/// Pages of heaps in the slices, all readers together.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PagesReport {
    /// Pages that were decoded as they are stored.
    pub read: u64,
    /// Those of them that VACUUM has not marked as all-visible: each of their rows was judged by the
    /// snapshot.
    pub judged: u64,
    /// Pages that were asked for as pages, but whose rows came by COPY.
    pub copied: u64,
    /// The reasons, as numbers of pages: `not_all_visible` (rows of other snapshots may be on them),
    /// `undecided` (so it is, and only the server can tell which rows these are), `out_of_line` (a value is
    /// stored elsewhere), `unverified` (something on them is unknown), `with_others` (COPY is quicker next to
    /// pages that need it). Only numbers that are not 0.
    pub reasons: BTreeMap<String, u64>,
}

/// What one reader did with pages, as numbers of pages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct PagesTally {
    /// Decoded as they are stored.
    pub(crate) read: u64,
    /// Of these: judged row by row.
    pub(crate) judged: u64,
    /// By COPY: not all-visible.
    pub(crate) copied_not_visible: u64,
    /// By COPY: not all-visible, and the snapshot does not say enough to judge its rows.
    pub(crate) copied_undecided: u64,
    /// By COPY: a wanted value is stored out of line.
    pub(crate) copied_out_of_line: u64,
    /// By COPY: could not be verified.
    pub(crate) copied_unverified: u64,
    /// By COPY: together with pages around them that needed it.
    pub(crate) copied_with_others: u64,
}

impl PagesTally {
    /// The report; `None` if no page was asked for.
    pub(crate) fn report(&self) -> Option<PagesReport> {
        let Self { read, judged, .. } = *self;
        let Self { copied_not_visible, copied_undecided, copied_out_of_line, .. } = *self;
        let Self { copied_unverified, copied_with_others, .. } = *self;
        let reasons = [
            ("not_all_visible", copied_not_visible),
            ("undecided", copied_undecided),
            ("out_of_line", copied_out_of_line),
            ("unverified", copied_unverified),
            ("with_others", copied_with_others),
        ];
        let copied = reasons.iter().map(|(_, pages)| pages).sum();
        let reasons = reasons.into_iter().filter(|(_, pages)| *pages > 0);
        let reasons = reasons.map(|(reason, pages)| (reason.to_owned(), pages)).collect();
        (read + copied > 0).then_some(PagesReport { read, judged, copied, reasons })
    }
}

impl AddAssign for PagesTally {
    fn add_assign(&mut self, other: Self) {
        let Self { read, judged, copied_not_visible, copied_undecided, .. } = other;
        let Self { copied_out_of_line, copied_unverified, copied_with_others, .. } = other;
        self.read += read;
        self.judged += judged;
        self.copied_not_visible += copied_not_visible;
        self.copied_undecided += copied_undecided;
        self.copied_out_of_line += copied_out_of_line;
        self.copied_unverified += copied_unverified;
        self.copied_with_others += copied_with_others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_those_that_there_were() {
        let mut tally = PagesTally { read: 5, judged: 2, copied_unverified: 2, ..PagesTally::default() };
        tally += PagesTally { read: 1, judged: 1, copied_with_others: 3, ..PagesTally::default() };
        let report = tally.report().unwrap();
        assert_eq!((report.read, report.judged, report.copied), (6, 3, 5));
        assert_eq!(
            report.reasons,
            BTreeMap::from([("unverified".to_owned(), 2), ("with_others".to_owned(), 3)])
        );
        assert!(PagesTally::default().report().is_none());
    }
}
