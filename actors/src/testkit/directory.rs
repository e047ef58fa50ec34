//! The directory in memory: no log, no disk, and as many nodes as a test wants. It keeps every promise of the port except
//! durability, and can be cut off from its leader by a test.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::ports::directory::{Directory, DirectoryError, NewRoom, Ownership, RoomChange, Tenant};
use crate::ports::history::DatabaseId;
use crate::vocab::{
    Epoch, Gen, Key, NodeId, RoomId, RoomKind, RoomMeta, RoomName, RoomRef, SHARD_COUNT, ShardId,
    TenantId, UserId,
};

/// Changes that a slow receiver may fall behind before it loses the oldest.
const CHANGES_KEPT: usize = 1_024;

/// A directory as one node sees it. Nodes that were made with [`beside`](Self::beside) share it.
pub struct MemoryDirectory {
    node: NodeId,
    shared: Arc<Shared>,
    cut: AtomicBool,
    lease: watch::Sender<bool>,
    /// What this node believes of the shards while it lags behind.
    lagging: Mutex<Option<Vec<Option<Ownership>>>>,
}

struct Shared {
    rooms: Mutex<Rooms>,
    shards: Mutex<Vec<Option<Ownership>>>,
    tenants: Mutex<BTreeMap<TenantId, Arc<str>>>,
    changes: broadcast::Sender<RoomRef>,
    shards_changed: watch::Sender<u64>,
}

/// The rooms with their indexes, which only this struct changes.
#[derive(Default)]
struct Rooms {
    by_id: BTreeMap<(TenantId, RoomId), Arc<RoomMeta>>,
    by_name: HashMap<(TenantId, String), RoomId>,
    by_key: HashMap<(TenantId, UserId, Key), RoomId>,
}

impl Default for MemoryDirectory {
    fn default() -> Self {
        Self::new(NodeId(1))
    }
}

impl MemoryDirectory {
    /// A directory with the tenant `main` and every shard owned by `node` at epoch 1, gen 1.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        let owned = Ownership {
            owner: node,
            epoch: Epoch(1),
            r#gen: Gen(1),
            moving_to: None,
            database: None,
        };
        let shared = Shared {
            rooms: Mutex::default(),
            shards: Mutex::new(vec![Some(owned); SHARD_COUNT]),
            tenants: Mutex::new(BTreeMap::from([(TenantId::MAIN, Arc::from("main"))])),
            changes: broadcast::channel(CHANGES_KEPT).0,
            shards_changed: watch::Sender::new(0),
        };
        Self::sharing(node, Arc::new(shared))
    }

    /// The same directory as another node sees it.
    #[must_use]
    pub fn beside(&self, node: NodeId) -> Self {
        Self::sharing(node, self.shared.clone())
    }

    fn sharing(node: NodeId, shared: Arc<Shared>) -> Self {
        let (lease, lagging) = (watch::Sender::new(true), Mutex::default());
        Self { node, shared, cut: AtomicBool::new(false), lease, lagging }
    }

    /// Cuts the way to the leader: look-ups go on, every change, barrier and health check is
    /// `Unavailable` and changes nothing.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.lease.send_replace(false);
    }

    /// Ends a [`cut`](Self::cut).
    pub fn heal(&self) {
        self.cut.store(false, Ordering::SeqCst);
        self.lease.send_replace(true);
    }

    /// A room is lost, as when the directory was and the room's projection had yet to be stored.
    pub fn forget(&self, tenant: TenantId, room: RoomId) {
        self.shared.rooms.lock().by_id.remove(&(tenant, room));
    }

    /// This node sees no more changes of shards but those that it is [shown](Self::show).
    pub fn lag(&self) {
        let now = self.shared.shards.lock().clone();
        *self.lagging.lock() = Some(now);
    }

    /// A node that lags sees one change.
    pub fn show(&self, shard: ShardId, ownership: Option<Ownership>) {
        if let Some(believed) = &mut *self.lagging.lock() {
            believed[usize::from(shard.0)] = ownership;
        }
        self.shared.shards_changed.send_modify(|version| *version += 1);
    }

    /// This node sees everything again.
    pub fn catch_up(&self) {
        *self.lagging.lock() = None;
        self.shared.shards_changed.send_modify(|version| *version += 1);
    }

    /// Gives a shard to an owner, or to nobody.
    pub fn set_ownership(&self, shard: ShardId, ownership: Option<Ownership>) {
        self.shared.shards.lock()[usize::from(shard.0)] = ownership;
        self.shared.shards_changed.send_modify(|version| *version += 1);
    }

    /// Begins a planned move of a shard; its owner ends it with [`Directory::release`].
    pub fn move_shard(&self, shard: ShardId, to: NodeId) {
        if let Some(owned) = self.ownership(shard).filter(|owned| owned.owner != to) {
            self.set_ownership(shard, Some(Ownership { moving_to: Some(to), ..owned }));
        }
    }

    /// Gives every shard of a node to another one, as after its death.
    pub fn take_over(&self, from: NodeId, to: NodeId) {
        for shard in ShardId::all() {
            if let Some(owned) = self.ownership(shard).filter(|owned| owned.owner == from) {
                let epoch = Epoch(owned.epoch.0 + 1);
                let owned = Ownership { owner: to, epoch, moving_to: None, ..owned };
                self.set_ownership(shard, Some(owned));
            }
        }
    }

    /// Adds a tenant.
    pub fn add_tenant(&self, tenant: Tenant) {
        self.shared.tenants.lock().insert(tenant.id, tenant.name);
    }

    fn reach_leader(&self) -> Result<(), DirectoryError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(DirectoryError::Unavailable("cut off by the test".into()));
        }
        Ok(())
    }
}

