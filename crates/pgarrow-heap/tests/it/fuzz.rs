//! The body of the fuzz target, run on named seeds and on random changes of them.

#![expect(clippy::expect_used, clippy::panic, reason = "test code, which fails by panicking")]

use std::path::Path;

#[path = "../../fuzz/bodies/pages.rs"]
mod pages;

#[test]
fn pages_of_any_bytes_are_read_or_refused_however_they_are_handed_over() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/pages");
    pgarrow_testkit::fuzz::run(&seeds, pages::check);
}

/// A seed that is refused tests little.
#[test]
fn seeds_of_pages_are_read() {
    let n_rows =
        [("fixed", 40), ("texts", 16), ("others", 12), ("arrays", 14), ("older_than_two_columns", 16)];
    for (name, n_rows) in n_rows {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/pages").join(name);
        let seed = std::fs::read(path).expect("a seed");
        let ([table, ..], bytes) = seed.split_first_chunk::<3>().expect("a page");
        let tables = pages::tables();
        let read = pages::decode(&tables[usize::from(*table)], bytes, &pages::pages_of(bytes), 9, 1000, None);
        let read = read.expect("sound text");
        assert_eq!((pages::rows(&read.batches), read.refused), (n_rows, vec![]), "{name}");
    }
}
