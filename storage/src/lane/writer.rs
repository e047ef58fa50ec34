//! What a lane asks of a database, and the rows in between. PostgreSQL and SQLite implement it.

use std::collections::HashMap;
use std::future::Future;

use parlance_actors::ports::history::DatabaseId;
use parlance_actors::vocab::event::Kind;
use parlance_actors::vocab::{
    Epoch, Key, Pos, RoomId, Seq, ShardId, TenantId, Timestamp, Turn, UserId,
};
use uuid::Uuid;

/// A member event's change of a row of membership.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberRow {
    pub(crate) user: UserId,
    /// The role from now on; `None` takes the row away.
    pub(crate) role: Option<i16>,
    /// A join, which sets `joined_at`; a change of role keeps it.
    pub(crate) joined: bool,
}

/// One event to be appended, as the table has it.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) room: RoomId,
    /// The room's last committed seq.
    pub(crate) head: Seq,
    pub(crate) kind: i16,
    pub(crate) sender: UserId,
    pub(crate) device: Option<Uuid>,
    pub(crate) key: Key,
    pub(crate) target: Option<i64>,
    pub(crate) thread: Option<i64>,
    pub(crate) enc: bool,
    pub(crate) sent_at: Timestamp,
    pub(crate) crypt_key: Option<i32>,
    pub(crate) body: Option<Vec<u8>>,
    /// An edit whose message is deleted later in the same batch: it goes in without its body if
    /// that delete goes in.
    pub(crate) doomed: bool,
    pub(crate) member: Option<MemberRow>,
    /// The names that it mentions, folded, as a JSON array; `None` when there are none. Which of them
    /// are members is found where it is written.
    pub(crate) names: Option<String>,
}

/// The right to append to a shard, and where its stream stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) turn: Turn,
    pub(crate) pos: Pos,
}

/// What one statement or transaction commits. Keys are unique in it.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) tenant: TenantId,
    /// One a shard, ascending.
    pub(crate) claims: Vec<Claim>,
    pub(crate) rows: Vec<EventRow>,
}

impl Batch {
    /// Whether it only adds events: nothing is blanked, and no row of membership changes.
    pub(crate) fn is_plain(&self) -> bool {
        let delete = Kind::Delete.number();
        self.rows.iter().all(|row| row.kind != delete && row.member.is_none())
    }

    /// Whether a row of it may change mentions: it names somebody, or it is an edit, which takes back
    /// what its message mentioned before.
    pub(crate) fn changes_mentions(&self) -> bool {
        let edit = Kind::Edit.number();
        self.rows.iter().any(|row| row.names.is_some() || row.kind == edit)
    }

    /// The rows' seq and pos, if none of their keys is in the log and no shard is fenced.
    pub(crate) fn numbers(&self) -> Vec<(Seq, Pos)> {
        let mut heads: HashMap<RoomId, Seq> = HashMap::new();
        let mut streams: HashMap<ShardId, Pos> =
            self.claims.iter().map(|claim| (claim.shard, claim.pos)).collect();
        let number = |row: &EventRow| {
            let head = heads.entry(row.room).or_insert(row.head);
            head.0 += 1;
            let pos = streams.get_mut(&row.room.shard()).expect("a claim for each shard");
            pos.0 += 1;
            (*head, *pos)
        };
        self.rows.iter().map(number).collect()
    }
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) seq: Seq,
    /// It was there before, sent at this time.
    pub(crate) before: Option<Timestamp>,
}

/// A key to be looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    pub(crate) room: RoomId,
    pub(crate) sender: UserId,
    pub(crate) key: Key,
}

/// What raising a fence came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raised {
    /// It is ours, with this turn. Every older insert has ended.
    To(Turn),
    /// A later owner was here.
    Fenced,
    /// It was not raised: an insert that it has to wait for is under way.
    Held,
}

/// Why a write did not answer.
#[derive(Debug, Clone)]
pub(crate) enum WriteError {
    /// Not committed: the database refuses a row for what is in it.
    Refused(String),
    /// Not committed: the same again may work.
    Again(String),
    /// Not committed: there are rows that the lane did not know of.
    Collided(String),
    /// Perhaps committed, and the connection is of no use any more.
    Lost(String),
}

impl WriteError {
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Again(why) | Self::Collided(why) | Self::Lost(why) => why,
        }
    }
}

/// A result of a write.
pub(crate) type Written<T> = Result<T, WriteError>;

/// One connection that writes history. Every call may be dropped half-way; the writer then needs
/// [`Writer::connect`] before it is used again, and says [`WriteError::Lost`] until then.
pub(crate) trait Writer: Send + 'static {
    /// Which fences a tenant's rooms are under: one set for all tenants, or one for each.
    fn fences_of(&self, tenant: TenantId) -> TenantId;

    /// Throws the connection away and makes a new one; tells which database it reached.
    fn connect(&mut self) -> impl Future<Output = Written<DatabaseId>> + Send;

    /// Raises the fences of these shards, each of which is named once, in one statement or
    /// transaction. It waits for no insert: [`Raised::Held`] is to be tried again.
    fn raise(
        &mut self,
        fences: TenantId,
        wanted: &[(ShardId, Epoch)],
    ) -> impl Future<Output = Written<Vec<Raised>>> + Send;

    /// Ends the lanes that raised these fences last, where they still have a connection.
    fn end_holders(
        &mut self,
        fences: TenantId,
        shards: &[ShardId],
    ) -> impl Future<Output = Written<()>> + Send;

    /// The last position in each of these shards' streams of a tenant. True only after the fences
    /// were raised.
    fn last_pos(
        &mut self,
        tenant: TenantId,
        shards: &[ShardId],
    ) -> impl Future<Output = Written<Vec<Pos>>> + Send;

    /// Appends a batch, all of it or nothing; for each row its place, `None` where the shard is fenced.
    fn append(
        &mut self,
        batch: &Batch,
    ) -> impl Future<Output = Written<Vec<Option<Placed>>>> + Send;

    /// Where the events with these keys are.
    fn find(
        &mut self,
        tenant: TenantId,
        keys: &[Lookup],
    ) -> impl Future<Output = Written<Vec<Option<Placed>>>> + Send;

    /// The last seq of these rooms.
    fn heads(
        &mut self,
        tenant: TenantId,
        rooms: &[RoomId],
    ) -> impl Future<Output = Written<Vec<Seq>>> + Send;
}
