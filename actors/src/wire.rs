//! What nodes say to each other about rooms, as rkyv archives: the layout belongs to the ALPN
//! `parlance-actor/1`; even another variant at the end is another layout. Only these types cross; they are made from and turned into the domain's at
//! this edge. Nothing here decides.
//!
//! Every frame is checked (`bytecheck`) before a byte of it is believed, and again against the
//! bounds of the domain where a count or a size could hurt.

mod change;
mod event;
pub(crate) mod presence;

use bytes::Bytes;
use rkyv::rancor;

pub(crate) use self::change::{WireCaller, WireChange};
pub(crate) use self::event::WireEvent;
use crate::ports::peers::Malformed;
use crate::room::state::{Replay, Seen};
use crate::session::{Cursor, Posted};
use crate::vocab::{
    Code, Epoch, Gen, Key, Refusal, Role, RoomRef, Sender, Seq, SessionId, Timestamp, UserId,
};

/// Rooms in one [`Envelope::Follow`].
pub(crate) const FOLLOW_ROOMS_MAX: usize = 256;
/// What an envelope is given to be written into at first: a message of 128 bytes takes 280.
const ENVELOPE_BYTES_USUAL: usize = 512;

/// One frame between two nodes.
#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) enum Envelope {
    /// To a room's owner: somebody asks for a change. Answered by [`Envelope::Posted`].
    Post(Box<WirePost>),
    /// From a room's owner: what became of it.
    Posted { id: u64, result: Result<WirePosted, WireRefusal> },
    /// To a room's owner: somebody looks. Answered by [`Envelope::Seen`]. With `follow` the asking
    /// node follows the room from before the answer on.
    Look {
        id: u64,
        room: RoomRef,
        caller: WireCaller,
        cursor: Option<WireCursor>,
        follow: Option<u64>,
    },
    /// From a room's owner: what they see.
    Seen { id: u64, result: Result<WireSeen, WireRefusal> },
    /// From a node that does not own the room: ask its owner.
    Moved { id: u64 },
    /// To a room's owner: its metadata has this version now. Answered by [`Envelope::Posted`].
    Refresh { id: u64, room: RoomRef, version: u64, by: WireSender },
    /// To a room's owner: this node follows these rooms. Each is answered by [`Envelope::Head`] or
    /// [`Envelope::NotFollowed`]. `number` grows with everything that this node says of following.
    Follow { number: u64, rooms: Vec<RoomRef> },
    /// From a room's owner: you follow it, and this is its head.
    Head { room: RoomRef, epoch: Epoch, r#gen: Gen, head: Seq },
    /// From a node that is not the room's owner, or cannot open it now: ask again.
    NotFollowed { room: RoomRef },
    /// To a room's owner: this node no longer follows the room, unless it said a higher number since.
    Unfollow { number: u64, room: RoomRef },
    /// From a room's owner: do you still? A node that does not answers [`Envelope::Unfollow`].
    StillFollowing { room: RoomRef },
    /// From a room's owner: a committed event.
    Event { room: RoomRef, r#gen: Gen, event: WireEvent },
    /// Somebody types: to a room's owner, and from it to the nodes that follow.
    Typing { room: RoomRef, session: SessionId, user: UserId, username: String },
    /// Presence and users' own feeds: an encoded [`presence::PresenceFrame`].
    Presence(Vec<u8>),
}

/// See [`Envelope::Post`].
#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WirePost {
    pub(crate) id: u64,
    pub(crate) room: RoomRef,
    pub(crate) caller: WireCaller,
    pub(crate) key: Key,
    pub(crate) change: WireChange,
    /// The session that asks and the change's place among its changes; absent for HTTP.
    pub(crate) session: Option<(SessionId, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WirePosted {
    seq: Seq,
    sent_at: Timestamp,
    repeated: bool,
}

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireRefusal {
    code: u8,
    detail: String,
    retry_after_ms: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireCursor {
    r#gen: Gen,
    seq: Seq,
}

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireSender {
    id: UserId,
    username: String,
}

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireSeen {
    role: i16,
    r#gen: Gen,
    first: Seq,
    head: Seq,
    replay: WireReplay,
}

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum WireReplay {
    Nothing,
    Events(Vec<WireEvent>),
    Read(Seq),
    Gap(Seq),
}

impl Envelope {
    pub(crate) fn encode(&self) -> Bytes {
        // Most fit at once, and none needs alignment: what rkyv aligns by itself is copied out again.
        let room = Vec::with_capacity(ENVELOPE_BYTES_USUAL);
        let encoded = rkyv::api::high::to_bytes_in::<_, rancor::Error>(self, room);
        // Owned plain data without shared pointers: there is nothing that cannot be written.
        let mut encoded = encoded.expect("an envelope always encodes");
        // A queue counts the bytes that it holds, not those that were reserved.
        encoded.shrink_to_fit();
        Bytes::from(encoded)
    }

    pub(crate) fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        rkyv::from_bytes::<Self, rancor::Error>(frame).map_err(|error| Malformed(error.to_string()))
    }
}

impl From<Posted> for WirePosted {
    fn from(Posted { seq, sent_at, repeated }: Posted) -> Self {
        Self { seq, sent_at, repeated }
    }
}

impl From<WirePosted> for Posted {
    fn from(WirePosted { seq, sent_at, repeated }: WirePosted) -> Self {
        Self { seq, sent_at, repeated }
    }
}

impl From<&Refusal> for WireRefusal {
    fn from(refusal: &Refusal) -> Self {
        let code = Code::ALL.iter().position(|code| *code == refusal.code);
        Self {
            code: u8::try_from(code.expect("every code is in the table")).expect("few codes"),
            detail: refusal.detail.clone().into_owned(),
            retry_after_ms: refusal
                .retry_after
                .map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}

impl From<WireRefusal> for Refusal {
    fn from(refusal: WireRefusal) -> Self {
        // A code of a newer version is one that this one has no word for.
        let code = Code::ALL.get(usize::from(refusal.code)).copied().unwrap_or(Code::Internal);
        let after = refusal.retry_after_ms.map(|ms| std::time::Duration::from_millis(ms.into()));
        Self { code, detail: refusal.detail.into(), retry_after: after }
    }
}

impl From<Cursor> for WireCursor {
    fn from(Cursor { r#gen, seq }: Cursor) -> Self {
        Self { r#gen, seq }
    }
}

impl From<WireCursor> for Cursor {
    fn from(WireCursor { r#gen, seq }: WireCursor) -> Self {
        Self { r#gen, seq }
    }
}

impl From<&Sender> for WireSender {
    fn from(sender: &Sender) -> Self {
        Self { id: sender.id, username: sender.username.as_ref().into() }
    }
}

impl From<WireSender> for Sender {
    fn from(sender: WireSender) -> Self {
        Self { id: sender.id, username: sender.username.into() }
    }
}

impl From<&Seen> for WireSeen {
    fn from(seen: &Seen) -> Self {
        let replay = match &seen.replay {
            Replay::Nothing => WireReplay::Nothing,
            Replay::Events(events) => {
                WireReplay::Events(events.iter().map(|event| WireEvent::from(&**event)).collect())
            }
            Replay::Read { after } => WireReplay::Read(*after),
            Replay::Gap { from } => WireReplay::Gap(*from),
        };
        let (r#gen, first, head) = (seen.r#gen, seen.first, seen.head);
        Self { role: seen.role.number(), r#gen, first, head, replay }
    }
}

impl TryFrom<WireSeen> for Seen {
    type Error = Malformed;
    fn try_from(seen: WireSeen) -> Result<Self, Malformed> {
        let replay = match seen.replay {
            WireReplay::Nothing => Replay::Nothing,
            WireReplay::Events(events) => {
                let events = events.into_iter().map(|event| event.into_event().map(Into::into));
                Replay::Events(events.collect::<Result<_, _>>()?)
            }
            WireReplay::Read(after) => Replay::Read { after },
            WireReplay::Gap(from) => Replay::Gap { from },
        };
        let (r#gen, first, head) = (seen.r#gen, seen.first, seen.head);
        Ok(Self { role: role(seen.role)?, r#gen, first, head, replay })
    }
}

fn role(number: i16) -> Result<Role, Malformed> {
    Role::from_number(number).ok_or_else(|| Malformed(format!("there is no role {number}")))
}

#[cfg(test)]
mod tests;
