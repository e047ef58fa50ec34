//! Who is in which room, how far each user has read, and where they were mentioned. Rows of
//! membership and of mentions are written by the append of their event, never here.

use std::sync::Arc;

use async_trait::async_trait;

use super::history::HistoryError;
use crate::vocab::{Role, RoomId, RoomRef, Seq, TenantId, Timestamp, UserId};

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// Their name.
    pub username: Arc<str>,
    /// Their role.
    pub role: Role,
    /// When they joined.
    pub joined_at: Timestamp,
}

/// One room of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The room.
    pub room: RoomId,
    /// The user's role in it.
    pub role: Role,
    /// How far the user has read; 0 for nothing.
    pub read: Seq,
}

/// What a list of rooms tells a user of one room beside its metadata. One statement reads those of
/// a whole page, so that they are of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The user's role; `None` when there is no row of theirs, as in the lobby.
    pub role: Option<Role>,
    /// The last seq; 0 for an empty log.
    pub head: Seq,
    /// When the last event was sent; `None` for an empty log.
    pub last_at: Option<Timestamp>,
    /// How far the user has read; 0 for nothing.
    pub read: Seq,
    /// Messages of others behind the read mark that still have a body, counted up to
    /// [`UNREAD_MAX`](crate::limits::UNREAD_MAX), among the newest
    /// [`UNREAD_EVENTS_MAX`](crate::limits::UNREAD_EVENTS_MAX) events.
    pub unread: u16,
    /// Messages of others behind the read mark that mention the user in their latest form, counted up
    /// to [`UNREAD_MAX`](crate::limits::UNREAD_MAX), however old they are.
    pub mentions: u16,
    /// The first other member by id: in a direct conversation the other one.
    pub other: Option<UserId>,
}

/// A message that mentions a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mention {
    /// Its room.
    pub room: RoomId,
    /// The message.
    pub seq: Seq,
    /// When it first mentioned them: when it was sent, or the edit that did so.
    pub at: Timestamp,
}

/// A page of a user's mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Those in rooms that the user is in, the newest first.
    pub mentions: Vec<Mention>,
    /// The last one that was looked at; `None` when there are no more behind it.
    pub next: Option<Mention>,
}

/// Rows of membership, of read marks and of mentions.
#[async_trait]
pub trait Members: Send + Sync + 'static {
    /// A user's role in a room, from the primary; `None` when not a member.
    async fn role(&self, room: RoomRef, user: UserId) -> Result<Option<Role>, HistoryError>;

    /// Members ascending by user id, after the given one.
    async fn list(
        &self,
        room: RoomRef,
        after: Option<UserId>,
        limit: u16,
    ) -> Result<Vec<Member>, HistoryError>;

    /// A user's rooms ascending by room id, after the given one.
    async fn rooms_of(
        &self,
        tenant: TenantId,
        user: UserId,
        after: Option<RoomId>,
        limit: u16,
    ) -> Result<Vec<Membership>, HistoryError>;

    /// What a list of rooms tells the user of each of these, at most
    /// [`LIST_MAX`](crate::limits::LIST_MAX) + 2 of them (a page, the lobby, and one that tells
    /// whether there are more), in their order, from the primary.
    async fn summaries(
        &self,
        tenant: TenantId,
        user: UserId,
        rooms: &[RoomId],
    ) -> Result<Vec<Summary>, HistoryError>;

    /// How many members each of these rooms has, at most [`LIST_MAX`](crate::limits::LIST_MAX) rooms,
    /// in their order; counted up to
    /// [`MEMBERS_COUNTED_MAX`](crate::limits::MEMBERS_COUNTED_MAX).
    async fn sizes(&self, tenant: TenantId, rooms: &[RoomId]) -> Result<Vec<u32>, HistoryError>;

    /// The messages that mention the user, the newest first, behind the given one. At most `limit` are
    /// looked at; those in rooms that the user is not in are left out, so that a page may have fewer,
    /// or none, while there are more.
    async fn mentions(
        &self,
        tenant: TenantId,
        user: UserId,
        before: Option<Mention>,
        limit: u16,
    ) -> Result<Mentions, HistoryError>;

    /// Moves the user's read mark of a room forward to `seq` (never back) and gives the user's
    /// new revision, or `None` when the mark was there already.
    async fn mark_read(
        &self,
        room: RoomRef,
        user: UserId,
        seq: Seq,
    ) -> Result<Option<u64>, HistoryError>;

    /// How far the user has read the room; 0 for nothing.
    async fn read_mark(&self, room: RoomRef, user: UserId) -> Result<Seq, HistoryError>;

    /// Grows the user's revision by one and gives it: something of theirs changed on all devices.
    async fn bump(&self, tenant: TenantId, user: UserId) -> Result<u64, HistoryError>;

    /// The user's revision; 0 when nothing ever changed.
    async fn revision(&self, tenant: TenantId, user: UserId) -> Result<u64, HistoryError>;
}
