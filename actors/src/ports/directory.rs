//! The directory: which rooms there are and who owns each shard. Replicated through Raft, and
//! wholly in memory on every node, so that look-ups are not async.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use super::history::DatabaseId;
use crate::vocab::{
    Epoch, Gen, Key, NodeId, RoomId, RoomKind, RoomMeta, RoomName, RoomRef, RoomSettings, ShardId,
    TenantId, Timestamp, Topic, UserId,
};

/// A room to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoom {
    /// The tenant.
    pub tenant: TenantId,
    /// The id to give it if the key is new.
    pub id: RoomId,
    /// The creator's idempotency key.
    pub key: Key,
    /// Public or private.
    pub kind: RoomKind,
    /// Its name; a public room's is unique in the tenant without regard to case.
    pub name: RoomName,
    /// Its topic.
    pub topic: Topic,
    /// Who makes it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
}

/// A change of a room's metadata; `None` leaves a thing as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomChange {
    /// A new name.
    pub name: Option<RoomName>,
    /// A new topic.
    pub topic: Option<Topic>,
    /// New settings.
    pub settings: Option<RoomSettings>,
}

/// Who serves a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The owner.
    pub owner: NodeId,
    /// The assignment's epoch.
    pub epoch: Epoch,
    /// The generation of the shard's history.
    pub r#gen: Gen,
    /// The owner is giving it to this node: it takes no new requests for it, settles what is in
    /// flight, and then calls [`Directory::release`].
    pub moving_to: Option<NodeId>,
    /// The database that the shard's history was last found in; `None` before an owner looked.
    pub database: Option<DatabaseId>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its short name, also the name of its schema: a lower-case letter, then up to 30 of lower-case
    /// letters, digits and `_`.
    pub name: Arc<str>,
}

/// Why the directory did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// Nothing was changed. Public rooms alone have names of their own: a refusal must not tell that a
    /// private room is there. Nobody may have the lobby's.
    #[error("another public room of this tenant has that name")]
    NameTaken,
    /// Nothing was changed.
    #[error("no such room")]
    NoSuchRoom,
    /// Nothing was changed, and repeating it does not help: the tenant does not exist, the id is
    /// another room's, or the kind has no entry in the directory.
    #[error("the directory refuses it: {0}")]
    Refused(String),
    /// No leader answered in time. Whether it was done is unknown: repeat it with the same key.
    #[error("the directory is unavailable: {0}")]
    Unavailable(String),
}

/// Rooms, tenants and shards.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;

    /// A room's metadata, if this node knows it.
    fn room(&self, room: RoomRef) -> Option<Arc<RoomMeta>>;

    /// A public room by its name, without regard to case.
    fn room_by_name(&self, tenant: TenantId, name: &RoomName) -> Option<Arc<RoomMeta>>;

    /// Public rooms whose names begin with `prefix`, without regard to case, ascending by the folded
    /// name, after the given public room; none after any other.
    fn public_rooms(
        &self,
        tenant: TenantId,
        prefix: &str,
        after: Option<RoomId>,
        limit: u16,
    ) -> Vec<Arc<RoomMeta>>;

    /// How many rooms there are, all tenants together.
    fn room_count(&self) -> usize;

    /// Who serves a shard; `None` while nobody does.
    fn ownership(&self, shard: ShardId) -> Option<Ownership>;

    /// Grows whenever an [`Ownership`] changed, after the change can be read.
    fn shards_changed(&self) -> watch::Receiver<u64>;

    /// Whether this node heard from the leader within the lease. A node without a lease goes on
    /// serving what it owns until it is fenced, and tells clients to go elsewhere.
    fn lease(&self) -> watch::Receiver<bool>;

    /// Gives a moving shard away: nothing of it is in flight here any more. Done when the new owner
    /// is in the directory; of a shard that is not this node's at this epoch it does nothing.
    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), DirectoryError>;

    /// The owner of a shard at this epoch found its history in this database, at this generation:
    /// a higher one than before when history was lost. Of a shard that is not this node's at this
    /// epoch it changes nothing.
    async fn found_history(
        &self,
        shard: ShardId,
        epoch: Epoch,
        database: DatabaseId,
        r#gen: Gen,
    ) -> Result<(), DirectoryError>;

    /// Every tenant, ascending by id.
    fn tenants(&self) -> Vec<Tenant>;

    /// Makes a room, or gives the one that the same user made with the same key.
    async fn create_room(&self, new: NewRoom) -> Result<Arc<RoomMeta>, DirectoryError>;

    /// Changes a room; gives it as it is afterwards. A change that changes nothing keeps the version.
    async fn change_room(
        &self,
        room: RoomRef,
        change: RoomChange,
        by: UserId,
    ) -> Result<Arc<RoomMeta>, DirectoryError>;

    /// Returns when this node has applied everything that was committed before the call.
    async fn barrier(&self) -> Result<(), DirectoryError>;

    /// Tells of rooms whose metadata changed, after the change can be read. A receiver that lags
    /// loses the oldest; rooms therefore also compare versions when they open.
    fn changes(&self) -> broadcast::Receiver<RoomRef>;

    /// Answers whether this node can change the directory now.
    async fn healthy(&self) -> Result<(), DirectoryError>;
}
