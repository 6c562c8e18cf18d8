//! Runs the body of the fuzz target on named seeds and on random variations of them.

#![expect(clippy::expect_used, reason = "test code, which fails by panicking")]

use std::path::Path;

#[path = "../../fuzz/bodies/catalog_rows.rs"]
mod catalog_rows;

#[test]
fn a_catalog_of_any_rows_is_read_or_refused_and_asked_a_limited_number_of_questions() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/catalog_rows");
    // Endless types and domains are followed to a limit, and not refused at once.
    for (name, n_asked) in
        [("columns", 1), ("composite", 3), ("arrays_without_end", 258), ("domains_without_end", 257)]
    {
        catalog_rows::check(&std::fs::read(seeds.join(name)).expect("a seed"));
        assert_eq!(catalog_rows::n_asked(), n_asked, "{name}");
    }
    // Each input is a dialogue over a socket.
    pgarrow_testkit::fuzz::run_part(&seeds, catalog_rows::check, 10);
}
