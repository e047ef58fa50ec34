//! Presence: who is online. Soft state, kept by one actor for each of 256 user shards, and sent
//! only to the sessions that watch.
//!
//! Each node has its *local* part of every user shard: its own sessions and watchers. One node is
//! the shard's *home*, chosen by rendezvous hash over the live nodes: it knows which nodes have
//! sessions of a user and which nodes watch, decides when watchers are told, and brings what
//! concerns a user (their own feed, a replaced session) to the nodes with sessions of theirs. A
//! node that is alone is the home of everything, and nothing leaves it.

pub(crate) mod actor;
pub(crate) mod feed;
mod home;
mod local;
mod recent;
mod rendezvous;
mod shard;
pub mod state;
#[cfg(test)]
mod tests;
