//! The domain of Parlance: rooms, sessions, presence, fan-out, and the ports that they need.
//!
//! This crate imports none of the others. It knows no database, no socket format and no network;
//! `storage`, `cluster` and `gateway` implement its [`ports`], and [`chat::Chat`] is its door.

mod busiest;
pub mod chat;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hub;
pub mod limits;
pub mod outbox;
pub mod ports;
pub mod presence;
mod remote;
pub mod room;
pub mod session;
mod supervisor;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod traces;
pub mod vocab;
mod wire;
mod world;
