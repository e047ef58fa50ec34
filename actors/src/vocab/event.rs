//! One entry of a room's log, and the form in which databases keep it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{DeviceId, Key, Seq, Timestamp, UserId};
use super::mention;
use super::room::{Role, RoomName, Topic};

/// The seven kinds of event. The number is what databases store and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i16)]
pub enum Kind {
    /// Somebody said something.
    Message = 1,
    /// The author replaced a message's body.
    Edit = 2,
    /// The author or a moderator took a message away.
    Delete = 3,
    /// Somebody put an emoji on a message, or took it off.
    Reaction = 4,
    /// Somebody pinned a message, or unpinned it.
    Pin = 5,
    /// A user joined, left, was kicked or changed role.
    Member = 6,
    /// The room's name or topic changed.
    Room = 7,
}

impl Kind {
    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: i16) -> Option<Self> {
        Some(match number {
            1 => Self::Message,
            2 => Self::Edit,
            3 => Self::Delete,
            4 => Self::Reaction,
            5 => Self::Pin,
            6 => Self::Member,
            7 => Self::Room,
            _ => return None,
        })
    }

    /// The number that databases store.
    #[must_use]
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Reaction => "reaction",
            Self::Pin => "pin",
            Self::Member => "member",
            Self::Room => "room",
        }
    }
}

/// Who an event is from, with the name to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The account.
    pub id: UserId,
    /// Its name at the time of reading.
    pub username: Arc<str>,
}

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum MemberChange {
    /// Became a member, by themselves or added by another.
    Joined {
        /// With this role.
        role: Role,
    },
    /// Went by themselves.
    Left,
    /// Was removed by a moderator.
    Kicked,
    /// Stays, with another role.
    Role {
        /// The role from now on.
        role: Role,
    },
}

impl MemberChange {
    /// The role that the user has afterwards; `None` when they are no longer a member.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Joined { role } | Self::Role { role } => Some(role),
            Self::Left | Self::Kicked => None,
        }
    }
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A message.
    Message {
        /// UTF-8 text, or ciphertext in the client's own encoding when `enc`.
        body: Arc<str>,
        /// The message that this one answers.
        reply_to: Option<Seq>,
        /// The message that opened the thread this one belongs to.
        thread: Option<Seq>,
        /// The body is end-to-end encrypted.
        enc: bool,
    },
    /// A new body for a message.
    Edit {
        /// The message.
        target: Seq,
        /// Its body from now on.
        body: Arc<str>,
        /// The body is end-to-end encrypted.
        enc: bool,
    },
    /// A message is taken away; its body and those of its edits are blanked.
    Delete {
        /// The message.
        target: Seq,
    },
    /// An emoji is put on a message or taken off.
    Reaction {
        /// The message.
        target: Seq,
        /// The emoji or short name.
        emoji: Arc<str>,
        /// On, or off again.
        on: bool,
    },
    /// A message is pinned or unpinned.
    Pin {
        /// The message.
        target: Seq,
        /// Pinned, or not any more.
        on: bool,
    },
    /// Membership changed.
    Member {
        /// Whose.
        user: UserId,
        /// Their name when it happened.
        username: Arc<str>,
        /// What happened.
        change: MemberChange,
    },
    /// The room was made, renamed or given a topic.
    Room {
        /// The name from now on.
        name: Option<RoomName>,
        /// The topic from now on.
        topic: Topic,
        /// The version of the room's metadata that this event tells of.
        version: u64,
    },
    /// The content was taken away by a delete or by retention; the entry stays.
    Blank {
        /// The kind that it was.
        kind: Kind,
        /// The message that it was about.
        target: Option<Seq>,
    },
}

/// Content as databases keep it: a kind, a few columns and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventParts {
    /// The kind.
    pub kind: Kind,
    /// The message that the event is about (a message's `reply_to` included).
    pub target: Option<Seq>,
    /// The message that opened the thread.
    pub thread: Option<Seq>,
    /// The body is end-to-end encrypted by clients.
    pub enc: bool,
    /// Text for messages and edits, JSON for the other kinds, `None` once blanked. A delete has no body.
    pub body: Option<Vec<u8>>,
}

/// A stored body that does not parse: the database holds something this version cannot read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("event of kind {kind} has an unreadable body: {why}")]
pub struct UnreadableEvent {
    kind: &'static str,
    why: String,
}

#[derive(Serialize, Deserialize)]
struct ReactionBody {
    emoji: Arc<str>,
    on: bool,
}

