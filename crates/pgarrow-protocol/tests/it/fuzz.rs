//! The body of the fuzz target, run on named seeds and on what chance makes of them.

use std::path::Path;

use pgarrow_testkit::fuzz;

#[path = "../../fuzz/bodies/config.rs"]
mod config;

#[test]
fn any_connection_string_is_read_or_refused_and_shows_no_password() {
    fuzz::run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/config"), config::check);
}
