//! `cut`: nothing is lost or read twice, whatever the sizes.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::planner::Slicing;
use crate::planner::cut::{Cut, Piece, cut};

const MIB: u64 = 1024 * 1024;
const PAGE: u64 = 8192;

fn heap(pages: u64) -> Piece {
    Piece { pages, bytes: pages * PAGE, rows: Some(pages * 10), by_pages: true }
}

fn slicing(readers: usize) -> Slicing {
    Slicing { readers, ..Slicing::default() }
}

/// Checks that one slice reads each piece whole, or ranges without gaps read it from its first page, the last
/// one open.
fn check(pieces: &[Piece], cuts: &[Cut]) {
    let mut seen: Vec<Vec<(u64, Option<u64>)>> = vec![Vec::new(); pieces.len()];
    for cut in cuts {
        assert!(!cut.pieces.is_empty());
        assert!(cut.pages.is_none() || cut.pieces.len() == 1, "pages are of one piece");
        for index in &cut.pieces {
            seen[*index].push(cut.pages.unwrap_or((0, None)));
        }
    }
    for (piece, mut ranges) in pieces.iter().zip(seen) {
        ranges.sort_unstable_by_key(|(from, _)| *from);
        let mut expected = Some(0);
        for (from, to) in &ranges {
            assert_eq!(Some(*from), expected, "a gap or an overlap: {ranges:?}");
            assert!(to.is_none_or(|to| to > *from && to < piece.pages), "an empty slice: {ranges:?}");
            assert!(piece.by_pages || to.is_none());
            expected = *to;
        }
        assert_eq!(expected, None, "the last slice has an end: {ranges:?}");
        assert!(!ranges.is_empty());
    }
    let bytes = |bytes: &mut dyn Iterator<Item = u64>| bytes.sum::<u64>();
    let of_cuts = bytes(&mut cuts.iter().map(|cut| cut.bytes));
    let of_pieces = bytes(&mut pieces.iter().map(|piece| piece.bytes));
    // Each share is rounded down.
    assert!(of_cuts <= of_pieces && of_pieces - of_cuts <= cuts.len() as u64, "{of_cuts} of {of_pieces}");
}

proptest! {
    #[test]
    fn every_page_is_in_one_slice(
        sizes in prop::collection::vec((0_u64..20_000, 0_u64..4 * PAGE, any::<bool>()), 0..80),
        readers in 0_usize..10,
        slice_bytes in prop::option::of(1_u64..100 * MIB),
        ordered: bool,
    ) {
        let piece = |(pages, toast, by_pages): (u64, u64, bool)| {
            let bytes = pages * (PAGE + toast);
            Piece { pages, bytes, rows: None, by_pages }
        };
        let pieces: Vec<Piece> = sizes.into_iter().map(piece).collect();
        let slicing = Slicing { readers, slice_bytes, ordered, ..Slicing::default() };
        let cuts = cut(&pieces, &slicing);
        check(&pieces, &cuts);
        let firsts: Vec<_> = cuts.iter().map(|cut| (cut.pieces[0], cut.pages)).collect();
        prop_assert!(firsts.is_sorted(), "{firsts:?}");
    }
}

#[test]
fn guided_slices_shrink_from_64_to_4_mib_in_the_share_of_each_reader() {
    let pieces = [heap(2 * 1024 * MIB / PAGE + 7)];
    let cuts = cut(&pieces, &slicing(4));
    check(&pieces, &cuts);
    assert_eq!(cuts[0].bytes, 64 * MIB);
    // No slice is small enough to become a tiny row group.
    assert!(cuts.iter().all(|cut| (2 * MIB..=66 * MIB).contains(&cut.bytes)));
    // About 8 slices of 64 MiB fit into a share; the last slices of each share are small.
    assert!(cuts.len() <= 4 * 16, "{} slices", cuts.len());
    let mut shares = vec![Vec::new(); 4];
    let mut from = 0;
    for cut in &cuts {
        shares[usize::try_from(from / (512 * MIB)).unwrap().min(3)].push(cut.bytes);
        from += cut.bytes;
    }
    for share in shares {
        assert!(share[share.len() - 2..].iter().all(|bytes| *bytes <= 8 * MIB), "{share:?}");
    }
}

