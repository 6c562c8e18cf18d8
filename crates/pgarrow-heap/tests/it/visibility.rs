//! Pages that are not all-visible: the rows of a snapshot, or a refusal.

use pgarrow_heap::{Refusal, Snapshot};
use proptest::prelude::*;

use crate::pages::{Page, Table};
use crate::{expected, page, row, table};

const XMIN_COMMITTED: u16 = 0x0100;
const XMIN_INVALID: u16 = 0x0200;
const XMAX_COMMITTED: u16 = 0x0400;
const XMAX_INVALID: u16 = 0x0800;
const XMAX_IS_MULTI: u16 = 0x1000;

/// Transaction 100 ran, 110 had not begun.
fn judging() -> Table {
    let mut table = table();
    table.snapshot = Snapshot::parse("100:110:100");
    table
}

/// The transactions of a tuple, and what is known of them.
type Row = (u32, u32, u16);

const THERE: Row = (50, 0, XMIN_COMMITTED | XMAX_INVALID);
const DELETED: Row = (50, 60, XMIN_COMMITTED | XMAX_COMMITTED);
const DELETED_LATER: Row = (50, 120, XMIN_COMMITTED | XMAX_COMMITTED);
const ROLLED_BACK: Row = (50, 0, XMIN_INVALID | XMAX_INVALID);
const LATER: Row = (120, 0, XMIN_COMMITTED | XMAX_INVALID);
const RUNNING: Row = (100, 0, XMAX_INVALID);
const UNKNOWN: Row = (105, 0, XMIN_COMMITTED | XMAX_INVALID);

/// A page that VACUUM has not marked, with these rows, numbered from `first`.
fn unmarked(block: u32, first: i32, rows: &[Row]) -> Page {
    let mut page = Page::new(block);
    page.set(10, &[0, 0]);
    for (number, row_of) in (first..).zip(rows) {
        let at = page.tuple(2, None, &row(number, &format!("t{number}")));
        mark(&mut page, at, *row_of);
    }
    page
}

fn mark(page: &mut Page, at: usize, (xmin, xmax, flags): Row) {
    page.set(at, &xmin.to_le_bytes());
    page.set(at + 4, &xmax.to_le_bytes());
    page.set(at + 20, &flags.to_le_bytes());
}

fn numbers(rows: &[Vec<String>]) -> Vec<i32> {
    rows.iter().map(|row| row[0].parse().unwrap()).collect()
}

#[test]
fn rows_of_the_snapshot_come_in_their_order_in_batches_of_any_size() {
    let mixed = [THERE, DELETED, DELETED_LATER, ROLLED_BACK, LATER, THERE, RUNNING, THERE];
    for batch_rows in [1, 2, 3, 4, 65_536] {
        let mut table = judging();
        table.limits.rows = batch_rows;
        let pages = [
            page(6, 0..10),
            unmarked(7, 10, &mixed),
            unmarked(8, 20, &[DELETED, LATER]),
            unmarked(9, 30, &[]),
            unmarked(10, 40, &[THERE, UNKNOWN]),
            unmarked(11, 50, &[THERE]),
        ];
        let read = table.read(&pages, 3);
        let rows: Vec<i32> = (0..10).chain([10, 12, 15, 17, 50]).collect();
        assert_eq!(numbers(&read.rows), rows, "{batch_rows}");
        assert_eq!((read.refused, read.why), (vec![(10, 0)], vec![Refusal::Undecided]), "{batch_rows}");
        assert_eq!(read.judged, 4, "{batch_rows}");
        let (last, others) = read.batches.split_last().unwrap();
        assert!(others.iter().all(|rows| *rows == batch_rows) && *last <= batch_rows);
    }
}

/// The rule of before holds without a snapshot, and for a page of which only the header came.
#[test]
fn nothing_is_judged_without_a_snapshot_or_a_page() {
    let read = table().read(&[unmarked(7, 0, &[THERE])], 0);
    assert_eq!((read.refused, read.why, read.judged), (vec![(7, 0)], vec![Refusal::NotAllVisible], 0));
    let mut header = unmarked(7, 0, &[THERE]);
    header.bytes.truncate(24);
    let read = judging().read(&[header], 0);
    assert_eq!((read.refused, read.why), (vec![(7, 0)], vec![Refusal::NotAllVisible]));
}

/// VACUUM's mark says more than tuples do, and a snapshot changes nothing about that.
#[test]
fn a_marked_page_is_not_judged() {
    let mut marked = unmarked(7, 0, &[THERE, LATER]);
    marked.set(10, &[4, 0]);
    let read = judging().read(&[marked], 0);
    assert_eq!((numbers(&read.rows), read.judged), (vec![0, 1], 0));
    let mut zeros = Page::new(1);
    zeros.bytes.fill(0);
    assert_eq!(judging().read(&[zeros, page(2, 0..1)], 0).judged, 0);
}

