//! Whether pages of a heap cost less than COPY of the wanted columns.

use std::time::Duration;

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
/// What a row takes in a page beside its values: its line pointer, and the header of its tuple.
const STORED_ROW_BYTES: f64 = 28.0;
/// What a row takes by COPY beside its values: the header of its message, and the number of values.
const COPY_ROW_BYTES: f64 = 7.0;
/// COPY, for each value: its length.
const COPY_VALUE_BYTES: f64 = 4.0;
/// Over a network, bytes cost more than the server's CPU: pages are read if COPY would send this many times
/// their bytes. It is above 1, since some of what counts as values here is padding, which COPY does not send.
const BYTES_OVER_NETWORK: f64 = 1.05;

/// A line is long if even the shortest answer took this time. Below, it may have been the server's: a busy
/// machine needs some milliseconds to begin.
const LONG_TRIP: Duration = Duration::from_millis(10);
/// Round trips that pages need beside their windows, and COPY does not: 3 to plan, 3 for a heap's size and
/// its savepoint, 2 at the end; without the one of COPY. A test counts them (`round_trips`).
const TRIPS: u64 = 7;
/// The share of the server's time that round trips may take of what pages save: the rest of it is not all
/// saved on the clock, since client and line work at the same time.
const TRIPS_OF_SAVED: f64 = 0.75;
/// Pages of the first window, and of the largest: each takes one round trip.
const WINDOW_PAGES: (u64, u64) = (128, 1024);
/// Rows in a page that nobody has counted: as in lineitem.
const ROWS_UNCOUNTED: f64 = 57.0;

/// Whether a heap of `pages` pages is large enough for the further round trips of this line: their time must
/// be shorter than the server's that pages can save, if all of its columns are wanted.
///
/// Asked before the first of these trips. `rows` are estimated; `None` if nobody has counted them. `trip` is
/// `None` without a network.
pub(super) fn pays_for_trips(pages: u64, rows: Option<u64>, n_wanted: usize, trip: Option<Duration>) -> bool {
    let Some(trip) = trip.filter(|trip| *trip >= LONG_TRIP) else { return true };
    let rows_per_page = match rows {
        Some(rows) if pages > 0 => rows as f64 / pages as f64,
        _ => ROWS_UNCOUNTED,
    };
    // Both are below 2^53.
    let saved_micros = pages as f64 * (copy_micros(rows_per_page, n_wanted, 1.0) - INSPECT_MICROS);
    trip.as_secs_f64() * 1e6 * trips(pages) as f64 <= saved_micros * TRIPS_OF_SAVED
}

/// The further round trips of a heap of `pages` pages.
fn trips(pages: u64) -> u64 {
    let (mut window, largest) = WINDOW_PAGES;
    let (mut rest, mut n_windows) = (pages, 0);
    while rest > 0 && window < largest {
        rest = rest.saturating_sub(window);
        n_windows += 1;
        window *= 2;
    }
    TRIPS + n_windows + rest.div_ceil(largest)
}

/// The server's time for the rows of a page by COPY; `share` of its columns are wanted.
fn copy_micros(rows: f64, n_wanted: usize, share: f64) -> f64 {
    // There are at most 1,600 columns.
    rows * (COPY_ROW_MICROS + COPY_VALUE_MICROS * n_wanted as f64) + COPY_PAGE_MICROS * share
}