/// Formerly, slices were in the order of their sizes, so neighbours were far apart; and the rest of a table
/// was a slice, even a single page.
#[test]
fn slices_are_neighbours_in_the_order_of_leaves_and_pages() {
    let pieces = [heap(3), heap(4 * 1024 + 1), heap(9), heap(700), heap(30 * 1024 + 1)];
    let cuts = cut(&pieces, &slicing(2));
    check(&pieces, &cuts);
    let starts: Vec<(usize, u64)> =
        cuts.iter().map(|cut| (cut.pieces[0], cut.pages.map_or(0, |(from, _)| from))).collect();
    assert!(starts.is_sorted(), "{starts:?}");
    let of_large = cuts.iter().filter(|cut| [1, 4].contains(&cut.pieces[0]));
    assert!(of_large.clone().count() > 5);
    assert!(of_large.clone().all(|cut| cut.bytes >= 2 * MIB), "{cuts:?}");
}

#[test]
fn ordered_slices_are_of_32_mib_and_in_order() {
    let pieces = [heap(10), heap(100 * MIB / PAGE), heap(20), heap(30)];
    let cuts = cut(&pieces, &Slicing { ordered: true, ..slicing(4) });
    check(&pieces, &cuts);
    let order: Vec<_> = cuts.iter().map(|cut| cut.pieces.clone()).collect();
    assert_eq!(order, [vec![0], vec![1], vec![1], vec![1], vec![1], vec![2, 3]]);
    assert_eq!(cuts[1].bytes, 32 * MIB);
}

#[test]
fn slices_as_small_as_a_page() {
    let pieces = [heap(100)];
    let cuts = cut(&pieces, &Slicing { slice_bytes: Some(1), ..slicing(1) });
    check(&pieces, &cuts);
    assert_eq!(cuts.len(), 100);
}

#[test]
fn toast_counts_as_bytes_of_its_pages() {
    let pieces = [Piece { pages: 10, bytes: 80 * MIB, rows: Some(100), by_pages: true }];
    let cuts = cut(&pieces, &Slicing { slice_bytes: Some(8 * MIB), ..slicing(2) });
    check(&pieces, &cuts);
    assert_eq!(cuts.len(), 10);
    assert_eq!((cuts[0].bytes, cuts[0].rows), (8 * MIB, Some(10)));
}

#[test]
fn small_leaves_are_read_together() {
    let pieces = vec![heap(1); 200];
    let cuts = cut(&pieces, &slicing(4));
    check(&pieces, &cuts);
    assert_eq!(cuts.iter().map(|cut| cut.pieces.len()).collect::<Vec<_>>(), [64, 64, 64, 8]);
    let pieces = vec![heap(100); 20];
    assert_eq!(cut(&pieces, &slicing(4)).len(), 2, "8 MiB are ten leaves of 100 pages");
}

#[test]
fn a_hundred_thousand_leaves_are_planned_at_once() {
    let started = Instant::now();
    for pages in [0, 1, 200, 100_000] {
        let pieces = vec![heap(pages); 100_000];
        for ordered in [false, true] {
            let cuts = cut(&pieces, &Slicing { ordered, slice_bytes: Some(1), ..slicing(8) });
            check(&pieces, &cuts);
            assert!(cuts.len() <= 100_000, "{} slices", cuts.len());
        }
    }
    // A quadratic algorithm would take minutes.
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn there_are_at_most_a_hundred_thousand_slices() {
    for n_pieces in [1, 1000, 60_000, 250_000] {
        let pieces: Vec<Piece> = (0..n_pieces).map(|index| heap(10_000_000 / n_pieces + index % 7)).collect();
        let cuts = cut(&pieces, &Slicing { slice_bytes: Some(PAGE), ..slicing(8) });
        check(&pieces, &cuts);
        assert!(cuts.len() <= 100_000, "{} slices of {n_pieces}", cuts.len());
    }
}
