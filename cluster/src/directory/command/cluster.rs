//! The commands about nodes and about who serves which shard, and the records that they carry.
//! The rules of the parent module hold: these are on disk.

use std::sync::Arc;

use parlance_actors::ports::history::DatabaseId;
use parlance_actors::vocab::{Epoch, Gen, NodeId, ShardId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::RoomRecord;

/// A node comes into the cluster, or comes back to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AdmitNode {
    /// The id that its data directory has; `None` for a node that is to get one.
    pub(in crate::directory) claims: Option<NodeId>,
    /// Made by a joining node for one attempt to join, so that repeating it admits it once.
    pub(in crate::directory) token: Uuid,
    pub(in crate::directory) name: Arc<str>,
    pub(in crate::directory) control: Arc<str>,
    pub(in crate::directory) data: Arc<str>,
    pub(in crate::directory) version: Arc<str>,
    pub(in crate::directory) incarnation: u64,
}

/// A node leaves for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoveNode {
    pub(in crate::directory) node: NodeId,
}

/// Shards get another owner at once. Each only while its epoch is the given one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assign {
    pub(in crate::directory) moves: Vec<(ShardId, Epoch, NodeId)>,
    pub(in crate::directory) cause: Cause,
    pub(in crate::directory) at: Timestamp,
}

/// A planned move begins; to the owner itself, it ends without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BeginMove {
    pub(in crate::directory) shard: ShardId,
    pub(in crate::directory) epoch: Epoch,
    pub(in crate::directory) to: NodeId,
    pub(in crate::directory) cause: Cause,
}

/// The owner has settled everything: the planned move ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(in crate::directory) shard: ShardId,
    pub(in crate::directory) epoch: Epoch,
    pub(in crate::directory) at: Timestamp,
}

/// A shard is pinned to a node, or let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(in crate::directory) shard: ShardId,
    pub(in crate::directory) to: Option<NodeId>,
}

/// A node drains, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetNodeState {
    pub(in crate::directory) node: NodeId,
    pub(in crate::directory) state: Duty,
}

/// A shard's owner found its history in this database, at this generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FindHistory {
    pub(in crate::directory) shard: ShardId,
    pub(in crate::directory) epoch: Epoch,
    pub(in crate::directory) r#gen: Gen,
    pub(in crate::directory) database: DatabaseId,
}

/// What the projection in the database still knows, put into a directory that was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restore {
    pub(in crate::directory) tenants: Vec<(TenantId, Arc<str>)>,
    pub(in crate::directory) rooms: Vec<RoomRecord>,
}

/// Whether a node takes shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Duty {
    /// It does.
    Up,
    /// It gives them away.
    Draining,
}

/// Why a shard has another owner. On disk: added at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The cluster began.
    Bootstrap,
    /// Its owner was gone.
    Takeover,
    /// Nodes had more or fewer than others.
    Rebalance,
    /// Its owner drains.
    Drain,
    /// An operator wanted it.
    Operator,
    /// It is pinned.
    Pin,
}

impl Cause {
    /// The word of reports and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Takeover => "takeover",
            Self::Rebalance => "rebalance",
            Self::Drain => "drain",
            Self::Operator => "operator",
            Self::Pin => "pin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;

    fn hex(command: &Command) -> String {
        let bytes = postcard::to_stdvec(command).expect("commands encode");
        assert_eq!(&postcard::from_bytes::<Command>(&bytes).expect("decodes"), command);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_the_clusters_commands_on_disk_never_change() {
        let admit = AdmitNode {
            claims: Some(NodeId(2)),
            token: Uuid::from_bytes([1; 16]),
            name: "a".into(),
            control: "b".into(),
            data: "c".into(),
            version: "d".into(),
            incarnation: 300,
        };
        let token = "10".to_owned() + &"01".repeat(16);
        assert_eq!(
            hex(&Command::AdmitNode(admit)),
            ["03", "0102", &token, "0161", "0162", "0163", "0164", "ac02"].concat()
        );
        assert_eq!(hex(&Command::RemoveNode(RemoveNode { node: NodeId(2) })), "0402");
        let (shard, epoch, at) = (ShardId(7), Epoch(300), Timestamp(1));
        let moves = vec![(shard, epoch, NodeId(2))];
        let assign = Assign { moves, cause: Cause::Takeover, at };
        assert_eq!(hex(&Command::Assign(assign)), "050107ac02020102");
        let begin = BeginMove { shard, epoch, to: NodeId(2), cause: Cause::Pin };
        assert_eq!(hex(&Command::BeginMove(begin)), "0607ac020205");
        assert_eq!(hex(&Command::Release(Release { shard, epoch, at })), "0707ac0202");
        assert_eq!(hex(&Command::Pin(Pin { shard, to: Some(NodeId(2)) })), "08070102");
        let drain = SetNodeState { node: NodeId(2), state: Duty::Draining };
        assert_eq!(hex(&Command::SetNodeState(drain)), "090201");
        let database = DatabaseId { system: 300, timeline: 3 };
        let found = FindHistory { shard, epoch, r#gen: Gen(2), database };
        assert_eq!(hex(&Command::FindHistory(found)), "0a07ac0202ac0203");
        let restore = Restore { tenants: vec![(TenantId(1), "m".into())], rooms: Vec::new() };
        assert_eq!(hex(&Command::Restore(restore)), "0b0101016d00");
        let causes = [
            Cause::Bootstrap,
            Cause::Takeover,
            Cause::Rebalance,
            Cause::Drain,
            Cause::Operator,
            Cause::Pin,
        ];
        assert_eq!(postcard::to_stdvec(&causes).expect("encodes"), [0, 1, 2, 3, 4, 5]);
    }
}