/// Whether pages are worthwhile if `n_wanted` columns are wanted: a page must cost the server no more than
/// its rows by COPY, and over a network it must not be larger than they are.
///
/// True if the number of rows per page is unknown.
pub(super) fn is_worth_it(table: &HeapTable, n_wanted: usize, source: &PageSource, is_remote: bool) -> bool {
    let Some(rows) = table.rows_per_page else { return true };
    // There are at most 1,600 columns.
    let (wanted, columns) = (n_wanted as f64, table.n_columns.max(1) as f64);
    let share = (wanted / columns).min(1.0);
    let copy_micros = copy_micros(rows, n_wanted, share);
    let page_micros = match source {
        PageSource::Inspect { .. } => INSPECT_MICROS,
        PageSource::Function => FUNCTION_MICROS,
        PageSource::FunctionOfOnePage => FUNCTION_OF_ONE_PAGE_MICROS,
    };
    // The width of each column and the fill of a page are unknown.
    let value_bytes = (PAGE_BYTES - STORED_ROW_BYTES * rows).max(0.0) * share;
    let copy_bytes = rows * (COPY_ROW_BYTES + COPY_VALUE_BYTES * wanted) + value_bytes;
    copy_micros >= page_micros && !(is_remote && copy_bytes < PAGE_BYTES * BYTES_OVER_NETWORK)
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

    /// Before, lineitem at a tenth of its size took 1.3 times as long as by COPY over a line of 20 ms: `auto`
    /// knew nothing of round trips.
    #[test]
    fn over_a_long_line_small_heaps_are_not_read_by_pages() {
        let check = |pages: u64, rows: Option<u64>, n_wanted: usize, by_trip: [bool; 5]| {
            let trips = [0, 9, 20, 40, 200].map(Duration::from_millis);
            let found = trips.map(|trip| pays_for_trips(pages, rows, n_wanted, Some(trip)));
            assert_eq!(found, by_trip, "{pages} pages, {rows:?} rows, {n_wanted} columns");
            assert!(pays_for_trips(pages, rows, n_wanted, None));
        };
        // Pages of lineitem, with and without statistics: nothing to save, a megabyte, scale 0.1, scale 1.
        for (pages, by_trip) in [
            (0, [true, true, false, false, false]),
            (128, [true, true, false, false, false]),
            (11_200, [true, true, false, false, false]),
            (112_000, [true, true, true, false, false]),
        ] {
            check(pages, Some(pages * 57), 16, by_trip);
            check(pages, None, 16, by_trip);
        }
        // One column of a page with few rows saves nothing.
        check(112_000, Some(112_000), 1, [true, true, false, false, false]);
        check(1 << 40, Some(u64::MAX), 1600, [true; 5]);
    }

    #[test]
    fn windows_grow_and_each_takes_a_round_trip() {
        let expected =
            [(0, 0), (1, 1), (128, 1), (129, 2), (384, 2), (385, 3), (896, 3), (897, 4), (1921, 5)];
        for (pages, n_windows) in expected {
            assert_eq!(trips(pages), TRIPS + n_windows, "{pages}");
        }
    }

    #[test]
    fn nobody_has_counted() {
        assert!(is_worth_it(&table(None, 121), 1, &PageSource::Function, true));
    }

    /// Over 1 Gbit/s, five columns by pages used to take 1.15 times as long as by COPY, for 1.14 times the
    /// bytes.
    #[test]
    fn over_a_network_pages_must_not_be_larger_than_rows_by_copy() {
        let check = |rows_per_page: f64, n_wanted: usize, n_columns: usize, expected: bool| {
            let table = table(Some(rows_per_page), n_columns);
            let found = is_worth_it(&table, n_wanted, &inspect(), true);
            assert_eq!(found, expected, "{rows_per_page} rows, {n_wanted} of {n_columns} columns");
        };
        // The suite's tables. Bytes by COPY ÷ bytes of pages were: lineitem 1.31, mixed 1.13, nulls 1.24,
        // wide 1.45; five 0.88, text 0.91, fixed 0.98.
        for (rows_per_page, n_columns) in [(49.4, 16), (58.6, 9), (130.2, 12), (12.0, 100)] {
            check(rows_per_page, n_columns, n_columns, true);
        }
        for (rows_per_page, n_columns) in [(120.3, 5), (36.0, 4), (136.0, 5)] {
            check(rows_per_page, n_columns, n_columns, false);
        }
        // Most of lineitem is enough, half of it is not.
        check(49.4, 14, 16, true);
        check(49.4, 8, 16, false);
    }
}
