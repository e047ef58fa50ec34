//! What clients ask of a session and what it tells them, without any wire.

use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::ports::history::Range;
use crate::room::fold::HistoryPage;
use crate::vocab::{
    DeviceId, Event, Gen, Key, Refusal, Role, RoomId, Seq, SessionId, TenantId, Timestamp, UserId,
};

/// Who asks: a signed-in user on one of their devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant.
    pub tenant: TenantId,
    /// The account.
    pub user: UserId,
    /// Its name.
    pub username: Arc<str>,
    /// The device.
    pub device: Option<DeviceId>,
    /// May administer the tenant.
    pub admin: bool,
}

/// A change of a room's log, each with the idempotency key beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Say something.
    Send {
        /// 1 byte to 16 KiB of text; up to 64 KiB when `enc`.
        body: Arc<str>,
        /// The message that this one answers.
        reply_to: Option<Seq>,
        /// The message that opened the thread.
        thread: Option<Seq>,
        /// The body is end-to-end encrypted.
        enc: bool,
    },
    /// Replace the body of one's own message.
    Edit {
        /// The message.
        target: Seq,
        /// Its body from now on.
        body: Arc<str>,
        /// The body is end-to-end encrypted.
        enc: bool,
    },
    /// Take a message away: one's own, or anybody's for a moderator.
    Delete {
        /// The message.
        target: Seq,
    },
    /// Put an emoji on a message or take it off.
    React {
        /// The message.
        target: Seq,
        /// 1 to 64 bytes.
        emoji: Arc<str>,
        /// On, or off.
        on: bool,
    },
    /// Pin a message or unpin it.
    Pin {
        /// The message.
        target: Seq,
        /// Pinned, or not.
        on: bool,
    },
    /// Become a member of a public room.
    Join,
    /// Stop being a member.
    Leave,
    /// Become a member of the direct conversation with this user. Opening one does it for both;
    /// clients never say it themselves.
    Meet {
        /// The other one.
        other: UserId,
    },
    /// Make somebody a member, or give a member another role (moderators; owners for moderators).
    Add {
        /// Who.
        user: UserId,
        /// Their name.
        username: Arc<str>,
        /// Their role from now on; without one a new member is a plain one, and who is in the room keeps
        /// theirs.
        role: Option<Role>,
    },
    /// Remove a member (moderators).
    Kick {
        /// Who.
        user: UserId,
        /// Their name.
        username: Arc<str>,
    },
}

impl Change {
    /// About how many bytes of memory the change holds on to.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Send { body, .. } | Self::Edit { body, .. } => body.len(),
            Self::React { emoji, .. } => emoji.len(),
            Self::Add { username, .. } | Self::Kick { username, .. } => username.len(),
            Self::Delete { .. }
            | Self::Pin { .. }
            | Self::Join
            | Self::Leave
            | Self::Meet { .. } => 0,
        }
    }
}

/// Where a client stands in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The generation that `seq` belongs to.
    pub r#gen: Gen,
    /// The last event that the client has.
    pub seq: Seq,
}

/// How a page of history is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Messages in their latest state with reactions and tombstones; member and room events between them.
    #[default]
    Folded,
    /// Every event.
    Log,
}

/// What a user says of their own presence, or is seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PresenceStatus {
    /// No session.
    Offline,
    /// A session, and nobody at it.
    Away,
    /// A session with somebody at it.
    Online,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Follow rooms, from a cursor or from the head; at most 200 a frame.
    Subscribe(Vec<(RoomId, Option<Cursor>)>),
    /// Follow rooms no more.
    Unsubscribe(Vec<RoomId>),
    /// Change a room's log.
    Post {
        /// The room.
        room: RoomId,
        /// The idempotency key.
        key: Key,
        /// The change.
        change: Change,
    },
    /// Read a page of history.
    History {
        /// The room.
        room: RoomId,
        /// Which part.
        range: Range,
        /// How many at most.
        limit: u16,
        /// How it is shown.
        view: View,
    },
    /// Move the read mark forward.
    Read {
        /// The room.
        room: RoomId,
        /// The last event that was read.
        seq: Seq,
    },
    /// Tell the room's followers that the user is typing. Shed first, never acknowledged late.
    Typing {
        /// The room.
        room: RoomId,
    },
    /// Say one's own status, and whose presence to watch from now on (replaces the earlier list).
    Presence {
        /// One's own status, if it changes.
        status: Option<PresenceStatus>,
        /// The watched users, if they change.
        watch: Option<Vec<UserId>>,
    },
    /// Nothing: keeps the session alive.
    Ping,
}

