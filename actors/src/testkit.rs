//! For tests: in-memory ports with faults, and one conformance suite for each port that runs
//! against every implementation. Never part of a release build.

pub mod accounts;
pub mod accounts_suite;
pub mod history;
pub mod history_room;
pub mod history_suite;
pub mod members;
pub mod members_suite;

pub use accounts::MemoryAccounts;
