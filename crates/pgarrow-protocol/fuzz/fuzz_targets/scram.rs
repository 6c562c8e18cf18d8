#![no_main]

#[path = "../bodies/scram.rs"]
mod scram;
#[path = "../bodies/server.rs"]
mod server;

libfuzzer_sys::fuzz_target!(|data: &[u8]| scram::check(data));
