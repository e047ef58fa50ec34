//! The directory's state: tenants, rooms, nodes and who serves each shard. Pure: the same commands
//! at the same indexes give the same state on every node, so there is no clock, no randomness and
//! nothing of Raft but the index in here.

mod nodes;
mod record;
mod shards;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parlance_actors::ports::directory::Tenant;
use parlance_actors::vocab::{
    Epoch, Gen, NodeId, RoomId, RoomMeta, RoomRef, SHARD_COUNT, TenantId,
};
use uuid::Uuid;

pub(super) use self::nodes::NodeRecord;
pub(super) use self::record::{FirstStateRecord, StateRecord};
pub(super) use self::shards::{MoveRecord, ShardRecord};

use super::command::{
    Bootstrap, ChangeRoom, Command, CreateRoom, ListedKind, Response, Restore, RoomRecord,
};
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
    /// The highest id that a node ever had.
    highest_node: NodeId,
    shards: Vec<ShardRecord>,
    /// The last changes of owners, oldest first.
    moves: VecDeque<MoveRecord>,
    rooms: Rooms,
}

impl State {
    /// Applies the command that Raft committed at `index`.
    pub(super) fn apply(&mut self, index: u64, command: &Command) -> Response {
        match command {
            Command::Bootstrap(first) => self.bootstrap(index, first),
            Command::CreateRoom(new) => self.create_room(new),
            Command::ChangeRoom(change) => self.change_room(change),
            Command::AdmitNode(node) => self.admit_node(index, node),
            Command::RemoveNode(gone) => self.remove_node(gone.node),
            Command::Assign(assign) => self.assign(index, assign),
            Command::BeginMove(begin) => self.begin_move(begin),
            Command::Release(release) => self.release(index, release),
            Command::Pin(pin) => self.pin(pin),
            Command::SetNodeState(set) => self.set_node_state(set),
            Command::FindHistory(found) => self.find_history(found),
            Command::Restore(restore) => self.restore(restore),
        }
    }

    fn bootstrap(&mut self, index: u64, first: &Bootstrap) -> Response {
        if let Some(cluster) = self.cluster {
            return Response::Refused(format!("this is cluster {cluster} already"));
        }
        self.cluster = Some(first.cluster);
        self.epoch_base = first.epoch_base;
        self.tenants.insert(TenantId::MAIN, "main".into());
        self.nodes.insert(first.node, NodeRecord::unnamed(index));
        self.highest_node = first.node;
        let shard = ShardRecord::serving(first.node, self.epoch_at(index), Gen(1));
        self.shards = vec![shard; SHARD_COUNT];
        Response::Done
    }

    fn restore(&mut self, restore: &Restore) -> Response {
        for (tenant, name) in &restore.tenants {
            self.tenants.entry(*tenant).or_insert_with(|| name.clone());
        }
        for room in &restore.rooms {
            let taken = self.rooms.get(room.tenant, room.id).is_some()
                || self.is_taken(room.tenant, room.kind, &room.name.folded, None)
                || self.rooms.made_with(room.tenant, room.created_by, room.key).is_some();
            let same =
                self.rooms.get(room.tenant, room.id).map(Listed::record).as_ref() == Some(room);
            if taken && !same {
                return Response::Refused(format!("room {} excludes another one", room.id));
            }
            if !self.tenants.contains_key(&room.tenant) {
                return Response::Refused(format!("there is no tenant {}", room.tenant));
            }
            self.rooms.put(Listed::from(room.clone()));
        }
        Response::Done
    }

    /// The epoch of what is assigned by the entry at `index`.
    fn epoch_at(&self, index: u64) -> Epoch {
        Epoch(self.epoch_base.0.saturating_add(index))
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
        if self.is_taken(new.tenant, new.kind, &new.name.folded, None) {
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
            if self.is_taken(change.tenant, now.kind, &name.folded, Some(change.room)) {
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

    /// Private rooms may have any name but the lobby's: a refusal would tell that a room is there.
    fn is_taken(
        &self,
        tenant: TenantId,
        kind: ListedKind,
        folded: &str,
        by_other_than: Option<RoomId>,
    ) -> bool {
        if kind == ListedKind::Private {
            return folded == LOBBY;
        }
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
        prefix: &str,
        after: Option<RoomId>,
        limit: u16,
    ) -> Vec<Arc<RoomMeta>> {
        self.rooms.public_after(tenant, prefix, after, usize::from(limit))
    }

    pub(super) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn tenants(&self) -> Vec<Tenant> {
        let tenants = self.tenants.iter();
        tenants.map(|(id, name)| Tenant { id: *id, name: name.clone() }).collect()
    }
}

#[cfg(test)]
mod tests;
