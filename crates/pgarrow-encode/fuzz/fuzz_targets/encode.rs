#![no_main]

#[path = "../bodies/encode.rs"]
mod encode;
#[path = "../../../pgarrow-decode/fuzz/bodies/types.rs"]
mod types;

libfuzzer_sys::fuzz_target!(|data: &[u8]| encode::check(data));
