//! Ids and positions. Each is a newtype: no bare integer or UUID crosses a module.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Number of shards, fixed for ever: the shard is the last byte of a room's id.
pub const SHARD_COUNT: usize = 256;

/// What a string that is not a UUID is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID; write it as 8-4-4-4-12 hexadecimal digits")]
pub struct NotAUuid;

/// A room. UUIDv7 for created rooms, UUIDv8 for direct conversations and the lobby.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct RoomId(pub Uuid);

impl RoomId {
    /// A new id that sorts by creation time (UUIDv7, RFC 9562).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomId({})", self.0)
    }
}

impl FromStr for RoomId {
    type Err = NotAUuid;
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotAUuid)
    }
}

/// A user account, UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct UserId(pub Uuid);

impl UserId {
    /// A new id that sorts by creation time (UUIDv7, RFC 9562).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({})", self.0)
    }
}

impl FromStr for UserId {
    type Err = NotAUuid;
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotAUuid)
    }
}

/// One client connection's state, UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct SessionId(pub Uuid);

impl SessionId {
    /// A new id that sorts by creation time (UUIDv7, RFC 9562).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

impl FromStr for SessionId {
    type Err = NotAUuid;
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotAUuid)
    }
}

/// One of a user's devices, UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct DeviceId(pub Uuid);

impl DeviceId {
    /// A new id that sorts by creation time (UUIDv7, RFC 9562).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.0)
    }
}

impl FromStr for DeviceId {
    type Err = NotAUuid;
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotAUuid)
    }
}

/// A client's idempotency key for one change, any UUID; unique for a sender in a room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Key(pub Uuid);

impl Key {
    /// Whether the key has the form of those that the server derives (UUIDv8). Clients may not
    /// use it: they could take the key of an event that a room has yet to append.
    #[must_use]
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 8
    }

    /// A new id that sorts by creation time (UUIDv7, RFC 9562).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

impl FromStr for Key {
    type Err = NotAUuid;
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotAUuid)
    }
}

/// Position in a room's log; the first event has 1, and 0 means "before everything".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position in a shard's stream of all its rooms' events in a tenant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Pos(pub u64);

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Changes only if the database itself lost history.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Gen(pub u64);

impl fmt::Display for Gen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Grows with each assignment of a shard to an owner, never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Grows with each process start and lane reconnect of an owner within its epoch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Turn(pub u64);

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One process of the server.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An organisation. `TenantId::MAIN` exists from the start.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct TenantId(pub u32);

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Seq {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl TenantId {
    /// The tenant that every installation has.
    pub const MAIN: Self = Self(1);
}

/// One of the 256 fixed groups of rooms; the unit of ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ShardId(pub u8);

impl ShardId {
    /// Every shard, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wall clock, read once. Only shells call this; decisions are given the time.
    #[must_use]
    pub fn now() -> Self {
        let since =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A room and the tenant it belongs to: what every call about a room carries.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct RoomRef {
    /// The organisation.
    pub tenant: TenantId,
    /// The room.
    pub room: RoomId,
}

impl RoomRef {
    /// The shard that owns the room: the last byte of its id.
    #[must_use]
    pub const fn shard(self) -> ShardId {
        self.room.shard()
    }
}

impl fmt::Display for RoomRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.room)
    }
}

impl RoomId {
    /// The shard of the room: the last byte of its id.
    #[must_use]
    pub const fn shard(self) -> ShardId {
        ShardId(self.0.as_bytes()[15])
    }

    /// The tenant's lobby, in which everyone is: a fixed UUIDv8 without rows or events of membership.
    #[must_use]
    pub fn lobby(tenant: TenantId) -> Self {
        Self(derived(&[b"lobby", &tenant.0.to_be_bytes()]))
    }

    /// The direct conversation of two users, the same whoever opens it (UUIDv8 of a SHA-256).
    #[must_use]
    pub fn direct(tenant: TenantId, one: UserId, other: UserId) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self(derived(&[b"direct", &tenant.0.to_be_bytes(), low.0.as_bytes(), high.0.as_bytes()]))
    }
}

impl Key {
    /// The key of the event that tells a room about a version of its own metadata. The same on
    /// every node and after every crash, so the event is appended once.
    #[must_use]
    pub fn of_room_version(room: RoomId, version: u64) -> Self {
        Self(derived(&[b"room-version", room.0.as_bytes(), &version.to_be_bytes()]))
    }

    /// The key of the event by which a user becomes a member of a direct conversation.
    #[must_use]
    pub fn of_meeting(room: RoomId, user: UserId) -> Self {
        Self(derived(&[b"direct-member", room.0.as_bytes(), user.0.as_bytes()]))
    }

    /// The key of the event by which a room's creator joins it.
    #[must_use]
    pub fn of_creator(room: RoomId) -> Self {
        Self(derived(&[b"room-creator", room.0.as_bytes()]))
    }
}

/// A UUIDv8 made from a SHA-256 over the length-prefixed parts.
fn derived(parts: &[&[u8]]) -> Uuid {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finish().as_ref()[..16]);
    Uuid::new_v8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_conversation_has_one_id_from_either_side() {
        let (one, other) = (UserId::generate(), UserId::generate());
        let id = RoomId::direct(TenantId::MAIN, one, other);
        assert_eq!(id, RoomId::direct(TenantId::MAIN, other, one));
        assert_ne!(id, RoomId::direct(TenantId(2), one, other));
        assert_eq!(id.0.get_version_num(), 8);
    }

    #[test]
    fn the_shard_is_the_last_byte_of_the_id() {
        let room = RoomId(Uuid::from_u128(0x00ab));
        assert_eq!(room.shard(), ShardId(0xab));
    }

    #[test]
    fn the_lobby_id_never_changes() {
        let id = RoomId::lobby(TenantId::MAIN).to_string();
        assert_eq!(id, RoomId::lobby(TenantId(1)).to_string());
        assert_ne!(id, RoomId::lobby(TenantId(2)).to_string());
    }
}
