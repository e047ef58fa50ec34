//! The directory as the domain uses it: look-ups in the state in memory, changes through the
//! leader. It decides nothing.

use std::sync::Arc;

use async_trait::async_trait;
use parlance_actors::ports::directory::{
    Directory, DirectoryError, NewRoom, Ownership, RoomChange, Tenant,
};
use parlance_actors::ports::history::DatabaseId;
use parlance_actors::vocab::{
    Epoch, Gen, NodeId, RoomId, RoomMeta, RoomName, RoomRef, ShardId, TenantId, Timestamp, UserId,
};
use tokio::sync::{broadcast, watch};

use super::RaftDirectory;
use super::command::{Command, FindHistory, Release, Response};
use crate::limits;

impl RaftDirectory {
    async fn write_room(&self, command: Command) -> Result<Arc<RoomMeta>, DirectoryError> {
        match self.write(command).await? {
            Response::Room { room, .. } => Ok(Arc::new(room.into())),
            Response::NameTaken => Err(DirectoryError::NameTaken),
            Response::NoSuchRoom => Err(DirectoryError::NoSuchRoom),
            Response::Refused(why) => Err(DirectoryError::Refused(why)),
            Response::Done | Response::Admitted(_) => {
                Err(DirectoryError::Refused("the log answered without a room".into()))
            }
        }
    }
}

#[async_trait]
impl Directory for RaftDirectory {
    fn node(&self) -> NodeId {
        self.identity.node
    }

    fn room(&self, room: RoomRef) -> Option<Arc<RoomMeta>> {
        self.view.state.read().room(room)
    }

    fn room_by_name(&self, tenant: TenantId, name: &RoomName) -> Option<Arc<RoomMeta>> {
        let folded = name.folded();
        self.view.state.read().room_by_name(tenant, &folded)
    }

    fn public_rooms(
        &self,
        tenant: TenantId,
        prefix: &str,
        after: Option<RoomId>,
        limit: u16,
    ) -> Vec<Arc<RoomMeta>> {
        let folded = RoomName::fold(prefix);
        self.view.state.read().public_rooms(tenant, &folded, after, limit)
    }

    fn room_count(&self) -> usize {
        self.view.state.read().room_count()
    }

    fn ownership(&self, shard: ShardId) -> Option<Ownership> {
        self.view.state.read().ownership(shard)
    }

    fn shards_changed(&self) -> watch::Receiver<u64> {
        self.view.shards_changed()
    }

    fn lease(&self) -> watch::Receiver<bool> {
        self.core.lease.subscribe()
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), DirectoryError> {
        let moving = self.ownership(shard).is_some_and(|owned| {
            owned.epoch == epoch && owned.owner == self.node() && owned.moving_to.is_some()
        });
        if !moving {
            return Ok(());
        }
        self.do_it(Command::Release(Release { shard, epoch, at: Timestamp::now() })).await
    }

    async fn found_history(
        &self,
        shard: ShardId,
        epoch: Epoch,
        database: DatabaseId,
        r#gen: Gen,
    ) -> Result<(), DirectoryError> {
        self.do_it(Command::FindHistory(FindHistory { shard, epoch, r#gen, database })).await
    }

    fn tenants(&self) -> Vec<Tenant> {
        self.view.state.read().tenants()
    }

    async fn create_room(&self, new: NewRoom) -> Result<Arc<RoomMeta>, DirectoryError> {
        let command = Command::create_room(new).map_err(DirectoryError::Refused)?;
        self.write_room(command).await
    }

    async fn change_room(
        &self,
        room: RoomRef,
        change: RoomChange,
        by: UserId,
    ) -> Result<Arc<RoomMeta>, DirectoryError> {
        self.write_room(Command::change_room(room, change, by)).await
    }

    async fn barrier(&self) -> Result<(), DirectoryError> {
        self.core.confirm(limits::CHANGE_WAIT).await
    }

    fn changes(&self) -> broadcast::Receiver<RoomRef> {
        self.view.changes()
    }

    async fn healthy(&self) -> Result<(), DirectoryError> {
        if self.core.member.is_none() {
            return self.core.confirm(limits::HEALTH_WAIT).await;
        }
        if !*self.core.lease.borrow() {
            return Err(DirectoryError::Unavailable("this node has no lease".into()));
        }
        if self.leader().is_none() {
            return Err(DirectoryError::Unavailable("there is no leader".into()));
        }
        Ok(())
    }
}
