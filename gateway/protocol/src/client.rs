//! What clients say: one JSON object a frame, told apart by `type`. Parsing names what is wrong
//! and what is allowed; it does not judge lengths, rights or rates.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{PresenceStatus, Text, View};

mod rooms;

pub use rooms::{Cursor, Cursors};

/// A client frame. Each may carry the client's own number `id`; it is then answered by exactly one
/// `ok` or `error` with that `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientFrame<'a> {
    /// The first frame: who is there.
    Hello(#[serde(borrow)] Hello<'a>),
    /// Follow rooms.
    Subscribe(Subscribe),
    /// Follow rooms no more.
    Unsubscribe(Unsubscribe),
    /// Say something.
    Send(#[serde(borrow)] Send<'a>),
    /// Replace the body of one's own message.
    Edit(#[serde(borrow)] Edit<'a>),
    /// Take a message away.
    Delete(Delete),
    /// Put an emoji on a message.
    React(#[serde(borrow)] React<'a>),
    /// Take an emoji off a message.
    Unreact(#[serde(borrow)] React<'a>),
    /// Pin a message, or unpin it.
    Pin(Pin),
    /// Become a member of a public room.
    Join(Membership),
    /// Stop being a member.
    Leave(Membership),
    /// Read a page of history.
    History(History),
    /// Move the read mark forward.
    Read(Read),
    /// Tell the room that the user is typing.
    Typing(Typing),
    /// Say one's own status, and whose presence to watch.
    Presence(Presence),
    /// Nothing: keeps the session alive.
    Ping(Ping),
}

/// The types of client frames, in the order of the reference.
pub const TYPES: [&str; 16] = [
    "hello",
    "subscribe",
    "unsubscribe",
    "send",
    "edit",
    "delete",
    "react",
    "unreact",
    "pin",
    "join",
    "leave",
    "history",
    "read",
    "typing",
    "presence",
    "ping",
];

/// The first frame.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello<'a> {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The access token, unless the upgrade carried a credential.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Text<'a>>,
    /// The client's previous session, which is closed if it still lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
}

/// Follow rooms.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Which, and from where.
    pub rooms: Cursors,
}

/// Follow rooms no more.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Which.
    pub rooms: Vec<Uuid>,
}

/// Say something.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send<'a> {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// The text, or ciphertext with `enc`.
    #[serde(borrow)]
    pub body: Text<'a>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// The message that opened the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<u64>,
    /// The body is end-to-end encrypted.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub enc: bool,
}

/// Replace the body of one's own message.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit<'a> {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// The message.
    pub target: u64,
    /// Its body from now on.
    #[serde(borrow)]
    pub body: Text<'a>,
    /// The body is end-to-end encrypted.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub enc: bool,
}

/// Take a message away.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// The message.
    pub target: u64,
}

/// Put an emoji on a message, or take it off: the frame's type says which.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct React<'a> {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// The message.
    pub target: u64,
    /// The emoji or short name.
    #[serde(borrow)]
    pub emoji: Text<'a>,
}

/// Pin a message, or unpin it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// The message.
    pub target: u64,
    /// Pinned, or not any more.
    #[serde(default = "yes")]
    pub on: bool,
}

const fn yes() -> bool {
    true
}

/// Become a member, or stop being one: the frame's type says which.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The idempotency key.
    pub key: Uuid,
}

/// Read a page of history: the last ones, or those right before or right after a seq.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The ones right before this seq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The ones right after this seq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How many at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
    /// How it is shown.
    #[serde(default)]
    pub view: View,
}

/// Move the read mark forward.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
    /// The last event that was read.
    pub seq: u64,
}

/// Tell the room that the user is typing.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typing {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where.
    pub room: Uuid,
}

/// Say one's own status, and whose presence to watch from now on (replaces the earlier list).
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// One's own status, if it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<PresenceStatus>,
    /// The watched users, if they change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Vec<Uuid>>,
}

/// Nothing.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// The client's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

/// A frame that is not one of the protocol's. Nothing was done; repeating it does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BadFrame {
    /// The client's number, where the frame has a readable one.
    pub id: Option<u64>,
    /// What is wrong and what is allowed.
    pub detail: String,
}

