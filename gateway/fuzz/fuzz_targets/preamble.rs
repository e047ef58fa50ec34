//! See `src/preamble.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parlance_gateway_fuzz::preamble(bytes));
