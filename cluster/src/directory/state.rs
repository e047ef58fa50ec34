//! The directory's state: tenants, rooms, nodes and who serves each shard. Pure: the same commands
//! at the same indexes give the same state on every node, so there is no clock, no randomness and
//! nothing of Raft but the index in here.

use std::collections::BTreeMap;
use std::sync::Arc;

use parlance_actors::ports::directory::{Ownership, Tenant};
use parlance_actors::vocab::{
    Epoch, Gen, NodeId, RoomId, RoomMeta, RoomRef, SHARD_COUNT, ShardId, TenantId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command::{Bootstrap, ChangeRoom, Command, CreateRoom, Response, RoomRecord};
use super::rooms::{Listed, Rooms};

/// The name that every tenant's lobby has, though it is not in the directory.
const LOBBY: &str = "lobby";

/// Everything the directory knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    cluster: Option<Uuid>,
    epoch_base: Epoch,
    tenants: BTreeMap<TenantId, Arc<str>>,
    nodes: BTreeMap<NodeId, NodeRecord>,
    shards: Vec<ShardRecord>,
    rooms: Rooms,
}

/// A node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    /// The index of the entry that admitted it.
    admitted_at: u64,
}

/// One row of the shard table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardRecord {
    owner: NodeId,
    epoch: Epoch,
    r#gen: Gen,
    state: ShardState,
}

/// Whether a shard's owner serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ShardState {
    /// Nobody serves it; owner and epoch are those of the last one.
    Vacant,
    /// Its owner serves it.
    Serving,
}

/// The state as a snapshot holds it. On disk: see the rules of [`super::command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateRecord {
    cluster: Option<Uuid>,
    epoch_base: Epoch,
    tenants: Vec<(TenantId, Arc<str>)>,
    nodes: Vec<(NodeId, NodeRecord)>,
    shards: Vec<ShardRecord>,
    rooms: Vec<RoomRecord>,
}

impl State {
    /// Applies the command that Raft committed at `index`.
    pub(super) fn apply(&mut self, index: u64, command: &Command) -> Response {
        match command {
            Command::Bootstrap(first) => self.bootstrap(index, first),
            Command::CreateRoom(new) => self.create_room(new),
            Command::ChangeRoom(change) => self.change_room(change),
        }
    }

    fn bootstrap(&mut self, index: u64, first: &Bootstrap) -> Response {
        if let Some(cluster) = self.cluster {
            return Response::Refused(format!("this is cluster {cluster} already"));
        }
        self.cluster = Some(first.cluster);
        self.epoch_base = first.epoch_base;
        self.tenants.insert(TenantId::MAIN, "main".into());
        self.nodes.insert(first.node, NodeRecord { admitted_at: index });
        let epoch = Epoch(first.epoch_base.0.saturating_add(index));
        let state = ShardState::Serving;
        let shard = ShardRecord { owner: first.node, epoch, r#gen: Gen(1), state };
        self.shards = vec![shard; SHARD_COUNT];
        Response::Done
    }

    fn create_room(&mut self, new: &CreateRoom) -> Response {
        if let Some(first) = self.rooms.made_with(new.tenant, new.by, new.key) {
            return Response::Room { room: first.record(), changed: false };
        }
        if !self.tenants.contains_key(&new.tenant) {
            return Response::Refused(format!("there is no tenant {}", new.tenant));
        }
        if self.rooms.get(new.tenant, new.id).is_some() {
            return Response::Refused(format!("another room has the id {}", new.id));
        }
        if self.is_taken(new.tenant, &new.name.folded, None) {
            return Response::NameTaken;
        }
        let room = RoomRecord {
            tenant: new.tenant,
            id: new.id,
            kind: new.kind,
            name: new.name.clone(),
            topic: new.topic.clone(),
            slow_mode_seconds: 0,
            version: 1,
            created_by: new.by,
            created_at: new.at,
            key: new.key,
            changed_by: new.by,
        };
        self.rooms.put(Listed::from(room.clone()));
        Response::Room { room, changed: true }
    }

    fn change_room(&mut self, change: &ChangeRoom) -> Response {
        let Some(now) = self.rooms.get(change.tenant, change.room) else {
            return Response::NoSuchRoom;
        };
        let now = now.record();
        let mut next = now.clone();
        if let Some(name) = &change.name {
            if self.is_taken(change.tenant, &name.folded, Some(change.room)) {
                return Response::NameTaken;
            }
            next.name = name.clone();
        }
        if let Some(topic) = &change.topic {
            next.topic = topic.clone();
        }
        if let Some(seconds) = change.slow_mode_seconds {
            next.slow_mode_seconds = seconds;
        }
        if next == now {
            return Response::Room { room: now, changed: false };
        }
        next.version += 1;
        next.changed_by = change.by;
        self.rooms.put(Listed::from(next.clone()));
        Response::Room { room: next, changed: true }
    }

    fn is_taken(&self, tenant: TenantId, folded: &str, by_other_than: Option<RoomId>) -> bool {
        let holder = self.rooms.named(tenant, folded).map(|holder| holder.meta.id);
        folded == LOBBY || (holder.is_some() && holder != by_other_than)
    }

    pub(super) fn cluster(&self) -> Option<Uuid> {
        self.cluster
    }

    pub(super) fn room(&self, at: RoomRef) -> Option<Arc<RoomMeta>> {
        Some(self.rooms.get(at.tenant, at.room)?.meta.clone())
    }

    pub(super) fn room_by_name(&self, tenant: TenantId, folded: &str) -> Option<Arc<RoomMeta>> {
        Some(self.rooms.named(tenant, folded)?.meta.clone())
    }

    pub(super) fn public_rooms(
        &self,
        tenant: TenantId,
        after: Option<RoomId>,
        limit: u16,
    ) -> Vec<Arc<RoomMeta>> {
        self.rooms.public_after(tenant, after, usize::from(limit))
    }

    pub(super) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn ownership(&self, shard: ShardId) -> Option<Ownership> {
        let ShardRecord { owner, epoch, r#gen, state } = *self.shards.get(usize::from(shard.0))?;
        (state == ShardState::Serving).then_some(Ownership { owner, epoch, r#gen, moving_to: None })
    }

    pub(super) fn tenants(&self) -> Vec<Tenant> {
        let tenants = self.tenants.iter();
        tenants.map(|(id, name)| Tenant { id: *id, name: name.clone() }).collect()
    }

    /// The state as a snapshot holds it. Copies no text: it shares it.
    pub(super) fn record(&self) -> StateRecord {
        StateRecord {
            cluster: self.cluster,
            epoch_base: self.epoch_base,
            tenants: self.tenants.iter().map(|(id, name)| (*id, name.clone())).collect(),
            nodes: self.nodes.iter().map(|(id, node)| (*id, *node)).collect(),
            shards: self.shards.clone(),
            rooms: self.rooms.records(),
        }
    }

    /// The state of a snapshot; why not, when it holds what no log can have made.
    pub(super) fn from_record(record: StateRecord) -> Result<Self, &'static str> {
        let StateRecord { cluster, epoch_base, tenants, nodes, shards, rooms } = record;
        let shard_count = if cluster.is_some() { SHARD_COUNT } else { 0 };
        if shards.len() != shard_count {
            return Err("it has the wrong number of shards");
        }
        let rooms = Rooms::from_records(rooms).ok_or("two of its rooms exclude each other")?;
        Ok(Self {
            cluster,
            epoch_base,
            tenants: tenants.into_iter().collect(),
            nodes: nodes.into_iter().collect(),
            shards,
            rooms,
        })
    }
}

#[cfg(test)]
mod tests;