#[derive(Serialize, Deserialize)]
struct PinBody {
    on: bool,
}

#[derive(Serialize, Deserialize)]
struct MemberBody {
    user: UserId,
    username: Arc<str>,
    #[serde(flatten)]
    change: MemberChange,
}

#[derive(Serialize, Deserialize)]
struct RoomBody {
    name: Option<RoomName>,
    topic: Topic,
    version: u64,
}

fn json(value: &impl Serialize) -> Option<Vec<u8>> {
    Some(serde_json::to_vec(value).expect("bodies hold only strings, numbers and booleans"))
}

impl Content {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Message { .. } => Kind::Message,
            Self::Edit { .. } => Kind::Edit,
            Self::Delete { .. } => Kind::Delete,
            Self::Reaction { .. } => Kind::Reaction,
            Self::Pin { .. } => Kind::Pin,
            Self::Member { .. } => Kind::Member,
            Self::Room { .. } => Kind::Room,
            Self::Blank { kind, .. } => *kind,
        }
    }

    /// The message that the event is about; a message's `reply_to`.
    #[must_use]
    pub const fn target(&self) -> Option<Seq> {
        match self {
            Self::Message { reply_to, .. } => *reply_to,
            Self::Edit { target, .. }
            | Self::Delete { target }
            | Self::Reaction { target, .. }
            | Self::Pin { target, .. } => Some(*target),
            Self::Member { .. } | Self::Room { .. } => None,
            Self::Blank { target, .. } => *target,
        }
    }

    /// The names that it mentions, folded: [`mention::names`] of a message's text or its new one.
    /// Only its readers know whom ciphertext mentions.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Message { body, enc: false, .. } | Self::Edit { body, enc: false, .. } => {
                mention::names(body)
            }
            _ => Vec::new(),
        }
    }

    /// About how many bytes of memory the content holds on to.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Message { body, .. } | Self::Edit { body, .. } => body.len(),
            Self::Reaction { emoji, .. } => emoji.len(),
            Self::Member { username, .. } => username.len(),
            Self::Room { topic, .. } => topic.as_str().len(),
            Self::Delete { .. } | Self::Pin { .. } | Self::Blank { .. } => 0,
        }
    }

    /// The form that databases keep.
    #[must_use]
    pub fn to_parts(&self) -> EventParts {
        let (thread, enc, body) = match self {
            Self::Message { body, thread, enc, .. } => {
                (*thread, *enc, Some(body.as_bytes().to_vec()))
            }
            Self::Edit { body, enc, .. } => (None, *enc, Some(body.as_bytes().to_vec())),
            Self::Delete { .. } | Self::Blank { .. } => (None, false, None),
            Self::Reaction { emoji, on, .. } => {
                (None, false, json(&ReactionBody { emoji: emoji.clone(), on: *on }))
            }
            Self::Pin { on, .. } => (None, false, json(&PinBody { on: *on })),
            Self::Member { user, username, change } => {
                let body = MemberBody { user: *user, username: username.clone(), change: *change };
                (None, false, json(&body))
            }
            Self::Room { name, topic, version } => {
                let body = RoomBody { name: name.clone(), topic: topic.clone(), version: *version };
                (None, false, json(&body))
            }
        };
        EventParts { kind: self.kind(), target: self.target(), thread, enc, body }
    }

    /// Reads the form that databases keep.
    ///
    /// # Errors
    /// [`UnreadableEvent`] when the body is not what its kind promises.
    pub fn from_parts(parts: EventParts) -> Result<Self, UnreadableEvent> {
        let EventParts { kind, target, thread, enc, body } = parts;
        let unreadable = |why: &dyn std::fmt::Display| UnreadableEvent {
            kind: kind.as_str(),
            why: why.to_string(),
        };
        let about = || target.ok_or_else(|| unreadable(&"it names no message"));
        if kind == Kind::Delete {
            return Ok(Self::Delete { target: about()? });
        }
        let Some(body) = body else { return Ok(Self::Blank { kind, target }) };
        let text = || std::str::from_utf8(&body).map(Arc::from).map_err(|e| unreadable(&e));
        Ok(match kind {
            Kind::Message => Self::Message { body: text()?, reply_to: target, thread, enc },
            Kind::Edit => Self::Edit { target: about()?, body: text()?, enc },
            Kind::Delete => Self::Delete { target: about()? },
            Kind::Reaction => {
                let ReactionBody { emoji, on } =
                    serde_json::from_slice(&body).map_err(|e| unreadable(&e))?;
                Self::Reaction { target: about()?, emoji, on }
            }
            Kind::Pin => {
                let PinBody { on } = serde_json::from_slice(&body).map_err(|e| unreadable(&e))?;
                Self::Pin { target: about()?, on }
            }
            Kind::Member => {
                let MemberBody { user, username, change } =
                    serde_json::from_slice(&body).map_err(|e| unreadable(&e))?;
                Self::Member { user, username, change }
            }
            Kind::Room => {
                let RoomBody { name, topic, version } =
                    serde_json::from_slice(&body).map_err(|e| unreadable(&e))?;
                Self::Room { name, topic, version }
            }
        })
    }
}

