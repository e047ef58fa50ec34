//! Ports in memory, and one conformance suite for each port. For tests only: behind the feature
//! `testkit`, which no binary turns on.

pub mod accounts;
pub mod accounts_suite;

pub use accounts::MemoryAccounts;
