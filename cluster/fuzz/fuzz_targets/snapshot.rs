//! See `src/snapshot.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parlance_cluster_fuzz::snapshot(bytes));
