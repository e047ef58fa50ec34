//! See `src/frame.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parlance_gateway_fuzz::frame(bytes));
