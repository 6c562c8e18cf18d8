//! The bodies of the fuzz targets, run on named seeds and on random changes of them.

#![expect(clippy::expect_used, clippy::panic, reason = "bodies of fuzz targets, which fail by panicking")]

use std::path::{Path, PathBuf};

use pgarrow_testkit::fuzz;

#[path = "../../fuzz/bodies/config.rs"]
mod config;
#[path = "../../fuzz/bodies/frames.rs"]
mod frames;
#[path = "../../fuzz/bodies/scram.rs"]
mod scram;
#[path = "../../fuzz/bodies/server.rs"]
mod server;

#[test]
fn any_connection_string_is_read_or_refused_and_shows_no_password() {
    fuzz::run(&seeds("config"), config::check);
}

#[test]
fn anything_that_a_server_says_is_taken_or_refused_however_it_arrives() {
    // Two connections for each input.
    fuzz::run_part(&seeds("frames"), frames::check, 10);
}

#[test]
fn no_server_is_believed_that_does_not_know_the_password() {
    // A connection and some hashing for each input.
    fuzz::run_part(&seeds("scram"), scram::check, 20);
}

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}
