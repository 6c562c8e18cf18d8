//! Hand-written pages, also such as no server writes.

#![expect(clippy::cast_possible_truncation, clippy::unwrap_used, reason = "in tests; pages are small")]

mod fuzz;
mod pages;
mod stored;
mod visibility;

use pages::{Page, Table, VISIBLE, attribute, number, short, text};
use pgarrow_types::{PgType, StoredForm};
use proptest::prelude::*;

/// An int4 and a text.
fn table() -> Table {
    Table::new(vec![number(4), text()], vec![(0, PgType::Int4), (1, PgType::Text)])
}

fn row(number: i32, text: &str) -> Vec<u8> {
    [&number.to_le_bytes()[..], &short(text)].concat()
}

fn page(block: u32, rows: std::ops::Range<i32>) -> Page {
    let mut page = Page::new(block);
    for number in rows {
        page.tuple(2, None, &row(number, &format!("t{number}")));
    }
    page
}

fn expected(rows: std::ops::Range<i32>) -> Vec<Vec<String>> {
    rows.map(|number| vec![number.to_string(), format!("t{number}")]).collect()
}

#[test]
fn rows_of_some_pages_in_batches_of_any_size() {
    let ranges = [0..100, 100..101, 101..101, 101..280, 280..400];
    for batch_rows in [1, 2, 3, 99, 100, 101, 255, 256, 257, 65_536] {
        for exact in [false, true] {
            let mut table = table();
            (table.limits.rows, table.limits.exact) = (batch_rows, exact);
            let pages: Vec<Page> =
                ranges.iter().zip(7..).map(|(range, block)| page(block, range.clone())).collect();
            for gap in [0, 11] {
                let read = table.read(&pages, gap);
                assert_eq!(read.rows, expected(0..400), "{batch_rows} {exact} {gap}");
                assert_eq!(read.refused, []);
                let (last, others) = read.batches.split_last().unwrap();
                assert!(others.iter().all(|rows| *rows == batch_rows) && *last <= batch_rows);
            }
        }
    }
}

/// A page of tuples without data has 291 of them, more than a chunk.
#[test]
fn a_page_may_have_more_tuples_than_a_chunk() {
    let mut page = Page::new(0);
    (0..291).for_each(|_| {
        page.tuple(1, Some(&[0]), &[]);
    });
    let table = Table::new(vec![number(4)], vec![(0, PgType::Int4)]);
    assert_eq!(table.read(&[page], 3).rows, vec![vec!["NULL".to_owned()]; 291]);
}

#[test]
fn attributes_are_aligned_null_dropped_missing_and_in_any_order() {
    // "char", a dropped int8, text, int2, and a later one with a value for older tuples.
    let mut attributes = vec![
        attribute(1, 1, Some(StoredForm::Bytes { length: 1, align: 1 })),
        attribute(8, 8, None),
        text(),
        number(2),
        number(8),
    ];
    attributes[4].missing = Some(42_i64.to_be_bytes().to_vec());
    let columns = vec![(4, PgType::Int8), (2, PgType::Text), (0, PgType::Char), (3, PgType::Int2)];
    let table = Table::new(attributes, columns);
    let mut page = Page::new(3);
    let long = [&(4_u32 * (4 + 200)).to_le_bytes()[..], &[b'x'; 200]].concat();
    let dropped = [&b"a"[..], &[0; 7], &7_i64.to_le_bytes()].concat();
    // A short text, then an int2 behind one byte of padding.
    page.tuple(
        5,
        None,
        &[&dropped[..], &short("hi"), &[0], &5_i16.to_le_bytes(), &[0; 2], &9_i64.to_le_bytes()].concat(),
    );
    // A long text; the last attribute is missing.
    page.tuple(4, None, &[&dropped[..], &long, &6_i16.to_le_bytes()].concat());
    // The dropped attribute is NULL, so it takes no room; a long text is padded to 4.
    page.tuple(4, Some(&[0b1101]), &[&b"c"[..], &[0; 3], &long, &8_i16.to_le_bytes()].concat());
    // Older than most attributes.
    page.tuple(1, None, b"d");
    page.tuple(5, Some(&[0]), &[]);
    let x = "x".repeat(200);
    let rows = [
        ["9", "hi", "a", "5"],
        ["42", &x, "a", "6"],
        ["42", &x, "c", "8"],
        ["42", "NULL", "d", "NULL"],
        ["NULL"; 4],
    ];
    assert_eq!(table.read(&[page], 5).rows, rows);
}

