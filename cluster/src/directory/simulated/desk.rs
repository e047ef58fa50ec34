//! The directory's port over the simulated group: look-ups in this node's real view, changes by
//! way of the leader, with the real waits.

use std::sync::Arc;

use async_trait::async_trait;
use parlance_actors::ports::directory::{
    Directory, DirectoryError, NewRoom, Ownership, RoomChange, Tenant,
};
use parlance_actors::ports::history::DatabaseId;
use parlance_actors::vocab::{
    Epoch, Gen, NodeId, RoomId, RoomMeta, RoomName, RoomRef, ShardId, TenantId, Timestamp, UserId,
};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Asked, Group, id};
use crate::directory::command::{Command, FindHistory, Release, Response};
use crate::directory::machine::View;
use crate::limits;

/// How a change gets into the group.
type Ask = Arc<dyn Fn(Option<Command>) -> oneshot::Receiver<Asked> + Send + Sync>;

/// One life of one node's directory.
pub(crate) struct Desk {
    node: NodeId,
    view: Arc<View>,
    lease: watch::Receiver<bool>,
    ask: Ask,
}

impl Group {
    /// The port of a node that runs.
    pub(crate) fn desk(&self, at: usize, ask: Ask) -> Desk {
        let life = self.seats[at].life.as_ref().expect("it runs");
        let lease = life.lease.subscribe();
        Desk { node: id(at), view: Arc::clone(&life.view), lease, ask }
    }
}

impl Desk {
    /// Changes the directory, or with `None` waits for what was committed before.
    pub(crate) async fn change(
        &self,
        command: Option<Command>,
    ) -> Result<Response, DirectoryError> {
        let until = Instant::now() + limits::CHANGE_WAIT;
        loop {
            let attempt = until.min(Instant::now() + limits::FORWARD_WAIT);
            let asked = timeout_at(attempt, (self.ask)(command.clone())).await;
            if let Ok(Ok(Asked::Changed { index, response })) = asked {
                let mut applied = self.view.applied();
                let reached = applied.wait_for(|applied| *applied >= index);
                if let Ok(Ok(_)) = timeout_at(until, reached).await {
                    return Ok(response);
                }
            }
            if Instant::now() >= until {
                return Err(DirectoryError::Unavailable("no leader answered".into()));
            }
            sleep(limits::FORWARD_PAUSE).await;
        }
    }

    async fn room_of(&self, command: Command) -> Result<Arc<RoomMeta>, DirectoryError> {
        match self.change(Some(command)).await? {
            Response::Room { room, .. } => Ok(Arc::new(room.into())),
            Response::NameTaken => Err(DirectoryError::NameTaken),
            Response::NoSuchRoom => Err(DirectoryError::NoSuchRoom),
            other => Err(DirectoryError::Refused(format!("{other:?}"))),
        }
    }
}

#[async_trait]
impl Directory for Desk {
    fn node(&self) -> NodeId {
        self.node
    }

    fn room(&self, room: RoomRef) -> Option<Arc<RoomMeta>> {
        self.view.state.read().room(room)
    }

    fn room_by_name(&self, tenant: TenantId, name: &RoomName) -> Option<Arc<RoomMeta>> {
        self.view.state.read().room_by_name(tenant, &name.folded())
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
        self.lease.clone()
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), DirectoryError> {
        let release = Release { shard, epoch, at: Timestamp(0) };
        self.change(Some(Command::Release(release))).await.map(drop)
    }

    async fn found_history(
        &self,
        shard: ShardId,
        epoch: Epoch,
        database: DatabaseId,
        r#gen: Gen,
    ) -> Result<(), DirectoryError> {
        let found = FindHistory { shard, epoch, r#gen, database };
        self.change(Some(Command::FindHistory(found))).await.map(drop)
    }

    fn tenants(&self) -> Vec<Tenant> {
        self.view.state.read().tenants()
    }

    async fn create_room(&self, new: NewRoom) -> Result<Arc<RoomMeta>, DirectoryError> {
        self.room_of(Command::create_room(new).map_err(DirectoryError::Refused)?).await
    }

    async fn change_room(
        &self,
        room: RoomRef,
        change: RoomChange,
        by: UserId,
    ) -> Result<Arc<RoomMeta>, DirectoryError> {
        self.room_of(Command::change_room(room, change, by)).await
    }

    async fn barrier(&self) -> Result<(), DirectoryError> {
        self.change(None).await.map(drop)
    }

    fn changes(&self) -> broadcast::Receiver<RoomRef> {
        self.view.changes()
    }

    async fn healthy(&self) -> Result<(), DirectoryError> {
        if *self.lease.borrow() {
            return Ok(());
        }
        Err(DirectoryError::Unavailable("this node has no lease".into()))
    }
}
