//! The bodies of HTTP requests and answers. Requests refuse fields that they do not know; answers
//! may gain fields.

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::{Entry, Role, RoomKind, Text, Timestamp, User};

pub use crate::server::{Account, Page, Posted};

/// A user, with what they say of themselves.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile<'a> {
    /// The account.
    pub id: Uuid,
    /// Its name, unique and never another.
    #[serde(borrow)]
    pub username: Text<'a>,
    /// The name to be shown, if there is one. It is not unique.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// A line about them, if there is one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Text<'a>>,
}

/// The caller's own account: `GET /api/me` and `PATCH /api/me`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me<'a> {
    /// The account.
    pub id: Uuid,
    /// Its name, unique and never another.
    #[serde(borrow)]
    pub username: Text<'a>,
    /// May administer the tenant.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub admin: bool,
    /// The name to be shown, if there is one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// A line about them, if there is one.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Text<'a>>,
}

/// `PATCH /api/me`: what is absent stays, what is empty or null is removed.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeProfile<'a> {
    /// The name to be shown from now on: one line, and no other user's username.
    #[serde(
        borrow,
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub name: Option<Text<'a>>,
    /// The line about the user from now on.
    #[serde(
        borrow,
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub about: Option<Text<'a>>,
}

/// A field that is there; with null it is an empty text.
fn null_is_empty<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Text<'de>>, D::Error> {
    Option::<Text<'de>>::deserialize(source).map(|text| Some(text.unwrap_or_else(|| "".into())))
}

/// `POST /api/auth/register`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials<'a> {
    /// The account's name.
    #[serde(borrow)]
    pub username: Text<'a>,
    /// Its password.
    #[serde(borrow)]
    pub password: Text<'a>,
}

/// `POST /api/auth/login`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login<'a> {
    /// The account's name.
    #[serde(borrow)]
    pub username: Text<'a>,
    /// Its password.
    #[serde(borrow)]
    pub password: Text<'a>,
    /// For browsers: the tokens go into cookies and the answer is [`SignedIn`].
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub cookie: bool,
}

/// What a login or refresh with cookies gives.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn<'a> {
    /// The account.
    pub id: Uuid,
    /// Its name.
    #[serde(borrow)]
    pub username: Text<'a>,
    /// May administer the tenant.
    pub admin: bool,
    /// How long the access token in the cookie lasts, in seconds.
    pub expires_in: u64,
}

/// What a login or refresh gives.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens<'a> {
    /// Goes into `Authorization: Bearer …` and into `hello`.
    #[serde(borrow)]
    pub access_token: Text<'a>,
    /// Always `bearer`.
    #[serde(borrow)]
    pub token_type: Text<'a>,
    /// How long the access token lasts, in seconds.
    pub expires_in: u64,
    /// Gives the next pair, once.
    #[serde(borrow)]
    pub refresh_token: Text<'a>,
}

/// `POST /api/auth/refresh` and `/logout`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh<'a> {
    /// The last one that was given.
    #[serde(borrow)]
    pub refresh_token: Text<'a>,
}

/// What `POST /api/auth/ws-ticket` gives.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket<'a> {
    /// Goes into `GET /ws?ticket=…`, once.
    #[serde(borrow)]
    pub ticket: Text<'a>,
    /// How long it lasts, in seconds.
    pub expires_in: u64,
}

/// `POST /api/rooms`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRoom<'a> {
    /// The idempotency key; the server makes one when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
    /// The name; a public room's is unique in the tenant.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// `public` or `private`.
    pub kind: RoomKind,
    /// What it is about.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text<'a>>,
}

/// `PATCH /api/rooms/{id}`: what is absent stays.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRoom<'a> {
    /// The idempotency key; the server makes one when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
    /// The name from now on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<'a>>,
    /// The topic from now on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text<'a>>,
    /// Seconds between two messages of a member; 0 is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_mode_seconds: Option<u32>,
}

/// `POST /api/rooms/direct`: opens the conversation with another user.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenDirect {
    /// The other one.
    pub user: Uuid,
}