#[test]
fn line_pointers_that_are_unused_or_lead_on_have_no_rows() {
    let mut page = page(9, 0..1);
    page.pointer(0, 0, 0);
    // A redirection to the tuple behind it.
    page.pointer(4, 2, 0);
    page.tuple(2, None, &row(1, "t1"));
    assert_eq!(table().read(&[page], 0).rows, expected(0..2));
}

/// Each of these changes gave garbage before there was a check for it. The pages around it are read.
#[test]
fn a_page_that_is_not_as_it_should_be_is_refused() {
    type Change = fn(&mut Page, usize);
    let changes: Vec<(&str, Change)> = vec![
        ("not all-visible", |page, _| page.set(10, &[0, 0])),
        ("an unknown flag", |page, _| page.set(10, &[4, 1])),
        ("lower below the header", |page, _| page.set(12, &[20, 0])),
        ("lower not of line pointers", |page, _| page.set(12, &[30, 0])),
        ("lower above upper", |page, _| page.set(12, &8188_u16.to_le_bytes())),
        ("upper behind the page", |page, _| page.set(14, &8200_u16.to_le_bytes())),
        ("upper above a tuple", |page, _| page.set(14, &8184_u16.to_le_bytes())),
        ("special space", |page, _| page.set(16, &8184_u16.to_le_bytes())),
        ("another size", |page, _| page.set(18, &[4, 0x40])),
        ("another layout", |page, _| page.set(18, &[5, 0x20])),
        ("a header that is not set", |page, _| page.set(14, &[0, 0])),
        ("a dead line pointer", |page, _| page.set(24, &(3_u32 << 15).to_le_bytes())),
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
        ("data that is not aligned", |page, at| page.set(at + 22, &[28])),
        ("more attributes than the table", |page, at| page.set(at + 18, &[3, 0])),
        ("inserted by who knows whom", |page, at| page.set(at + 20, &0x0800_u16.to_le_bytes())),
        ("deleted", |page, at| page.set(at + 20, &0x0500_u16.to_le_bytes())),
        ("moved by VACUUM FULL of old", |page, at| page.set(at + 20, &(VISIBLE | 0x4000).to_le_bytes())),
        ("with an OID of old", |page, at| page.set(at + 20, &(VISIBLE | 8).to_le_bytes())),
        ("a text of no length", |page, at| page.set(at + 28, &[0; 8])),
        ("a text behind the tuple", |page, at| page.set(at + 28, &[0xff])),
        ("a text that is out of line", |page, at| page.set(at + 28, &[1, 18])),
        ("a text that is elsewhere in memory", |page, at| page.set(at + 28, &[1, 1])),
        ("a text that is not aligned", |page, at| page.set(at + 29, &[16, 0, 0, 0])),
    ];
    for (what, change) in changes {
        let mut bad = Page::new(8);
        let at = bad.tuple(2, None, &row(1, "a text of some length"));
        change(&mut bad, at);
        if what == "a text that is not aligned" {
            // Behind one byte of text, a header of four bytes at an impossible place.
            let table = Table::new(vec![text(), text()], vec![(1, PgType::Text)]);
            let mut bad = Page::new(8);
            bad.tuple(2, None, &[&short("")[..], &[64, 0, 0, 0], &[b'x'; 20]].concat());
            assert_eq!(table.read(&[bad], 0).refused, [(8, 0)], "{what}");
            continue;
        }
        let read = table().read(&[page(7, 0..3), bad, page(9, 3..5)], 1);
        assert_eq!(read.refused, [(8, 0)], "{what}");
        assert_eq!(read.rows, expected(0..5), "{what}");
    }
    // All tuples are of another page.
    let read = table().read(&[page(7, 0..3), moved(page(8, 0..3))], 0);
    assert_eq!((read.refused, read.rows), (vec![(9, 0)], expected(0..3)));
}

