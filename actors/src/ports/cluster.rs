//! What operators see of the cluster and may do to it. The HTTP API and the command line show and
//! call this; the domain itself does not need it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::directory::{Directory, DirectoryError};
use crate::limits::BUSIEST_ROOMS_MAX;
use crate::vocab::{
    Epoch, Gen, NodeId, RoomId, RoomKind, RoomMeta, RoomRef, ShardId, TenantId, Timestamp,
};

/// The cluster as one node sees it. Serialised as it is in `GET /api/cluster`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterReport {
    /// The cluster's id.
    pub cluster: String,
    /// The node that answers.
    pub node: NodeId,
    /// Whether this node has a lease: it heard from the Raft leader within the lease.
    pub lease: bool,
    /// Raft, as this node sees it.
    pub raft: RaftReport,
    /// Every node that the directory knows, ascending by id.
    pub nodes: Vec<NodeReport>,
    /// The oldest version that one of them runs: what every node understands, those that are down
    /// included. `None` while one never said what it runs.
    pub oldest_version: Option<String>,
    /// All 256 shards, ascending.
    pub shards: Vec<ShardReport>,
    /// The links of this node.
    pub links: Vec<LinkReport>,
    /// The last moves of shards, newest first; bounded.
    pub moves: Vec<MoveReport>,
}

/// Raft, as one node sees it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RaftReport {
    /// The leader, where one is known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// The last entry in this node's log.
    pub last_log: u64,
    /// The last entry that this node has applied.
    pub applied: u64,
    /// The voters.
    pub voters: Vec<NodeId>,
    /// The learners.
    pub learners: Vec<NodeId>,
    /// On the leader: how many entries each other node is behind; empty elsewhere.
    pub lag: Vec<(NodeId, u64)>,
}

/// What a node is doing.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It serves.
    Up,
    /// It gives its shards away and takes no new ones.
    Draining,
    /// Gossip believes it to be down.
    Down,
}

/// One node.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeReport {
    /// Its id.
    pub id: NodeId,
    /// The name in its certificate.
    pub name: String,
    /// Where its control endpoint is.
    pub control: String,
    /// Where its data endpoint is.
    pub data: String,
    /// What it is doing.
    pub state: NodeState,
    /// How many shards it serves.
    pub shards: u32,
    /// Rooms awake there, as it last said.
    pub rooms: u64,
    /// Sessions there, as it last said.
    pub sessions: u64,
    /// Events that its rooms committed a second, as it last said.
    pub events_per_second: f64,
    /// The version that it runs.
    pub version: String,
}

impl NodeReport {
    /// The oldest version that one of the nodes runs; `None` when one does not say.
    #[must_use]
    pub fn oldest_version(nodes: &[Self]) -> Option<String> {
        let said = nodes.iter().map(|node| age(&node.version));
        let said: Option<Vec<_>> = said.collect();
        said?.into_iter().min().map(|(_, _, version)| version.to_owned())
    }
}

/// Orders versions: by their numbers, and what leads up to a release before the release.
fn age(version: &str) -> Option<(Vec<u64>, bool, &str)> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Result<Vec<u64>, _> = numbers.split('.').map(str::parse).collect();
    Some((parts.ok()?, !version.contains('-'), version))
}

/// One shard.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardReport {
    /// The shard.
    pub shard: ShardId,
    /// Who serves it; `None` while nobody does.
    pub owner: Option<NodeId>,
    /// The assignment's epoch.
    pub epoch: Epoch,
    /// The generation of its history.
    pub r#gen: Gen,
    /// Where it is being moved to.
    pub moving_to: Option<NodeId>,
    /// The node that it is pinned to.
    pub pinned_to: Option<NodeId>,
}

/// A link to a peer.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkReport {
    /// The peer.
    pub peer: NodeId,
    /// `control` or `data`.
    pub kind: &'static str,
    /// It is connected to send.
    pub connected: bool,
    /// The version of its protocol that it speaks, while it is connected; of several the oldest.
    pub version: Option<u16>,
    /// The way leads over this node, because there is no direct one.
    pub relayed_by: Option<NodeId>,
    /// Round trip in milliseconds, where known.
    pub rtt_ms: Option<f64>,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// How often a channel was interrupted.
    pub interruptions: u64,
}

/// A change of a shard's owner.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MoveReport {
    /// The shard.
    pub shard: ShardId,
    /// Who had it.
    pub from: Option<NodeId>,
    /// Who has it now.
    pub to: NodeId,
    /// Its epoch since.
    pub epoch: Epoch,
    /// When the leader decided on it.
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub at: Timestamp,
    /// Why: `takeover`, `rebalance`, `drain`, `operator`, `pin`, `bootstrap`.
    pub cause: &'static str,
}

/// What a room does on one node. Its owner counts what it commits, and each node what it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoomLoad {
    /// The room.
    pub room: RoomRef,
    /// Events that it committed a second.
    pub events_per_second: f64,
    /// Frames of its events that were put into sessions' outboxes a second.
    pub deliveries_per_second: f64,
    /// Sessions there that follow it.
    pub sessions: u64,
}

impl RoomLoad {
    /// What it is compared with others by.
    #[must_use]
    pub fn work(&self) -> f64 {
        self.events_per_second + self.deliveries_per_second
    }
}

