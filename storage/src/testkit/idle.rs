//! A lane whose database does nothing, for measurements: the lane, its batches and rows are the
//! product's own, each commit is answered at once, and nothing is kept.

use parlance_actors::ports::history::{Append, DatabaseId, NotTaken};
use parlance_actors::vocab::{Epoch, Pos, RoomId, RoomRef, Seq, ShardId, TenantId, Turn};

use crate::crypt::Crypt;
use crate::lane::{Batch, LaneHandle, Lookup, Placed, Raised, Writer, Written};
use crate::limits::LOCK_WAIT;
use crate::postgres::encoded_arguments;

/// The database that an idle lane says it is connected to.
pub const IDLE_DATABASE: DatabaseId = DatabaseId { system: 1, timeline: 1 };

/// The lane.
#[derive(Debug)]
pub struct IdleLane(LaneHandle);

impl IdleLane {
    /// Starts it on the runtime that this is called on.
    #[must_use]
    pub fn start(crypt: Crypt) -> Self {
        Self(LaneHandle::start(0, IdleWriter, crypt, LOCK_WAIT))
    }

    /// Raises the fence of a room's shard, so that its appends are taken.
    ///
    /// # Panics
    /// When the lane has ended.
    pub async fn open(&self, room: RoomRef, epoch: Epoch) {
        self.0.open(room, epoch).await.expect("nothing can fail here");
    }

    /// Puts an append on the lane.
    ///
    /// # Errors
    /// [`NotTaken`] when the lane is full.
    pub fn append(&self, append: Append) -> Result<(), NotTaken> {
        self.0.append(append)
    }
}

/// Encodes each batch for PostgreSQL and throws it away.
struct IdleWriter;

impl Writer for IdleWriter {
    fn fences_of(&self, _: TenantId) -> TenantId {
        TenantId(0)
    }

    async fn connect(&mut self) -> Written<DatabaseId> {
        Ok(IDLE_DATABASE)
    }

    async fn raise(&mut self, _: TenantId, wanted: &[(ShardId, Epoch)]) -> Written<Vec<Raised>> {
        Ok(vec![Raised::To(Turn(1)); wanted.len()])
    }

    async fn end_holders(&mut self, _: TenantId, _: &[ShardId]) -> Written<()> {
        Ok(())
    }

    async fn last_pos(&mut self, _: TenantId, shards: &[ShardId]) -> Written<Vec<Pos>> {
        Ok(vec![Pos(0); shards.len()])
    }

    async fn append(&mut self, batch: &Batch) -> Written<Vec<Option<Placed>>> {
        let numbers = batch.numbers();
        std::hint::black_box(encoded_arguments(batch, &numbers));
        Ok(numbers.into_iter().map(|(seq, _)| Some(Placed { seq, before: None })).collect())
    }

    async fn find(&mut self, _: TenantId, keys: &[Lookup]) -> Written<Vec<Option<Placed>>> {
        Ok(vec![None; keys.len()])
    }

    async fn heads(&mut self, _: TenantId, rooms: &[RoomId]) -> Written<Vec<Seq>> {
        Ok(vec![Seq(0); rooms.len()])
    }
}
