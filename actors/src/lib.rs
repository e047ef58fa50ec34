//! The domain of Parlance: rooms, sessions, presence, fan-out, and the ports that they need.
//!
//! This crate imports none of the others. It knows no database, no socket format and no network;
//! `storage`, `cluster` and `gateway` implement its [`ports`].

pub mod limits;
pub mod ports;
pub mod room;
pub mod session;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod vocab;
