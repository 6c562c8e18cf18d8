#![no_main]

#[path = "../bodies/copy_stream.rs"]
mod copy_stream;
#[path = "../bodies/types.rs"]
mod types;

libfuzzer_sys::fuzz_target!(|data: &[u8]| copy_stream::check(data));