impl Rooms {
    /// The room, and whether it is new.
    fn create(&mut self, new: NewRoom) -> Result<(Arc<RoomMeta>, bool), DirectoryError> {
        let NewRoom { tenant, id, key, kind, name, topic, by, at } = new;
        if let Some(first) = self.by_key.get(&(tenant, by, key)) {
            return Ok((self.by_id[&(tenant, *first)].clone(), false));
        }
        if !matches!(kind, RoomKind::Public | RoomKind::Private) {
            return Err(DirectoryError::Refused(format!("a {kind:?} room has no entry here")));
        }
        if self.by_id.contains_key(&(tenant, id)) {
            return Err(DirectoryError::Refused(format!("another room has the id {id}")));
        }
        self.check_free(tenant, kind, &name, None)?;
        if kind == RoomKind::Public {
            self.by_name.insert((tenant, name.folded()), id);
        }
        self.by_key.insert((tenant, by, key), id);
        let meta = Arc::new(RoomMeta {
            tenant,
            id,
            kind,
            name: Some(name),
            topic,
            settings: crate::vocab::RoomSettings::default(),
            version: 1,
            created_by: by,
            created_at: at,
            key,
            changed_by: by,
        });
        self.by_id.insert((tenant, id), meta.clone());
        Ok((meta, true))
    }

    /// The room afterwards, and whether anything changed.
    fn change(
        &mut self,
        at: RoomRef,
        change: RoomChange,
        by: UserId,
    ) -> Result<(Arc<RoomMeta>, bool), DirectoryError> {
        let now = self.by_id.get(&(at.tenant, at.room)).cloned();
        let now = now.ok_or(DirectoryError::NoSuchRoom)?;
        let mut next = RoomMeta::clone(&now);
        next.topic = change.topic.unwrap_or(next.topic);
        next.settings = change.settings.unwrap_or(next.settings);
        if let Some(name) = change.name {
            self.check_free(at.tenant, now.kind, &name, Some(at.room))?;
            next.name = Some(name);
        }
        if next == *now {
            return Ok((now, false));
        }
        if let (RoomKind::Public, Some(old), Some(name)) = (now.kind, &now.name, &next.name) {
            self.by_name.remove(&(at.tenant, old.folded()));
            self.by_name.insert((at.tenant, name.folded()), at.room);
        }
        next.version += 1;
        next.changed_by = by;
        let next = Arc::new(next);
        self.by_id.insert((at.tenant, at.room), next.clone());
        Ok((next, true))
    }

