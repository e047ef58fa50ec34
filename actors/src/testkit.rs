//! What tests of every crate share: in-memory ports with faults, and one conformance suite for
//! each port. Never part of a release build: it stands behind the feature `testkit`.

pub mod accounts;
pub mod accounts_suite;
pub mod cluster;
pub mod directory;
pub mod directory_suite;
pub mod envelopes;
pub mod history;
pub mod history_room;
pub mod history_suite;
pub mod members;
pub mod members_suite;
pub mod mentions_suite;
pub mod peers;
mod summaries_suite;

pub use accounts::MemoryAccounts;
