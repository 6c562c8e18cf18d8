//! The bodies of the fuzz targets, run on named seeds and on random changes of them.

#![expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    reason = "test code, which fails by panicking"
)]

use std::path::{Path, PathBuf};

use pgarrow_testkit::fuzz;

mod hostile;

#[path = "../../fuzz/bodies/copy_stream.rs"]
mod copy_stream;
#[path = "../../fuzz/bodies/types.rs"]
mod types;
#[path = "../../fuzz/bodies/value.rs"]
mod value;

#[test]
fn a_copy_stream_cut_anywhere_gives_the_same_rows_or_is_refused() {
    fuzz::run(&seeds("copy_stream"), copy_stream::check);
}

#[test]
fn values_of_any_bytes_become_sound_arrays_or_are_refused() {
    fuzz::run(&seeds("value"), value::check);
}

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}