    fn check_free(
        &self,
        tenant: TenantId,
        kind: RoomKind,
        name: &RoomName,
        except: Option<RoomId>,
    ) -> Result<(), DirectoryError> {
        let folded = name.folded();
        let lobby = RoomMeta::lobby(tenant).name.map(|name| name.folded());
        let holder = self.by_name.get(&(tenant, folded.clone())).copied();
        let taken = kind == RoomKind::Public && holder.is_some() && holder != except;
        if Some(folded) == lobby || taken {
            return Err(DirectoryError::NameTaken);
        }
        Ok(())
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    fn node(&self) -> NodeId {
        self.node
    }

    fn room(&self, room: RoomRef) -> Option<Arc<RoomMeta>> {
        self.shared.rooms.lock().by_id.get(&(room.tenant, room.room)).cloned()
    }

    fn room_by_name(&self, tenant: TenantId, name: &RoomName) -> Option<Arc<RoomMeta>> {
        let rooms = self.shared.rooms.lock();
        let id = rooms.by_name.get(&(tenant, name.folded()))?;
        rooms.by_id.get(&(tenant, *id)).cloned()
    }

    fn public_rooms(
        &self,
        tenant: TenantId,
        prefix: &str,
        after: Option<RoomId>,
        limit: u16,
    ) -> Vec<Arc<RoomMeta>> {
        let prefix = RoomName::fold(prefix);
        let rooms = self.shared.rooms.lock();
        let public = rooms
            .by_id
            .values()
            .filter(|room| room.tenant == tenant && room.kind == RoomKind::Public);
        let folded = |room: &RoomMeta| room.name.as_ref().map(RoomName::folded).unwrap_or_default();
        let mut named: Vec<(String, Arc<RoomMeta>)> =
            public.map(|room| (folded(room), room.clone())).collect();
        named.sort_by(|one, other| one.0.cmp(&other.0));
        let from = match after {
            None => 0,
            Some(after) => named
                .iter()
                .position(|(_, room)| room.id == after)
                .map_or(named.len(), |place| place + 1),
        };
        let wanted = named.into_iter().skip(from).filter(|(name, _)| name.starts_with(&prefix));
        wanted.take(usize::from(limit)).map(|(_, room)| room).collect()
    }

    fn room_count(&self) -> usize {
        self.shared.rooms.lock().by_id.len()
    }

    fn ownership(&self, shard: ShardId) -> Option<Ownership> {
        if let Some(believed) = &*self.lagging.lock() {
            return believed[usize::from(shard.0)];
        }
        self.shared.shards.lock()[usize::from(shard.0)]
    }

    fn shards_changed(&self) -> watch::Receiver<u64> {
        self.shared.shards_changed.subscribe()
    }

    fn lease(&self) -> watch::Receiver<bool> {
        self.lease.subscribe()
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), DirectoryError> {
        self.reach_leader()?;
        let owned = self.ownership(shard);
        let is_mine = |owned: &Ownership| owned.owner == self.node && owned.epoch == epoch;
        if let Some(owned) = owned.filter(is_mine)
            && let Some(to) = owned.moving_to
        {
            let epoch = Epoch(epoch.0 + 1);
            let owned = Ownership { owner: to, epoch, moving_to: None, ..owned };
            self.set_ownership(shard, Some(owned));
        }
        Ok(())
    }

    async fn found_history(
        &self,
        shard: ShardId,
        epoch: Epoch,
        database: DatabaseId,
        r#gen: Gen,
    ) -> Result<(), DirectoryError> {
        self.reach_leader()?;
        let is_mine = |owned: &Ownership| owned.owner == self.node && owned.epoch == epoch;
        if let Some(owned) = self.ownership(shard).filter(is_mine) {
            let r#gen = owned.r#gen.max(r#gen);
            self.set_ownership(shard, Some(Ownership { r#gen, database: Some(database), ..owned }));
        }
        Ok(())
    }

    fn tenants(&self) -> Vec<Tenant> {
        let tenants = self.shared.tenants.lock();
        tenants.iter().map(|(id, name)| Tenant { id: *id, name: name.clone() }).collect()
    }

    async fn create_room(&self, new: NewRoom) -> Result<Arc<RoomMeta>, DirectoryError> {
        self.reach_leader()?;
        if !self.shared.tenants.lock().contains_key(&new.tenant) {
            return Err(DirectoryError::Refused(format!("there is no tenant {}", new.tenant)));
        }
        let (meta, made) = self.shared.rooms.lock().create(new)?;
        if made {
            // Nobody listens: then nobody needs to hear it.
            let _ = self.shared.changes.send(meta.at());
        }
        Ok(meta)
    }

    async fn change_room(
        &self,
        room: RoomRef,
        change: RoomChange,
        by: UserId,
    ) -> Result<Arc<RoomMeta>, DirectoryError> {
        self.reach_leader()?;
        let (meta, changed) = self.shared.rooms.lock().change(room, change, by)?;
        if changed {
            let _ = self.shared.changes.send(room);
        }
        Ok(meta)
    }

    async fn barrier(&self) -> Result<(), DirectoryError> {
        self.reach_leader()
    }

    fn changes(&self) -> broadcast::Receiver<RoomRef> {
        self.shared.changes.subscribe()
    }

    async fn healthy(&self) -> Result<(), DirectoryError> {
        self.reach_leader()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::directory_suite;

    #[tokio::test]
    async fn the_directory_in_memory_conforms() {
        directory_suite::run(async || MemoryDirectory::default()).await;
    }

    #[tokio::test]
    async fn a_cut_directory_still_reads_and_changes_nothing() {
        let directory = MemoryDirectory::default();
        let room = directory.create_room(directory_suite::new_room("a")).await.expect("made");
        directory.cut();
        let refused = directory.create_room(directory_suite::new_room("b")).await;
        assert!(matches!(refused, Err(DirectoryError::Unavailable(_))), "{refused:?}");
        assert!(directory.healthy().await.is_err() && directory.barrier().await.is_err());
        assert_eq!(directory.room(room.at()).as_deref(), Some(&*room));
        assert_eq!(directory.room_count(), 1);
        directory.heal();
        directory.create_room(directory_suite::new_room("b")).await.expect("healed");
    }
}
