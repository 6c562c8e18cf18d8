//! Encoders against golden streams, tables of cases, random values, a server, and any bytes.

#![expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code, which fails by panicking"
)]

use std::path::Path;

use pgarrow_testkit::fuzz;

mod golden;
mod layouts;
mod matrix;
mod nested;
mod nested_json;
mod nested_parts;
mod nested_random;
mod nested_server;
mod nested_shapes;
mod numbers;
mod random;
mod server;
mod server_text;
mod support;
mod texts;
mod times;

#[path = "../../fuzz/bodies/encode.rs"]
mod encode;
#[path = "../../../pgarrow-decode/fuzz/bodies/types.rs"]
mod types;

#[test]
fn rows_of_any_bytes_are_the_same_there_and_back() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/encode");
    fuzz::run(&seeds, encode::check);
}
