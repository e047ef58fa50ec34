//! Events as clients see them: live, and as entries of history.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Kind, Role, Text, Timestamp};

/// A user and the name to show.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User<'a> {
    /// The account.
    pub id: Uuid,
    /// Its name.
    #[serde(borrow)]
    pub username: Text<'a>,
}

/// What happened to a member.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberChange {
    /// Became a member; `role` says as what.
    Joined,
    /// Went by themselves.
    Left,
    /// Was removed by a moderator.
    Kicked,
    /// Stays with another `role`.
    Role,
}

/// One event of a room's log. Which of the optional fields are there follows from `kind`:
///
/// | kind | fields |
/// | --- | --- |
/// | message | `body`, `reply_to`?, `thread`?, `enc`? |
/// | edit | `target`, `body`, `enc`? |
/// | delete | `target` |
/// | reaction | `target`, `emoji`, `on` |
/// | pin | `target`, `on` |
/// | member | `user`, `change`, `role` (with joined and role) |
/// | room | `name`?, `topic`, `version` |
///
/// A message or edit without `body` was blanked by a delete or by retention.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// Its place in the room's log.
    pub seq: u64,
    /// What kind of event it is.
    pub kind: Kind,
    /// Who it is from.
    #[serde(borrow)]
    pub sender: User<'a>,
    /// When the room decided on it.
    pub sent_at: Timestamp,
    /// The idempotency key that it was sent with.
    pub key: Uuid,
    /// The text of a message or edit; absent once blanked.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Text<'a>>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// The message that opened the thread this one belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<u64>,
    /// The body is end-to-end encrypted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub enc: bool,
    /// The message that the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u64>,
    /// The emoji or short name of a reaction.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub emoji: Option<Text<'a>>,
    /// Put on, or taken off (reaction, pin).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Whose membership changed.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User<'a>>,
    /// How it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<MemberChange>,
    /// The role from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The room's name from now on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// The room's topic from now on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text<'a>>,
    /// The version of the room's metadata that a `room` event tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// An emoji and who put it on a message.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactions<'a> {
    /// The emoji.
    #[serde(borrow)]
    pub emoji: Text<'a>,
    /// Who, in the order in which they did.
    #[serde(borrow)]
    pub users: Vec<User<'a>>,
}

/// What stands for a deleted message.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone<'a> {
    /// Who deleted it.
    #[serde(borrow)]
    pub by: User<'a>,
    /// When.
    pub at: Timestamp,
}

/// One entry of history: an event, and in the folded view what became of the message since.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// The event; in the folded view a message carries its latest body.
    #[serde(borrow, flatten)]
    pub event: Event<'a>,
    /// When the body was last replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// Set when the message was deleted; its body is gone.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Tombstone<'a>>,
    /// Who put which emoji on it.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reactions<'a>>,
    /// It is pinned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}

impl User<'_> {
    /// The same user, on its own.
    #[must_use]
    pub fn into_owned(self) -> User<'static> {
        User { id: self.id, username: self.username.into_owned() }
    }
}

impl<'a> Event<'a> {
    /// An event with the fields that every kind has.
    #[must_use]
    pub const fn new(
        seq: u64,
        kind: Kind,
        sender: User<'a>,
        sent_at: Timestamp,
        key: Uuid,
    ) -> Self {
        Self {
            seq,
            kind,
            sender,
            sent_at,
            key,
            body: None,
            reply_to: None,
            thread: None,
            enc: false,
            target: None,
            emoji: None,
            on: None,
            user: None,
            change: None,
            role: None,
            name: None,
            topic: None,
            version: None,
        }
    }

    /// The same event, on its own.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        Event {
            seq: self.seq,
            kind: self.kind,
            sender: self.sender.into_owned(),
            sent_at: self.sent_at,
            key: self.key,
            body: self.body.map(Text::into_owned),
            reply_to: self.reply_to,
            thread: self.thread,
            enc: self.enc,
            target: self.target,
            emoji: self.emoji.map(Text::into_owned),
            on: self.on,
            user: self.user.map(User::into_owned),
            change: self.change,
            role: self.role,
            name: self.name.map(Text::into_owned),
            topic: self.topic.map(Text::into_owned),
            version: self.version,
        }
    }
}

impl<'a> From<Event<'a>> for Entry<'a> {
    fn from(event: Event<'a>) -> Self {
        Self { event, edited_at: None, deleted: None, reactions: Vec::new(), pinned: false }
    }
}

impl Entry<'_> {
    /// The same entry, on its own.
    #[must_use]
    pub fn into_owned(self) -> Entry<'static> {
        let tombstone = |t: Tombstone<'_>| Tombstone { by: t.by.into_owned(), at: t.at };
        let reactions = |r: Reactions<'_>| Reactions {
            emoji: r.emoji.into_owned(),
            users: r.users.into_iter().map(User::into_owned).collect(),
        };
        Entry {
            event: self.event.into_owned(),
            edited_at: self.edited_at,
            deleted: self.deleted.map(tombstone),
            reactions: self.reactions.into_iter().map(reactions).collect(),
            pinned: self.pinned,
        }
    }
}
