//! The types that openraft is instantiated with, and short names for what follows from them.

use openraft::type_config::alias;
use serde::{Deserialize, Serialize};

use super::command::{Command, Response};

openraft::declare_raft_types!(
    /// What the directory's Raft group is made of.
    pub(crate) Types:
        D = Command,
        R = Response,
        NodeId = u64,
        Node = Peer,
);

pub(super) type Entry = alias::EntryOf<Types>;
pub(super) type LogId = alias::LogIdOf<Types>;
pub(super) type Vote = alias::VoteOf<Types>;
pub(super) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// What the group's configuration says of a node beside its id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// Where it listens for Raft; empty while a node is alone.
    pub(super) address: String,
}
