//! A room's name, kind, settings and roles.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Key, RoomId, RoomRef, TenantId, Timestamp, UserId};
use super::refusal::Refusal;
use crate::limits;

/// What a room is, which decides who may see and join it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomKind {
    /// Listed; anybody in the tenant may join.
    Public,
    /// Seen by its members only; a moderator adds people.
    Private,
    /// Two users, or one with themselves. No entry in the directory.
    Direct,
    /// The tenant's default room, in which everyone is. No rows of membership.
    Lobby,
}

/// What a member may do. The order is the order of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i16)]
pub enum Role {
    /// Reads and writes.
    Member = 1,
    /// Also deletes other people's messages, adds and removes members, renames.
    Moderator = 2,
    /// Also makes moderators.
    Owner = 3,
}

impl Role {
    /// The role with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: i16) -> Option<Self> {
        Some(match number {
            1 => Self::Member,
            2 => Self::Moderator,
            3 => Self::Owner,
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
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Owner => "owner",
        }
    }
}

/// A room's name: 1 to 80 characters, trimmed, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Checks and trims a name.
    ///
    /// # Errors
    /// `bad_request` that names the rule which the text breaks.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 || length > limits::ROOM_NAME_CHARS_MAX {
            return Err(Refusal::bad_request(format!(
                "name has {length} characters; allowed are 1 to {}",
                limits::ROOM_NAME_CHARS_MAX
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::bad_request(
                "name holds a control character; allowed are printable ones",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that is unique among a tenant's public rooms: as [`Self::fold`] makes it.
    #[must_use]
    pub fn folded(&self) -> String {
        Self::fold(&self.0)
    }

    /// A name, or the beginning of one, without case: lower case, with one form of the Greek sigma. Lower
    /// case makes another one of it at a word's end, and so of a beginning that ends there.
    #[must_use]
    pub fn fold(text: &str) -> String {
        text.to_lowercase().replace('ς', "σ")
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A room's topic: up to 500 characters, may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks and trims a topic.
    ///
    /// # Errors
    /// `bad_request` when it is too long or holds control characters.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let length = text.chars().count();
        if length > limits::TOPIC_CHARS_MAX {
            return Err(Refusal::bad_request(format!(
                "topic has {length} characters; allowed are up to {}",
                limits::TOPIC_CHARS_MAX
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::bad_request(
                "topic holds a control character; allowed are printable ones",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What moderators may set on a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoomSettings {
    /// Slow mode: a member's messages are at least this many seconds apart; 0 is off. Moderators are exempt.
    #[serde(default)]
    pub slow_mode_seconds: u32,
}

/// What the directory knows of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMeta {
    /// The tenant.
    pub tenant: TenantId,
    /// The room.
    pub id: RoomId,
    /// Its kind.
    pub kind: RoomKind,
    /// Its name; direct conversations have none.
    pub name: Option<RoomName>,
    /// Its topic.
    pub topic: Topic,
    /// Its settings.
    pub settings: RoomSettings,
    /// Grows by one with each change of name, topic or settings; the first is 1, and 0 is for
    /// rooms without an entry in the directory.
    pub version: u64,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// The key that it was made with, so that making it again gives the same room.
    pub key: Key,
    /// Who made the last change.
    pub changed_by: UserId,
}

impl RoomMeta {
    /// The room with its tenant.
    #[must_use]
    pub const fn at(&self) -> RoomRef {
        RoomRef { tenant: self.tenant, room: self.id }
    }

    /// A tenant's lobby, which is not in the directory.
    #[must_use]
    pub fn lobby(tenant: TenantId) -> Self {
        Self {
            kind: RoomKind::Lobby,
            name: Some(RoomName("lobby".into())),
            ..Self::unlisted(tenant, RoomId::lobby(tenant))
        }
    }

    /// A room that the directory has no entry of, as far as its id tells: the lobby or a direct
    /// conversation. Anybody can make up the id of one.
    #[must_use]
    pub fn without_entry(at: RoomRef) -> Option<Self> {
        if at.room == RoomId::lobby(at.tenant) {
            return Some(Self::lobby(at.tenant));
        }
        // Ids made by hashing are direct conversations.
        (at.room.0.get_version_num() == 8).then(|| Self::direct(at.tenant, at.room))
    }

    /// A direct conversation, which is not in the directory.
    #[must_use]
    pub fn direct(tenant: TenantId, id: RoomId) -> Self {
        Self::unlisted(tenant, id)
    }

    fn unlisted(tenant: TenantId, id: RoomId) -> Self {
        let nobody = UserId(uuid::Uuid::nil());
        Self {
            tenant,
            id,
            kind: RoomKind::Direct,
            name: None,
            topic: Topic::default(),
            settings: RoomSettings::default(),
            version: 0,
            created_by: nobody,
            created_at: Timestamp(0),
            key: Key(uuid::Uuid::nil()),
            changed_by: nobody,
        }
    }
}
