//! The words of the domain as types: ids, events, rooms, users and refusals.
//!
//! Nothing here knows a runtime, a database or a wire; other crates convert at their own edge.

pub mod event;
pub mod ids;
pub mod mention;
pub mod profile;
mod refusal;
pub mod room;
pub mod user;

pub use event::{Content, Draft, Event, EventParts, MemberChange, Sender, Tombstone};
pub use ids::{
    DeviceId, Epoch, Gen, Key, NodeId, NotAUuid, Pos, RoomId, RoomRef, SHARD_COUNT, Seq, SessionId,
    ShardId, TenantId, Timestamp, Turn, UserId,
};
pub use profile::{About, DisplayName, Profile};
pub use refusal::{Code, Refusal};
pub use room::{Role, RoomKind, RoomMeta, RoomName, RoomSettings, Topic};
pub use user::{User, Username};