impl Command {
    /// The rooms that it is to follow from their head on. Of those with a cursor nothing is missed that comes in between,
    /// and one with too many is refused.
    pub(crate) fn rooms_from_now(&self) -> impl Iterator<Item = RoomId> {
        let rooms = match self {
            Self::Subscribe(rooms) if rooms.len() <= limits::SUBSCRIBE_ROOMS_MAX => {
                rooms.as_slice()
            }
            _ => &[],
        };
        rooms.iter().filter(|(_, cursor)| cursor.is_none()).map(|(room, _)| *room)
    }
}

/// A command with the client's own number for it, which its answer carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client's number. Without one a success is not answered.
    pub id: Option<u64>,
    /// What it asks.
    pub command: Command,
}

/// A committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// Where it is in the room's log.
    pub seq: Seq,
    /// When the room decided on it.
    pub sent_at: Timestamp,
    /// The key had been used before: this is where the first one is.
    pub repeated: bool,
}

/// Where a subscribed room stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribed {
    /// The generation of its history.
    pub r#gen: Gen,
    /// The lowest seq that still has its content.
    pub first: Seq,
    /// The head: everything up to it is replayed or in a gap, everything after it comes live.
    pub head: Seq,
}

/// A success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// The change is committed.
    Posted(Posted),
    /// The rooms that are followed now, and why the others are not.
    Subscribed(Vec<(RoomId, Result<Subscribed, Refusal>)>),
    /// The page.
    History {
        /// The room.
        room: RoomId,
        /// The generation of its history.
        r#gen: Gen,
        /// This node lost its lease: the owner may know more.
        stale: bool,
        /// The page.
        page: Arc<HistoryPage>,
    },
}

/// What a session tells its client.
#[derive(Debug, Clone)]
pub enum Output<'a> {
    /// The session began.
    Welcome {
        /// The `id` of the client's hello.
        id: Option<u64>,
        /// The session.
        session: SessionId,
        /// Whose it is.
        caller: &'a Caller,
        /// How often the client should say something.
        heartbeat: Duration,
        /// The revision of the user's own feed.
        rev: u64,
    },
    /// The one success for the request with this `id`.
    Ok {
        /// The client's number.
        id: u64,
        /// The success.
        answer: &'a Answer,
    },
    /// The one refusal for the request with this `id`, or of a frame that had none.
    Error {
        /// The client's number, where there is one.
        id: Option<u64>,
        /// Why.
        refusal: &'a Refusal,
    },
    /// A room's event.
    Event {
        /// The room.
        room: RoomId,
        /// The generation of its history.
        r#gen: Gen,
        /// The event.
        event: &'a Event,
    },
    /// Events that were not sent; the client pages them from history with the log view.
    Gap {
        /// The room.
        room: RoomId,
        /// The first that was not sent.
        from: Seq,
        /// The last that was not sent.
        to: Seq,
    },
    /// The user's own feed: a read mark moved, on whichever device.
    MeRead {
        /// The user's revision with this change.
        rev: u64,
        /// The room.
        room: RoomId,
        /// How far it is read.
        seq: Seq,
    },
    /// The user's own feed: they are a member of a room, or no longer (`None`).
    MeRoom {
        /// The user's revision with this change.
        rev: u64,
        /// The room.
        room: RoomId,
        /// Their role.
        role: Option<Role>,
    },
    /// Somebody is typing.
    Typing {
        /// Where.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Their name.
        username: &'a str,
    },
    /// A watched user's presence.
    Presence {
        /// Who.
        user: UserId,
        /// How they are seen.
        status: PresenceStatus,
    },
    /// The session ends; the close code follows.
    Bye {
        /// Why, and when to come back.
        refusal: &'a Refusal,
    },
}
