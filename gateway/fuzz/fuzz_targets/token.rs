//! See `src/token.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parlance_gateway_fuzz::token(bytes));