/// A room as the caller sees it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room<'a> {
    /// The room.
    pub id: Uuid,
    /// Its name; a direct conversation has none.
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    /// Who may find and join it.
    pub kind: RoomKind,
    /// What it is about.
    #[serde(borrow, default)]
    pub topic: Text<'a>,
    /// Seconds between two messages of a member; 0 is off.
    #[serde(default)]
    pub slow_mode_seconds: u32,
    /// When it was made; absent for rooms that nobody made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// The caller's role; `null` when they are not a member.
    #[serde(default)]
    pub role: Option<Role>,
    /// How far the caller has read.
    #[serde(default)]
    pub read: u64,
    /// The last seq of its log; 0 while it is empty.
    #[serde(default)]
    pub head: u64,
    /// Messages of others behind `read`, counted up to 100.
    #[serde(default)]
    pub unread: u16,
    /// Messages of others behind `read` that mention the caller, counted up to 100.
    #[serde(default)]
    pub mentions: u16,
    /// When the last event was sent; `null` while there is none.
    #[serde(default)]
    pub last_at: Option<Timestamp>,
    /// The other one of a direct conversation, the caller in one with themselves.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub with: Option<User<'a>>,
    /// How many members it has, counted up to 1,000; only where rooms are browsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
}

impl Room<'_> {
    /// The same room, on its own.
    #[must_use]
    pub fn into_owned(self) -> Room<'static> {
        Room {
            id: self.id,
            name: self.name.map(Text::into_owned),
            kind: self.kind,
            topic: self.topic.into_owned(),
            slow_mode_seconds: self.slow_mode_seconds,
            created_at: self.created_at,
            role: self.role,
            read: self.read,
            head: self.head,
            unread: self.unread,
            mentions: self.mentions,
            last_at: self.last_at,
            with: self.with.map(User::into_owned),
            members: self.members,
        }
    }
}

/// `GET /api/rooms`, ascending by id, and `GET /api/rooms/browse`, ascending by name.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rooms<'a> {
    /// The page.
    #[serde(borrow)]
    pub rooms: Vec<Room<'a>>,
    /// There are more: ask with `after` and the last id.
    pub more: bool,
}

/// `GET /api/rooms/{id}/pins`, the newest pin first.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins<'a> {
    /// At most 100 pinned messages in their latest state.
    #[serde(borrow)]
    pub messages: Vec<Entry<'a>>,
    /// There are more than are shown.
    #[serde(default, skip_serializing_if = "crate::event::is_false")]
    pub more: bool,
}

/// A message that mentions the caller.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mention {
    /// Its room.
    pub room: Uuid,
    /// The message.
    pub seq: u64,
    /// When it first mentioned the caller: when it was sent, or edited so that it does.
    pub at: Timestamp,
}

/// `GET /api/me/mentions`, the newest first.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mentions<'a> {
    /// The page: those in rooms that the caller is in. It may be short, or empty, while there are more.
    pub mentions: Vec<Mention>,
    /// There are more: ask with it as `before`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Text<'a>>,
}

/// One entry of a room's member list.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member<'a> {
    /// Who.
    #[serde(borrow)]
    pub user: User<'a>,
    /// As what.
    pub role: Role,
}

/// `GET /api/rooms/{id}/members`, ascending by id.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members<'a> {
    /// The page.
    #[serde(borrow)]
    pub members: Vec<Member<'a>>,
    /// There are more after the last one.
    #[serde(default)]
    pub more: bool,
}

/// `PUT /api/rooms/{id}/members/{user}`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutMember {
    /// The idempotency key; the server makes one when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
    /// As what. When it is absent, a new one becomes a `member`, and who is in the room keeps their role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// `POST /api/rooms/{id}/messages`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendMessage<'a> {
    /// The idempotency key; the server makes one when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
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

/// Every answer that is not a success.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody<'a> {
    /// The machine-readable reason.
    #[serde(borrow)]
    pub code: Text<'a>,
    /// What is wrong and what is allowed, for a person.
    #[serde(borrow)]
    pub detail: Text<'a>,
    /// When repeating it can help, in milliseconds (`Retry-After` has it in whole seconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
