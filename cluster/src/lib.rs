//! What nodes share: the directory of tenants, rooms and shards, replicated through Raft.
//!
//! This crate implements ports of `parlance-actors` and imports neither `storage` nor `gateway`.
//! Placement says which node should own which shard.

pub mod cert;
pub mod directory;
pub mod gossip;
pub mod limits;
pub mod link;
pub mod peers;
pub mod placement;
pub mod transport;
