//! Whether pages of a heap cost less than COPY of the wanted columns.

use pgarrow_catalog::{HeapTable, PageSource};

/// Microseconds of the server's CPU that COPY needs for a row: finding it, and its message.
///
/// This and the others fit what the suite measures (benches/README.md, "Pages"): a page of lineitem by COPY
/// 49, of the five columns 33, of texts 21.
const COPY_ROW_MICROS: f64 = 0.15;
/// COPY, for each value: its send function.
const COPY_VALUE_MICROS: f64 = 0.035;
/// COPY, for each page: its rows' bytes, extracted and sent.
const COPY_PAGE_MICROS: f64 = 4.0;
/// A page by `get_raw_page` in a COPY: copied twice and sent.
const INSPECT_MICROS: f64 = 9.0;
/// A page by the installed function, which calls `get_raw_page` and checks the caller once for 16 pages: 3
/// more.
const FUNCTION_MICROS: f64 = 12.0;
/// A page by the function of an older pgarrow, which checks the caller for each page: 12 to 15 more.
const FUNCTION_OF_ONE_PAGE_MICROS: f64 = 24.0;

/// Bytes of a page.
const PAGE_BYTES: f64 = 8192.0;
/// Over a network, a whole page is sent only if at least this share of its bytes is wanted.
const SHARE_OVER_NETWORK: f64 = 0.5;

/// Whether pages are worthwhile if `n_wanted` columns are wanted: a page must cost the server no more than
/// its rows by COPY, and a network not much more.
///
/// True if the number of rows per page is unknown.
pub(super) fn is_worth_it(table: &HeapTable, n_wanted: usize, source: &PageSource, is_remote: bool) -> bool {
    let Some(rows) = table.rows_per_page else { return true };
    // There are at most 1,600 columns.
    let (wanted, columns) = (n_wanted as f64, table.n_columns.max(1) as f64);
    let share = (wanted / columns).min(1.0);
    let copy_micros = rows * (COPY_ROW_MICROS + COPY_VALUE_MICROS * wanted) + COPY_PAGE_MICROS * share;
    let page_micros = match source {
        PageSource::Inspect { .. } => INSPECT_MICROS,
        PageSource::Function => FUNCTION_MICROS,
        PageSource::FunctionOfOnePage => FUNCTION_OF_ONE_PAGE_MICROS,
    };
    // The width of each column and the fill of a page are unknown.
    let copy_bytes = PAGE_BYTES * share;
    copy_micros >= page_micros && !(is_remote && copy_bytes < PAGE_BYTES * SHARE_OVER_NETWORK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks whether a heap with `rows_per_page` is read by pages locally: by pageinspect, by the function,
    /// and by the function of before.
    #[track_caller]
    fn check(rows_per_page: f64, n_wanted: usize, n_columns: usize, expected: [bool; 3]) {
        let table = table(Some(rows_per_page), n_columns);
        let is_worth_it = |source| is_worth_it(&table, n_wanted, &source, false);
        let found = [inspect(), PageSource::Function, PageSource::FunctionOfOnePage].map(is_worth_it);
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
        check(57.0, 16, 16, [true; 3]);
        // five: 33.
        check(90.0, 5, 5, [true; 3]);
        // text: 21, less than it cost to check the caller for each page.
        check(37.0, 4, 4, [true, true, false]);
    }

    #[test]
    fn little_that_is_wanted_of_much() {
        // One column of 121.
        check(8.0, 1, 121, [false; 3]);
        check(8.0, 121, 121, [true; 3]);
        // After a DELETE of most rows, one of 60 is left in a page.
        check(1.0, 10, 10, [false; 3]);
        check(60.0, 10, 10, [true; 3]);
        // A few wide rows.
        check(4.0, 2, 2, [false; 3]);
        // Not even a column.
        check(200.0, 0, 0, [true; 3]);
        check(10.0, 0, 3, [false; 3]);
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
