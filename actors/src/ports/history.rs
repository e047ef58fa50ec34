//! History: the append under a fence, and the reads.
//!
//! An append goes to the lane of its room's shard. A lane commits what has gathered, one batch
//! at a time, and tells each room what became of its drafts in the order of their commit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::vocab::{Draft, Epoch, Event, Key, RoomMeta, RoomRef, Seq, Timestamp, UserId};

/// Which database holds the history. It changes when the history may have: after a failover to
/// another server, a restore to a point in time, a move to another server by dump.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct DatabaseId {
    /// Drawn when the server's data were made; a standby has its primary's.
    pub system: u64,
    /// Grows when a standby is promoted or an older state is restored.
    pub timeline: u32,
}

/// The committed head of one open room. The room makes it when it opens, each of its appends
/// carries it, and only the lane moves it: by the time a batch is built it is exact, even for an
/// append that was queued before an earlier one was committed.
///
/// It also says in which database it was read: a lane commits nothing on the head of another.
#[derive(Debug, Default)]
pub struct RoomHead {
    seq: AtomicU64,
    database: Mutex<Option<DatabaseId>>,
}

impl RoomHead {
    /// The head of a room that just opened.
    #[must_use]
    pub fn of(opened: &Opened) -> Arc<Self> {
        let head = Arc::<Self>::default();
        head.opened(opened);
        head
    }

    /// Called by the room alone, once it is open. Before, the lane takes nothing on this head.
    pub fn opened(&self, opened: &Opened) {
        *self.database.lock() = Some(opened.database);
        self.set(opened.head);
    }

    /// The last committed seq that the lane knows of.
    #[must_use]
    pub fn get(&self) -> Seq {
        Seq(self.seq.load(Ordering::Acquire))
    }

    /// Called by the lane alone, after a commit or after it read the head again.
    pub fn set(&self, head: Seq) {
        self.seq.store(head.0, Ordering::Release);
    }

    /// The database in which the head was read; `None` before the room is open.
    #[must_use]
    pub fn database(&self) -> Option<DatabaseId> {
        *self.database.lock()
    }
}

/// One draft for a lane.
pub struct Append {
    /// The room.
    pub room: RoomRef,
    /// The epoch under which the room was opened; the lane refuses another.
    pub epoch: Epoch,
    /// The room's head, shared with the lane.
    pub head: Arc<RoomHead>,
    /// The room's own number for this append, given back with its outcome.
    pub ticket: u64,
    /// What to append.
    pub draft: Draft,
    /// Who hears of it.
    pub sink: Arc<dyn AppendSink>,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append")
            .field("room", &self.room)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

/// Who hears what became of appends. Called once a batch and room, in the order of commits, and
/// for every append that was accepted, exactly once. Must not block.
pub trait AppendSink: Send + Sync + 'static {
    /// The outcomes of some appends of this room, in the order in which they were queued.
    fn settled(&self, outcomes: Vec<Settled>);
}

/// An append and what became of it.
#[derive(Debug)]
pub struct Settled {
    /// The room's number for it.
    pub ticket: u64,
    /// The draft, given back so that the room publishes it without a copy.
    pub draft: Draft,
    /// What became of it.
    pub outcome: Outcome,
    /// How many appends were settled together with it, it among them.
    pub batch: usize,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Committed at this seq, durable before this was said.
    Committed {
        /// Its place.
        seq: Seq,
    },
    /// The sender's key was in the log already; nothing was added.
    Repeated {
        /// Where the first one is.
        seq: Seq,
        /// When the first one was sent.
        sent_at: Timestamp,
    },
    /// Not committed, and never will be: another owner has the shard. The room stops.
    Fenced,
    /// Perhaps committed: the database is another one than when the room opened, or it has
    /// forgotten. The room stops; whoever opens it again compares [`Opened::database`] and the
    /// head with what it knew before it commits anything. A repeat of the key is always right.
    DatabaseChanged,
    /// Not committed, and never will be: the lane is closing, or the database refused the row.
    Failed {
        /// Why.
        why: String,
    },
}

/// The lane's queue is full, or the database is away: the append was not taken.
#[derive(Debug)]
pub struct NotTaken {
    /// The append, given back.
    pub append: Box<Append>,
    /// Why.
    pub why: NotTakenWhy,
}

/// Why a lane took no append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTakenWhy {
    /// The queue is full; try again in a moment.
    Full,
    /// The database is away; the lane is connecting again.
    Away,
    /// The lane is closing.
    Closing,
}

