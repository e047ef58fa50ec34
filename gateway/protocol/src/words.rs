//! The closed sets of words that frames use.

use serde::{Deserialize, Serialize};

/// The seven kinds of event.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Somebody said something.
    Message,
    /// The author replaced a message's body.
    Edit,
    /// A message was taken away.
    Delete,
    /// An emoji was put on a message, or taken off.
    Reaction,
    /// A message was pinned, or unpinned.
    Pin,
    /// A user joined, left, was kicked or changed role.
    Member,
    /// The room's name or topic changed.
    Room,
}

/// What a member may do in a room.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also deletes others' messages, pins, kicks, adds and changes the room.
    Moderator,
    /// Also names moderators and owners.
    Owner,
}

/// Who may find and join a room.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomKind {
    /// Everybody.
    Public,
    /// Those who were added.
    Private,
    /// Two users.
    Direct,
    /// The room that everybody is in.
    Lobby,
}

/// How a user is seen.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceStatus {
    /// A session with somebody at it.
    Online,
    /// A session, and nobody at it.
    Away,
    /// No session.
    Offline,
}

/// How a page of history is shown.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// Messages in their latest state with reactions and tombstones.
    #[default]
    Folded,
    /// Every event.
    Log,
}
