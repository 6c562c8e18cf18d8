#![no_main]

#[path = "../bodies/frames.rs"]
mod frames;
#[path = "../bodies/server.rs"]
mod server;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames::check(data));