/// The busiest rooms of the cluster. Serialised as it is in `GET /api/cluster/rooms`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BusiestRooms {
    /// By events and deliveries a second, the busiest first; 20 at most.
    pub rooms: Vec<RoomReport>,
    /// Nodes that did not answer in time: what their rooms and sessions do is missing above.
    pub silent: Vec<NodeId>,
}

/// A room of the cluster, with rates over the last five to ten seconds and counts of all nodes that name it among
/// their busiest.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoomReport {
    /// The room.
    #[cfg_attr(feature = "schema", schema(value_type = uuid::Uuid))]
    pub room: RoomId,
    /// What it is: `public`, `private`, `direct` or `lobby`; `None` where the directory does not
    /// know it any more.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub kind: Option<RoomKind>,
    /// Its name. A direct conversation has none.
    pub name: Option<String>,
    /// Its shard.
    pub shard: ShardId,
    /// Who serves it; `None` while nobody does.
    pub owner: Option<NodeId>,
    /// Events that it committed a second.
    pub events_per_second: f64,
    /// Frames of its events that went to sessions a second, on all nodes.
    pub deliveries_per_second: f64,
    /// Sessions that follow it, on all nodes.
    pub sessions: u64,
}

impl BusiestRooms {
    /// Adds up what the nodes said; who said nothing is silent.
    #[must_use]
    pub fn of(
        said: Vec<(NodeId, Option<Vec<RoomLoad>>)>,
        tenant: TenantId,
        directory: &dyn Directory,
    ) -> Self {
        let silent = said.iter().filter(|(_, loads)| loads.is_none()).map(|(node, _)| *node);
        let silent = silent.collect();
        let mut sums: BTreeMap<RoomRef, RoomLoad> = BTreeMap::new();
        let loads = said.into_iter().filter_map(|(_, loads)| loads).flatten();
        for load in loads.filter(|load| load.room.tenant == tenant) {
            let none = RoomLoad {
                room: load.room,
                events_per_second: 0.0,
                deliveries_per_second: 0.0,
                sessions: 0,
            };
            let sum = sums.entry(load.room).or_insert(none);
            sum.events_per_second += load.events_per_second;
            sum.deliveries_per_second += load.deliveries_per_second;
            sum.sessions = sum.sessions.saturating_add(load.sessions);
        }
        let mut sums: Vec<RoomLoad> = sums.into_values().collect();
        sums.sort_by(|a, b| b.work().total_cmp(&a.work()));
        sums.truncate(BUSIEST_ROOMS_MAX);
        let report = |load: RoomLoad| {
            let meta = directory.room(load.room);
            let meta = meta.or_else(|| RoomMeta::without_entry(load.room).map(Into::into));
            RoomReport {
                room: load.room.room,
                kind: meta.as_ref().map(|meta| meta.kind),
                name: meta.and_then(|meta| meta.name.as_ref().map(ToString::to_string)),
                shard: load.room.shard(),
                owner: directory.ownership(load.room.shard()).map(|owned| owned.owner),
                events_per_second: load.events_per_second,
                deliveries_per_second: load.deliveries_per_second,
                sessions: load.sessions,
            }
        };
        Self { rooms: sums.into_iter().map(report).collect(), silent }
    }
}

/// Operators' view and hand.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// How things stand, from this node's memory.
    fn report(&self) -> ClusterReport;

    /// The busiest rooms of a tenant, as the nodes say that are asked for it now. Takes at most some seconds,
    /// also when one does not answer.
    async fn busiest(&self, tenant: TenantId) -> BusiestRooms;

    /// Moves a shard to a node as a planned move. Returns when the directory has accepted it.
    async fn move_shard(&self, shard: ShardId, to: NodeId) -> Result<(), DirectoryError>;

    /// Pins a shard to a node, or lets it go. A pinned shard is moved there, and rebalancing
    /// leaves it.
    async fn pin_shard(&self, shard: ShardId, to: Option<NodeId>) -> Result<(), DirectoryError>;

    /// Has a node give its shards away and take no new ones, or ends that.
    async fn drain_node(&self, node: NodeId, drain: bool) -> Result<(), DirectoryError>;

    /// Takes a node out of the cluster for good. Its shards are taken over; its id is never used
    /// again. Refused for a node that is the last voter.
    async fn remove_node(&self, node: NodeId) -> Result<(), DirectoryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oldest(versions: &[&str]) -> Option<String> {
        let node = |version: &&str| NodeReport {
            id: NodeId(1),
            name: String::new(),
            control: String::new(),
            data: String::new(),
            state: NodeState::Down,
            shards: 0,
            rooms: 0,
            sessions: 0,
            events_per_second: 0.0,
            version: (*version).to_owned(),
        };
        NodeReport::oldest_version(&versions.iter().map(node).collect::<Vec<_>>())
    }

    #[test]
    fn the_oldest_version_is_found_by_numbers_and_not_by_letters() {
        assert_eq!(oldest(&["0.10.0", "0.9.1", "1.0.0"]).as_deref(), Some("0.9.1"));
        assert_eq!(oldest(&["0.2.0", "0.2.0-rc.1", "0.3.0"]).as_deref(), Some("0.2.0-rc.1"));
        assert_eq!(oldest(&["0.2.0", "0.1.0+local"]).as_deref(), Some("0.1.0+local"));
    }

    #[test]
    fn a_node_that_never_said_its_version_may_be_of_any() {
        assert_eq!(oldest(&["0.2.0", ""]), None);
        assert_eq!(oldest(&["0.2.0", "new"]), None);
        assert_eq!(oldest(&[]), None);
    }
}
