#![no_main]

#[path = "../bodies/pages.rs"]
mod pages;

libfuzzer_sys::fuzz_target!(|data: &[u8]| pages::check(data));
