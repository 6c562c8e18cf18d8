#![no_main]

#[path = "../bodies/value.rs"]
mod value;
#[path = "../bodies/types.rs"]
mod types;

libfuzzer_sys::fuzz_target!(|data: &[u8]| value::check(data));
