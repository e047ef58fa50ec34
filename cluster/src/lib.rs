//! What nodes share: the directory of tenants, rooms and shards, replicated through Raft.
//!
//! This crate implements ports of `parlance-actors` and imports neither `storage` nor `gateway`.
//! Links between nodes, gossip and placement come with the cluster; until then a node is alone.

pub mod cert;
pub mod directory;
pub mod limits;
pub mod link;
pub mod peers;
pub mod transport;
