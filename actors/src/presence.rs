//! Presence: who is online. Soft state, kept by one actor for each of 256 user shards, and sent
//! only to the sessions that watch.

pub(crate) mod actor;
pub mod state;
