#![no_main]

#[path = "../bodies/catalog_rows.rs"]
mod catalog_rows;

libfuzzer_sys::fuzz_target!(|data: &[u8]| catalog_rows::check(data));