#[test]
fn line_pointers_without_tuples_have_no_rows() {
    let mut page = unmarked(7, 0, &[THERE]);
    page.pointer(0, 0, 0);
    page.pointer(3, 2, 0);
    page.pointer(0, 3, 0);
    let at = page.tuple(2, None, &row(1, "t1"));
    mark(&mut page, at, THERE);
    assert_eq!(judging().read(&[page], 0).rows, expected(0..2));
}

#[test]
fn a_page_that_is_not_as_it_should_be_is_refused() {
    type Change = fn(&mut Page, usize);
    let changes: Vec<(&str, Change)> = vec![
        ("an unknown flag", |page, _| page.set(10, &[0, 1])),
        ("another layout", |page, _| page.set(18, &[5, 0x20])),
        ("lower above upper", |page, _| page.set(12, &8188_u16.to_le_bytes())),
        ("a pointer into the header", |page, _| page.set(24, &(8 | 1 << 15 | 40_u32 << 17).to_le_bytes())),
        ("a pointer that is not aligned", |page, at| {
            page.set(24, &((at as u32 + 1) | 1 << 15 | 30_u32 << 17).to_le_bytes());
        }),
        ("a tuple behind the page", |page, at| {
            page.set(24, &(at as u32 | 1 << 15 | 8191_u32 << 17).to_le_bytes());
        }),
        ("a tuple shorter than its header", |page, at| {
            page.set(24, &(at as u32 | 1 << 15 | 20_u32 << 17).to_le_bytes());
        }),
        ("data in the header", |page, at| page.set(at + 22, &[16])),
        ("data behind the tuple", |page, at| page.set(at + 22, &[64])),
        ("more attributes than the table", |page, at| page.set(at + 18, &[3, 0])),
        ("moved by VACUUM FULL of old", |page, at| page.set(at + 20, &0x4900_u16.to_le_bytes())),
        ("with an OID of old", |page, at| page.set(at + 20, &0x0908_u16.to_le_bytes())),
        ("speculative", |page, at| page.set(at + 16, &0xfffe_u16.to_le_bytes())),
        ("changed by one of several", |page, at| {
            page.set(at + 20, &(XMIN_COMMITTED | XMAX_IS_MULTI).to_le_bytes());
        }),
        ("inserted by nobody", |page, at| page.set(at, &[0; 4])),
        ("without a hint", |page, at| page.set(at + 20, &XMAX_INVALID.to_le_bytes())),
        ("of another page", |page, at| page.set(at + 14, &[99, 0])),
    ];
    for (what, change) in changes {
        let mut bad = unmarked(8, 90, &[]);
        let at = bad.tuple(2, None, &row(1, "a text of some length"));
        mark(&mut bad, at, THERE);
        change(&mut bad, at);
        let read = judging().read(&[unmarked(7, 0, &[THERE; 3]), bad, unmarked(9, 3, &[THERE; 2])], 1);
        assert_eq!(read.refused, [(8, 0)], "{what}");
        assert_eq!(read.rows, expected(0..5), "{what}");
    }
}

/// A transaction that was rolled back had added a column. Nobody sees its rows, so what is in them does not
/// matter.
#[test]
fn a_row_that_is_not_there_may_have_more_attributes() {
    let mut page = unmarked(7, 0, &[THERE, ROLLED_BACK]);
    let at = usize::from(page.u16_at(14));
    page.set(at + 18, &[9, 0]);
    let read = judging().read(&[page], 0);
    assert_eq!((read.rows, read.refused), (expected(0..1), vec![]));
}

/// The last row was updated on another page, the others on this one.
#[test]
fn rows_whose_next_versions_are_elsewhere() {
    let mut page = unmarked(7, 0, &[THERE, DELETED, DELETED_LATER]);
    let at = usize::from(page.u16_at(14));
    page.set(at + 14, &[99, 0]);
    assert_eq!(numbers(&judging().read(&[page], 0).rows), [0, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Any changed page gives rows or a refusal, no panic; and never more rows than it has line pointers.
    #[test]
    fn changed_pages_are_judged_or_refused(
        changes in prop::collection::vec((0..8192_usize, any::<u8>()), 1..20),
        near in prop::collection::vec((0..200_usize, any::<u8>()), 0..10),
        exact in any::<bool>(),
    ) {
        let mut page = unmarked(5, 0, &[THERE, DELETED, LATER, RUNNING, THERE].repeat(20));
        for (at, byte) in changes.into_iter().chain(near) {
            page.bytes[at] = byte;
        }
        let mut table = judging();
        table.limits.exact = exact;
        if let Some(read) = table.try_read(&[page], 0) {
            prop_assert!(read.rows.len() <= 291);
        }
    }
}