/// The same bytes, as another block.
fn moved(page: Page) -> Page {
    let mut other = Page::new(9);
    other.bytes = page.bytes;
    other
}

/// Columns of type unknown were C strings before PostgreSQL 10. A dropped one was once skipped as a varlena,
/// and the columns behind it got other values.
#[test]
fn attributes_of_unknown_length_are_not_walked_over() {
    let mut page = Page::new(0);
    page.tuple(2, None, &[&b"abc\0"[..], &5_i32.to_le_bytes()].concat());
    for (length, rows) in [(-2, 0), (0, 0), (4, 1)] {
        let table = Table::new(vec![attribute(length, 1, None), number(4)], vec![(1, PgType::Int4)]);
        let read = table.read(&[page_of(&page, 0)], 0);
        assert_eq!((read.rows.len(), read.refused.len()), (rows, 1 - rows), "{length}");
    }
}

#[test]
fn what_is_not_wanted_may_be_out_of_line() {
    let table = Table::new(vec![text(), number(4)], vec![(1, PgType::Int4)]);
    let mut page = Page::new(0);
    page.tuple(2, None, &[&[1, 18][..], &[7; 16], &[0; 2], &5_i32.to_le_bytes()].concat());
    assert_eq!(table.read(&[page], 0).rows, [["5"]]);
}

/// The batch has the rows before the refused value; the caller must read the others in another way.
#[test]
fn a_refused_value_leaves_the_rows_before_it() {
    let bool_or_not = attribute(1, 1, Some(StoredForm::Bytes { length: 1, align: 1 }));
    let mut table = Table::new(vec![bool_or_not], vec![(0, PgType::Bool)]);
    let mut bad = Page::new(5);
    (0..10).for_each(|row| {
        bad.tuple(1, None, &[if row == 7 { 9 } else { 1 }]);
    });
    let mut good = Page::new(6);
    good.tuple(1, None, &[0]);
    for (batch_rows, taken, from) in [(65_536, 0, 0), (4, 4, 5), (7, 7, 8), (1, 7, 8)] {
        table.limits.rows = batch_rows;
        let read = table.read(&[Page::new(4), page_of(&bad, 5), page_of(&good, 6)], 0);
        assert_eq!(read.refused, [(5, from)], "{batch_rows}");
        assert_eq!(read.rows.len(), taken + 1, "{batch_rows}");
        assert_eq!(read.rows.last().unwrap(), &["false"]);
    }
}

fn page_of(page: &Page, block: u32) -> Page {
    let mut copy = Page::new(block);
    copy.bytes.clone_from(&page.bytes);
    copy
}

/// Zeros in a header once counted as a page that was never used, although the query may have sent only the
/// header.
#[test]
fn a_page_of_zeros_has_no_rows_and_of_a_header_nothing_is_known() {
    let mut zeros = Page::new(1);
    zeros.bytes.fill(0);
    let mut header = Page::new(2);
    header.bytes.truncate(24);
    let mut zero_header = Page::new(3);
    zero_header.bytes = vec![0; 24];
    let mut nothing = Page::new(4);
    nothing.bytes.clear();
    let read = table().read(&[zeros, header, zero_header, nothing, page(5, 0..1)], 0);
    assert_eq!((read.refused, read.rows), (vec![(2, 0), (3, 0), (4, 0)], expected(0..1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    /// Any changed page gives rows or a refusal, no panic; and never more rows than it has line pointers.
    #[test]
    fn changed_pages_are_read_or_refused(
        changes in prop::collection::vec((0..8192_usize, any::<u8>()), 1..20),
        near in prop::collection::vec((0..300_usize, any::<u8>()), 0..10),
        exact in any::<bool>(),
    ) {
        let mut page = page(5, 0..120);
        for (at, byte) in changes {
            page.bytes[at] = byte;
        }
        for (at, byte) in near {
            page.bytes[at] = byte;
        }
        let mut table = table();
        table.limits.exact = exact;
        // Changed text may be invalid UTF-8. As in COPY, this is found when a batch is complete.
        if let Some(read) = table.try_read(&[page], 0) {
            prop_assert!(read.rows.len() <= 291);
        }
    }
}
