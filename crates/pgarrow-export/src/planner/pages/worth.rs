//! Whether pages of a heap cost less than COPY of what is wanted of them.

use pgarrow_catalog::{HeapTable, PageSource};

/// Microseconds of the server's CPU that COPY needs for a row: finding it, and its message.
///
/// This and the others fit what the suite measures (benches/README.md, "Pages"): a page of lineitem by COPY 49, of the
/// five columns 33, of texts 21.
const COPY_ROW_MICROS: f64 = 0.15;
/// For a value: its send function.
const COPY_VALUE_MICROS: f64 = 0.035;
/// For a page: all bytes of its rows, taken out of them and sent.
const COPY_PAGE_MICROS: f64 = 4.0;
/// For a page by `get_raw_page` in a COPY: copied twice and sent.
const INSPECT_MICROS: f64 = 9.0;
/// By the function of an administrator, which calls that one and checks who asks: 12 to 15 more.
const FUNCTION_MICROS: f64 = 24.0;

/// Bytes of a page.
const PAGE_BYTES: f64 = 8192.0;
/// The share of a page's bytes below which it is not sent whole over a network for them.
const SHARE_OVER_NETWORK: f64 = 0.5;

/// Whether it is worth while to ask for pages of a heap of which `n_wanted` columns are wanted: a page costs the server
/// no more than the rows in it would, and a network that is in between not much more.
///
/// Where nobody has counted its rows it is: how many are in a page is not known.
pub(super) fn is_worth_it(table: &HeapTable, n_wanted: usize, source: &PageSource, is_remote: bool) -> bool {
    let Some(rows) = table.rows_per_page else { return true };
    // There are at most 1,600 columns.
    let (wanted, columns) = (n_wanted as f64, table.n_columns.max(1) as f64);
    let share = (wanted / columns).min(1.0);
    let copy_micros = rows * (COPY_ROW_MICROS + COPY_VALUE_MICROS * wanted) + COPY_PAGE_MICROS * share;
    let page_micros = match source {
        PageSource::Inspect { .. } => INSPECT_MICROS,
        PageSource::Function => FUNCTION_MICROS,
    };
    // How wide each column is, and how full a page, is not known.
    let copy_bytes = PAGE_BYTES * share;
    copy_micros >= page_micros && !(is_remote && copy_bytes < PAGE_BYTES * SHARE_OVER_NETWORK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether pages are read of a heap with so many rows in a page, by pageinspect and by the function; locally.
    #[track_caller]
    fn check(rows_per_page: f64, n_wanted: usize, n_columns: usize, expected: (bool, bool)) {
        let table = table(Some(rows_per_page), n_columns);
        let is_worth_it = |source| is_worth_it(&table, n_wanted, &source, false);
        let found = (is_worth_it(inspect()), is_worth_it(PageSource::Function));
        assert_eq!(found, expected, "{rows_per_page} rows, {n_wanted} of {n_columns} columns");
    }

    fn table(rows_per_page: Option<f64>, n_columns: usize) -> HeapTable {
        HeapTable {
            oid: 16_384,
            pages: 1000,
            all_visible: 1000,
            rows_per_page,
            n_columns,
            layout: Err(Vec::new()),
        }
    }

    fn inspect() -> PageSource {
        PageSource::Inspect { schema: "public".to_owned() }
    }

    #[test]
    fn tables_of_the_suite() {
        // lineitem, all of it: 49 µs a page by COPY.
        check(57.0, 16, 16, (true, true));
        // five: 33.
        check(90.0, 5, 5, (true, true));
        // text: 21, which the function does not reach.
        check(37.0, 4, 4, (true, false));
    }

    #[test]
    fn little_that_is_wanted_of_much() {
        // One column of 121.
        check(8.0, 1, 121, (false, false));
        check(8.0, 121, 121, (true, true));
        // After a DELETE of most of its rows, one of 60 is left in a page.
        check(1.0, 10, 10, (false, false));
        check(60.0, 10, 10, (true, true));
        // A few wide rows.
        check(4.0, 2, 2, (false, false));
        // Not even a column.
        check(200.0, 0, 0, (true, true));
        check(10.0, 0, 3, (false, false));
    }

    #[test]
    fn nobody_has_counted() {
        assert!(is_worth_it(&table(None, 121), 1, &PageSource::Function, true));
    }

    #[test]
    fn less_than_half_is_not_sent_over_a_network() {
        let table = table(Some(100.0), 10);
        let is_worth_it = |n_wanted, is_remote| is_worth_it(&table, n_wanted, &inspect(), is_remote);
        assert!(is_worth_it(4, false) && !is_worth_it(4, true));
        assert!(is_worth_it(5, true) && is_worth_it(10, true));
    }
}