impl<'a> ClientFrame<'a> {
    /// Reads one frame.
    ///
    /// # Errors
    /// [`BadFrame`] with the frame's `id` where it can be read, and what is wrong in it.
    pub fn parse(text: &'a [u8]) -> Result<Self, BadFrame> {
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(BadFrame { id: None, detail: "a frame is one JSON object".into() });
        }
        let frame: Self =
            serde_json::from_slice(text).map_err(|error| diagnose(text, &error.to_string()))?;
        match &frame {
            Self::History(History { id, before: Some(_), after: Some(_), .. }) => {
                let detail = "before, after: give one of them, or neither for the latest";
                Err(BadFrame { id: *id, detail: detail.into() })
            }
            _ => Ok(frame),
        }
    }

    /// Appends the frame's text.
    pub fn encode_into(&self, into: &mut Vec<u8>) {
        serde_json::to_writer(into, self).expect("frames hold strings, numbers and booleans only");
    }

    /// The frame's text.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("frames hold strings, numbers and booleans only")
    }

    /// The client's number.
    #[must_use]
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Hello(frame) => frame.id,
            Self::Subscribe(frame) => frame.id,
            Self::Unsubscribe(frame) => frame.id,
            Self::Send(frame) => frame.id,
            Self::Edit(frame) => frame.id,
            Self::Delete(frame) => frame.id,
            Self::React(frame) | Self::Unreact(frame) => frame.id,
            Self::Pin(frame) => frame.id,
            Self::Join(frame) | Self::Leave(frame) => frame.id,
            Self::History(frame) => frame.id,
            Self::Read(frame) => frame.id,
            Self::Typing(frame) => frame.id,
            Self::Presence(frame) => frame.id,
            Self::Ping(frame) => frame.id,
        }
    }
}

/// Finds out what is wrong with a frame that did not parse: slower than parsing, and only then.
/// `first` is what the parser said, for what this cannot see (a field that is there twice).
fn diagnose(text: &[u8], first: &str) -> BadFrame {
    let mut fields = match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return BadFrame { id: None, detail: "a frame is one JSON object".into() },
        Err(error) => return BadFrame { id: None, detail: format!("not JSON: {error}") },
    };
    let id = fields.get("id").and_then(Value::as_u64);
    let detail = match fields.remove("type") {
        None => format!("missing field `type`; allowed are {}", TYPES.join(", ")),
        Some(Value::String(name)) => explain(&name, &Value::Object(fields), first),
        Some(other) => {
            let other = shortened(&other.to_string());
            format!("type: {other} is not a string; allowed are {}", TYPES.join(", "))
        }
    };
    BadFrame { id, detail }
}

fn explain<'a>(name: &str, fields: &'a Value, first: &str) -> String {
    let wrong = match name {
        "hello" => wrong::<Hello<'a>>,
        "subscribe" => wrong::<Subscribe>,
        "unsubscribe" => wrong::<Unsubscribe>,
        "send" => wrong::<Send<'a>>,
        "edit" => wrong::<Edit<'a>>,
        "delete" => wrong::<Delete>,
        "react" | "unreact" => wrong::<React<'a>>,
        "pin" => wrong::<Pin>,
        "join" | "leave" => wrong::<Membership>,
        "history" => wrong::<History>,
        "read" => wrong::<Read>,
        "typing" => wrong::<Typing>,
        "presence" => wrong::<Presence>,
        "ping" => wrong::<Ping>,
        _ => {
            let name = shortened(name);
            return format!("type: {name:?} is not known; allowed are {}", TYPES.join(", "));
        }
    };
    wrong(fields).unwrap_or_else(|| shortened(first))
}

/// What is wrong with the fields of a `T`, with the path to it.
fn wrong<'a, T: Deserialize<'a>>(fields: &'a Value) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(fields).err()?;
    let path = error.path().to_string();
    let why = shortened(&error.into_inner().to_string());
    Some(if path == "." { why } else { format!("{}: {why}", shortened(&path)) })
}

/// Errors quote what the client sent; a hostile one must not get it back at full length.
pub(crate) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
