//! The state as snapshots hold it. On disk: a layout never changes; another one is another record
//! and another format of the snapshot file. Former ones stay readable.

use std::sync::Arc;

use parlance_actors::vocab::{Epoch, Gen, NodeId, SHARD_COUNT, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::shards::ShardState;
use super::{MoveRecord, NodeRecord, ShardRecord, State};
use crate::directory::command::RoomRecord;
use crate::directory::rooms::Rooms;

/// Of snapshots of format 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::directory) struct StateRecord {
    cluster: Option<Uuid>,
    epoch_base: Epoch,
    tenants: Vec<(TenantId, Arc<str>)>,
    nodes: Vec<(NodeId, NodeRecord)>,
    highest_node: NodeId,
    shards: Vec<ShardRecord>,
    moves: Vec<MoveRecord>,
    rooms: Vec<RoomRecord>,
}

/// Of snapshots of format 1, which nodes wrote that were alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::directory) struct FirstStateRecord {
    cluster: Option<Uuid>,
    epoch_base: Epoch,
    tenants: Vec<(TenantId, Arc<str>)>,
    /// With the index of the entry that admitted it.
    nodes: Vec<(NodeId, u64)>,
    shards: Vec<FirstShardRecord>,
    rooms: Vec<RoomRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct FirstShardRecord {
    owner: NodeId,
    epoch: Epoch,
    r#gen: Gen,
    state: ShardState,
}

impl From<FirstStateRecord> for StateRecord {
    fn from(first: FirstStateRecord) -> Self {
        let FirstStateRecord { cluster, epoch_base, tenants, nodes, shards, rooms } = first;
        let highest_node = nodes.iter().map(|(id, _)| *id).max().unwrap_or_default();
        let nodes = nodes.into_iter().map(|(id, at)| (id, NodeRecord::unnamed(at))).collect();
        let shards = shards.into_iter().map(|row| {
            let FirstShardRecord { owner, epoch, r#gen, state } = row;
            let (moving_to, pinned_to, database) = (None, None, None);
            ShardRecord { owner, epoch, r#gen, state, moving_to, pinned_to, database }
        });
        let (shards, moves) = (shards.collect(), Vec::new());
        Self { cluster, epoch_base, tenants, nodes, highest_node, shards, moves, rooms }
    }
}

impl State {
    /// The state as a snapshot holds it. Copies no text: it shares it.
    pub(in crate::directory) fn record(&self) -> StateRecord {
        StateRecord {
            cluster: self.cluster,
            epoch_base: self.epoch_base,
            tenants: self.tenants.iter().map(|(id, name)| (*id, name.clone())).collect(),
            nodes: self.nodes.iter().map(|(id, node)| (*id, node.clone())).collect(),
            highest_node: self.highest_node,
            shards: self.shards.clone(),
            moves: self.moves.iter().copied().collect(),
            rooms: self.rooms.records(),
        }
    }

    /// The state of a snapshot; why not, when it holds what no log can have made.
    pub(in crate::directory) fn from_record(record: StateRecord) -> Result<Self, &'static str> {
        let StateRecord { cluster, epoch_base, tenants, nodes, highest_node, shards, moves, rooms } =
            record;
        let shard_count = if cluster.is_some() { SHARD_COUNT } else { 0 };
        if shards.len() != shard_count {
            return Err("it has the wrong number of shards");
        }
        if nodes.iter().any(|(id, _)| *id > highest_node) {
            return Err("one of its nodes has an id that was never given");
        }
        let rooms = Rooms::from_records(rooms).ok_or("two of its rooms exclude each other")?;
        Ok(Self {
            cluster,
            epoch_base,
            tenants: tenants.into_iter().collect(),
            nodes: nodes.into_iter().collect(),
            highest_node,
            shards,
            moves: moves.into(),
            rooms,
        })
    }
}
