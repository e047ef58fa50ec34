//! What tests of every crate share: in-memory ports and one conformance suite for each port.
//! Never part of a release build: it stands behind the feature `testkit`.

pub mod directory;
pub mod directory_suite;
