#![no_main]

#[path = "../bodies/remote_answers.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
