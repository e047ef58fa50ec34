//! See `src/gossip.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parlance_cluster_fuzz::gossip(bytes));
