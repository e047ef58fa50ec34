//! What the server says: one JSON object a frame, told apart by `type`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Entry, Event, PresenceStatus, Role, Text, Timestamp, User};

mod ok;
mod quick;

pub use ok::{Answer, Ok, RoomAnswer, RoomAnswers};

/// A server frame. A type or field that a reader does not know is one of a newer server's, and is
/// left aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(
    clippy::large_enum_variant,
    reason = "events are nearly all frames, and a box would be an allocation for each"
)]
pub enum ServerFrame<'a> {
    /// The session began.
    Welcome(#[serde(borrow)] Welcome<'a>),
    /// The one success for the request with this `id`.
    Ok(#[serde(borrow)] Ok<'a>),
    /// The one refusal for the request with this `id`, or of a frame that had none.
    Error(#[serde(borrow)] Error<'a>),
    /// A room's event.
    Event(#[serde(borrow)] RoomEvent<'a>),
    /// Events that were not sent.
    Gap(Gap),
    /// The user's own feed.
    Me(Me),
    /// Somebody is typing.
    Typing(#[serde(borrow)] Typing<'a>),
    /// A watched user's presence.
    Presence(Presence),
    /// The session ends; the close code follows.
    Bye(#[serde(borrow)] Bye<'a>),
    /// A frame of a newer server.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// Who the session belongs to.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account<'a> {
    /// The account.
    pub id: Uuid,
    /// Its name.
    #[serde(borrow)]
    pub username: Text<'a>,
    /// May administer the tenant.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub admin: bool,
}

/// The session began.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome<'a> {
    /// The `id` of the client's hello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The session.
    pub session: Uuid,
    /// Whose it is.
    #[serde(borrow)]
    pub user: Account<'a>,
    /// How often the client should say something, in milliseconds.
    pub heartbeat_ms: u64,
    /// The revision of the user's own feed.
    pub rev: u64,
}

/// A committed change: the answer on the socket and over HTTP.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Where it is in the room's log.
    pub seq: u64,
    /// When the room decided on it.
    pub sent_at: Timestamp,
    /// The key had been used before: this is where the first one is.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub repeated: bool,
}

/// A page of history: the answer on the socket and over HTTP.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<'a> {
    /// The room.
    pub room: Uuid,
    /// The generation of its history.
    pub r#gen: u64,
    /// Ascending by seq.
    #[serde(borrow)]
    pub messages: Vec<Entry<'a>>,
    /// There are more in the direction of reading.
    pub more: bool,
    /// The head that this page reflects.
    pub as_of: u64,
    /// The lowest seq that still has its content.
    pub first: u64,
    /// The node that answers lost its cluster: there may be newer events that it does not know of.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub stale: bool,
}

impl Page<'_> {
    /// The same page, on its own.
    #[must_use]
    pub fn into_owned(self) -> Page<'static> {
        let Self { room, r#gen, messages, more, as_of, first, stale } = self;
        let messages = messages.into_iter().map(Entry::into_owned).collect();
        Page { room, r#gen, messages, more, as_of, first, stale }
    }
}

/// A refusal.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error<'a> {
    /// The client's number, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The machine-readable reason.
    #[serde(borrow)]
    pub code: Text<'a>,
    /// What is wrong and what is allowed, for a person.
    #[serde(borrow)]
    pub detail: Text<'a>,
    /// When repeating it can help, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// A room's event.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomEvent<'a> {
    /// The room.
    pub room: Uuid,
    /// The generation of its history.
    pub r#gen: u64,
    /// The event.
    #[serde(borrow, flatten)]
    pub event: Event<'a>,
}

/// Events that were not sent: page them from history with `view=log`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The room.
    pub room: Uuid,
    /// The first that was not sent.
    pub from: u64,
    /// The last that was not sent.
    pub to: u64,
}

/// The user's own feed, on all of their devices.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// The user's revision with this change.
    pub rev: u64,
    /// What changed.
    #[serde(flatten)]
    pub change: MeChange,
}

/// What changed for the user: `"read":{…}` or `"room":{…}` in the frame.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeChange {
    /// A read mark moved.
    Read {
        /// The room.
        room: Uuid,
        /// How far it is read.
        seq: u64,
    },
    /// They are a member of a room with this role, or no longer (`null`).
    Room {
        /// The room.
        id: Uuid,
        /// Their role.
        role: Option<Role>,
    },
}

/// Somebody is typing.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing<'a> {
    /// Where.
    pub room: Uuid,
    /// Who.
    #[serde(borrow)]
    pub user: User<'a>,
}

/// A watched user's presence.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who.
    pub user: Uuid,
    /// How they are seen.
    pub status: PresenceStatus,
}

/// The session ends.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye<'a> {
    /// The machine-readable reason.
    #[serde(borrow)]
    pub code: Text<'a>,
    /// What happened, for a person.
    #[serde(borrow)]
    pub detail: Text<'a>,
    /// When to come back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl<'a> ServerFrame<'a> {
    /// Reads one frame.
    ///
    /// # Errors
    /// serde_json's, when it is not a frame of this protocol.
    pub fn parse(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Appends the frame's text.
    pub fn encode_into(&self, into: &mut Vec<u8>) {
        if !quick::encode_into(self, into) {
            serde_json::to_writer(into, self)
                .expect("frames hold strings, numbers and booleans only");
        }
    }

    /// The frame's text.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("frames hold strings, numbers and booleans only")
    }
}