/// What a room learns when it opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The last seq; 0 for an empty log.
    pub head: Seq,
    /// The lowest seq that still has its content; 1 unless retention moved it.
    pub first: Seq,
    /// How many members the room has.
    pub members: u64,
    /// Where the event with the asked sender and key is, if there is one.
    pub asked: Option<Seq>,
    /// The database that all of this was read in.
    pub database: DatabaseId,
    /// The version of the room's stored projection; 0 when there is none. A room whose entry in
    /// the directory is newer calls [`History::project_room`].
    pub projected: u64,
}

/// Which part of a log to read. Results always come in ascending order of seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// The last ones.
    Latest,
    /// The ones right before this seq.
    Before(Seq),
    /// The ones right after this seq.
    After(Seq),
}

/// A page of the raw log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Ascending by seq, without holes.
    pub events: Vec<Event>,
    /// There are more in the direction of reading.
    pub more: bool,
    /// The head that this page reflects.
    pub as_of: Seq,
    /// The lowest seq that still has its content.
    pub first: Seq,
}

/// A page of the timeline (messages, member and room events) with the notes on it (edits,
/// deletes, reactions, pins), still unfolded: [`crate::room::fold`] folds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelinePage {
    /// Messages, member and room events, ascending by seq.
    pub entries: Vec<Event>,
    /// Everything that targets one of `entries`, ascending by seq.
    pub notes: Vec<Event>,
    /// There are more in the direction of reading.
    pub more: bool,
    /// The head that this page reflects.
    pub as_of: Seq,
    /// The lowest seq that still has its content.
    pub first: Seq,
}

/// Why history did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HistoryError {
    /// Another owner has the shard. Nothing was changed; retrying here does not help.
    #[error("the shard belongs to another owner")]
    Fenced,
    /// The database is away. Nothing was changed; retry later.
    #[error("history is unavailable: {0}")]
    Unavailable(String),
    /// So many lists are being read that this one did not get its turn in time. Nothing was changed; retry
    /// soon.
    #[error("too many lists are being read")]
    Busy,
    /// The database answered something that this version cannot read. Retrying does not help.
    #[error("history is unreadable: {0}")]
    Unreadable(String),
}

/// Rooms' logs.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Puts a draft on the lane of its shard and returns at once.
    ///
    /// # Errors
    /// [`NotTaken`] when the lane cannot take it; nothing was changed and nobody will hear of it.
    fn append(&self, append: Append) -> Result<(), NotTaken>;

    /// Opens a room for appends: waits until the room's earlier appends in the lane are settled,
    /// raises the shard's fence to `epoch` unless this process already did, and only then, in
    /// new statements on the primary, reads what the room needs.
    ///
    /// # Errors
    /// [`HistoryError::Fenced`] when a later owner was here, also when this process had not
    /// noticed yet.
    async fn open(
        &self,
        room: RoomRef,
        epoch: Epoch,
        ask: Option<(UserId, Key)>,
    ) -> Result<Opened, HistoryError>;

    /// The event at `seq`, from the primary.
    async fn event(&self, room: RoomRef, seq: Seq) -> Result<Option<Event>, HistoryError>;

    /// Where the sender's event with this key is and when it was sent, from the primary.
    async fn key(
        &self,
        room: RoomRef,
        sender: UserId,
        key: Key,
    ) -> Result<Option<(Seq, Timestamp)>, HistoryError>;

    /// When the sender's last message in the room was sent, from the primary.
    async fn last_message_at(
        &self,
        room: RoomRef,
        sender: UserId,
    ) -> Result<Option<Timestamp>, HistoryError>;

    /// A page of the raw log.
    async fn log(&self, room: RoomRef, range: Range, limit: u16) -> Result<LogPage, HistoryError>;

    /// A page of the timeline with its notes.
    async fn timeline(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
    ) -> Result<TimelinePage, HistoryError>;

    /// The messages that are pinned and not deleted, the newest pin first, at most
    /// [`PINS_MAX`](crate::limits::PINS_MAX), with the notes on them. A message is pinned if the
    /// newest pin event on it says so, among the newest
    /// [`PIN_EVENTS_MAX`](crate::limits::PIN_EVENTS_MAX) pin events of the room.
    async fn pins(&self, room: RoomRef) -> Result<TimelinePage, HistoryError>;

    /// Stores what the directory knows of a room, for the day when the directory is lost. Changes
    /// nothing when the same or a later version is stored, or when the room has no entry in the
    /// directory (version 0). Not under a fence: a late owner's older version loses by its number.
    async fn project_room(&self, meta: &RoomMeta) -> Result<(), HistoryError>;

    /// Answers whether the database takes writes now.
    async fn healthy(&self) -> Result<(), HistoryError>;

    /// Takes no more appends, settles those that wait, and returns when the lanes have ended.
    /// Appends that cannot be committed by the deadline of the caller are settled as failed.
    async fn close(&self);
}
