//! What nodes share: links with mutual TLS, gossip about who is alive, and the directory of tenants,
//! rooms, nodes and shards, replicated through Raft. [`cluster`] puts them together for one node.
//!
//! This crate implements ports of `parlance-actors` and imports neither `storage` nor `gateway`.
//! Placement says which node should own which shard.

pub mod cert;
pub mod cluster;
pub mod directory;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gossip;
pub mod limits;
pub mod link;
pub mod peers;
pub mod placement;
#[cfg(test)]
mod simulation;
pub mod transport;