/// A change that a room decided on and the database has not committed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Who it is from.
    pub sender: Sender,
    /// From which of their devices.
    pub device: Option<DeviceId>,
    /// The idempotency key.
    pub key: Key,
    /// When the room decided.
    pub sent_at: Timestamp,
    /// What it says.
    pub content: Content,
}

impl Draft {
    /// The event that this draft becomes at `seq`.
    #[must_use]
    pub fn at(self, seq: Seq) -> Event {
        let Self { sender, device, key, sent_at, content } = self;
        Event { seq, sender, device, key, sent_at, content }
    }
}

/// A committed entry of a room's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the room's log.
    pub seq: Seq,
    /// Who it is from.
    pub sender: Sender,
    /// From which of their devices.
    pub device: Option<DeviceId>,
    /// The idempotency key that it was sent with.
    pub key: Key,
    /// When the room decided on it.
    pub sent_at: Timestamp,
    /// What it says.
    pub content: Content,
}

impl Event {
    /// Whether a delete of `target` blanks this event: it is the message itself or an edit of it.
    #[must_use]
    pub fn is_blanked_by_delete_of(&self, target: Seq) -> bool {
        let itself = self.seq == target && self.content.kind() == Kind::Message;
        itself || (self.content.kind() == Kind::Edit && self.content.target() == Some(target))
    }

    /// The same entry with its content taken away.
    #[must_use]
    pub fn blanked(&self) -> Self {
        let content = Content::Blank { kind: self.content.kind(), target: self.content.target() };
        Self { content, ..self.clone() }
    }
}

/// A deleted message as folded history shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Who deleted it.
    pub by: Sender,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_survives_the_form_that_databases_keep() {
        let contents = [
            Content::Message {
                body: "héllo".into(),
                reply_to: Some(Seq(3)),
                thread: Some(Seq(2)),
                enc: true,
            },
            Content::Edit { target: Seq(1), body: "b".into(), enc: false },
            Content::Delete { target: Seq(1) },
            Content::Reaction { target: Seq(1), emoji: "👍".into(), on: true },
            Content::Pin { target: Seq(9), on: false },
            Content::Member {
                user: UserId::generate(),
                username: "ann".into(),
                change: MemberChange::Joined { role: Role::Owner },
            },
            Content::Member {
                user: UserId::generate(),
                username: "ann".into(),
                change: MemberChange::Kicked,
            },
            Content::Room { name: None, topic: Topic::default(), version: 4 },
            Content::Blank { kind: Kind::Message, target: None },
        ];
        for content in contents {
            let read = Content::from_parts(content.to_parts()).expect("a known form");
            assert_eq!(read, content);
        }
    }

    #[test]
    fn texts_mention_and_ciphertext_does_not() {
        let body: Arc<str> = "@Ann".into();
        let message =
            |enc| Content::Message { body: body.clone(), reply_to: None, thread: None, enc };
        let edit = |enc| Content::Edit { target: Seq(1), body: body.clone(), enc };
        assert_eq!([message(false).names(), edit(false).names()], [["ann"], ["ann"]]);
        let reaction = Content::Reaction { target: Seq(1), emoji: body.clone(), on: true };
        for none in [message(true), edit(true), reaction] {
            assert!(none.names().is_empty(), "{none:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_what_its_kind_promises_is_named() {
        let parts = EventParts {
            kind: Kind::Pin,
            target: Some(Seq(1)),
            thread: None,
            enc: false,
            body: Some(b"nonsense".to_vec()),
        };
        let error = Content::from_parts(parts).expect_err("not JSON");
        assert!(error.to_string().contains("pin"), "{error}");
    }
}
