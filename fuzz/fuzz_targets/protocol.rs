//! Runs [`hotseat_fuzz::checks::protocol`] on what libFuzzer makes up.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hotseat_fuzz::checks::protocol(data));
