//! What is written to the directory's log and what comes of it. Everything that is not in the
//! state already comes in the command: ids, times, and names folded by whoever proposes, because
//! nodes of different versions may fold differently.
//!
//! These types are on disk. Postcard numbers variants and fields by their order: variants are
//! added at the end, and a variant's fields never change; a command that needs another field is
//! another variant. The tests hold the bytes of each.

mod cluster;

use std::fmt;
use std::sync::Arc;

use parlance_actors::ports::directory::{NewRoom, RoomChange};
use parlance_actors::vocab::{
    Epoch, Key, NodeId, RoomId, RoomKind, RoomMeta, RoomName, RoomRef, RoomSettings, TenantId,
    Timestamp, Topic, UserId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::cluster::Cause;
pub(crate) use self::cluster::{
    AdmitNode, Assign, BeginMove, Duty, FindHistory, Pin, Release, RemoveNode, Restore,
    SetNodeState,
};

/// A change of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// The first one of a cluster: its id, its first node, the tenant `main`, and every shard.
    Bootstrap(Bootstrap),
    /// Makes a room.
    CreateRoom(CreateRoom),
    /// Changes a room.
    ChangeRoom(ChangeRoom),
    /// Admits a node, or hears where one is that came back.
    AdmitNode(AdmitNode),
    /// Takes a node out for good.
    RemoveNode(RemoveNode),
    /// Gives shards other owners at once.
    Assign(Assign),
    /// Begins a planned move.
    BeginMove(BeginMove),
    /// Ends a planned move.
    Release(Release),
    /// Pins a shard or lets it go.
    Pin(Pin),
    /// Has a node drain, or no longer.
    SetNodeState(SetNodeState),
    /// Raises a shard's generation.
    FindHistory(FindHistory),
    /// Puts rooms back into a directory that was made anew.
    Restore(Restore),
}

/// See [`Command::Bootstrap`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bootstrap {
    pub(super) cluster: Uuid,
    pub(super) node: NodeId,
    /// What every epoch is counted from: at or above every fence in the database.
    pub(super) epoch_base: Epoch,
}

/// See [`Command::CreateRoom`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreateRoom {
    pub(super) tenant: TenantId,
    pub(super) id: RoomId,
    pub(super) key: Key,
    pub(super) kind: ListedKind,
    pub(super) name: FoldedName,
    pub(super) topic: Topic,
    pub(super) by: UserId,
    pub(super) at: Timestamp,
}

/// See [`Command::ChangeRoom`]. `None` leaves a thing as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangeRoom {
    pub(super) tenant: TenantId,
    pub(super) room: RoomId,
    pub(super) name: Option<FoldedName>,
    pub(super) topic: Option<Topic>,
    pub(super) slow_mode_seconds: Option<u32>,
    pub(super) by: UserId,
}

/// The kinds of room that have an entry here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ListedKind {
    Public,
    Private,
}

/// A room's name with the form in which it is unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoldedName {
    pub(super) name: RoomName,
    pub(super) folded: Arc<str>,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Response {
    /// Done; there is nothing to tell.
    Done,
    /// The room as it is now, and whether this command changed it.
    Room {
        /// The room.
        room: RoomRecord,
        /// It was made or changed.
        changed: bool,
    },
    /// Nothing was changed: another room has the name.
    NameTaken,
    /// Nothing was changed: there is no such room.
    NoSuchRoom,
    /// Nothing was changed, and never will be by this command.
    Refused(String),
    /// The node is in the cluster with this id.
    Admitted(NodeId),
}

/// A room as snapshots and answers carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomRecord {
    pub(super) tenant: TenantId,
    pub(super) id: RoomId,
    pub(super) kind: ListedKind,
    pub(super) name: FoldedName,
    pub(super) topic: Topic,
    pub(super) slow_mode_seconds: u32,
    pub(super) version: u64,
    pub(super) created_by: UserId,
    pub(super) created_at: Timestamp,
    pub(super) key: Key,
    pub(super) changed_by: UserId,
}

impl Command {
    /// The command for a new room; why not, when its kind has no entry in the directory.
    pub(super) fn create_room(new: NewRoom) -> Result<Self, String> {
        let NewRoom { tenant, id, key, kind, name, topic, by, at } = new;
        let kind = match kind {
            RoomKind::Public => ListedKind::Public,
            RoomKind::Private => ListedKind::Private,
            RoomKind::Direct | RoomKind::Lobby => {
                return Err(format!("a {kind:?} room has no entry in the directory"));
            }
        };
        let name = FoldedName::new(name);
        Ok(Self::CreateRoom(CreateRoom { tenant, id, key, kind, name, topic, by, at }))
    }

    pub(super) fn change_room(room: RoomRef, change: RoomChange, by: UserId) -> Self {
        let RoomChange { name, topic, settings } = change;
        Self::ChangeRoom(ChangeRoom {
            tenant: room.tenant,
            room: room.room,
            name: name.map(FoldedName::new),
            topic,
            slow_mode_seconds: settings.map(|settings| settings.slow_mode_seconds),
            by,
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrap(first) => write!(f, "bootstrap {}", first.cluster),
            Self::CreateRoom(new) => write!(f, "create room {}/{}", new.tenant, new.id),
            Self::ChangeRoom(change) => write!(f, "change room {}/{}", change.tenant, change.room),
            Self::AdmitNode(node) => write!(f, "admit node {}", node.name),
            Self::RemoveNode(gone) => write!(f, "remove node {}", gone.node),
            Self::Assign(assign) => {
                write!(f, "assign {} shards ({})", assign.moves.len(), assign.cause.as_str())
            }
            Self::BeginMove(begin) => write!(f, "begin to move {} to {}", begin.shard, begin.to),
            Self::Release(release) => write!(f, "release {}", release.shard),
            Self::Pin(pin) => write!(f, "pin {} to {:?}", pin.shard, pin.to),
            Self::SetNodeState(set) => write!(f, "node {} is {:?}", set.node, set.state),
            Self::FindHistory(found) => {
                write!(f, "shard {} has generation {}", found.shard, found.r#gen.0)
            }
            Self::Restore(restore) => write!(f, "restore {} rooms", restore.rooms.len()),
        }
    }
}

impl From<ListedKind> for RoomKind {
    fn from(kind: ListedKind) -> Self {
        match kind {
            ListedKind::Public => Self::Public,
            ListedKind::Private => Self::Private,
        }
    }
}

impl FoldedName {
    pub(super) fn new(name: RoomName) -> Self {
        let folded = name.folded().into();
        Self { name, folded }
    }
}

impl From<RoomRecord> for RoomMeta {
    fn from(record: RoomRecord) -> Self {
        Self {
            tenant: record.tenant,
            id: record.id,
            kind: record.kind.into(),
            name: Some(record.name.name),
            topic: record.topic,
            settings: RoomSettings { slow_mode_seconds: record.slow_mode_seconds },
            version: record.version,
            created_by: record.created_by,
            created_at: record.created_at,
            key: record.key,
            changed_by: record.changed_by,
        }
    }
}

impl RoomRecord {
    /// The record of a room that has an entry here; `None` for one that has not.
    pub(super) fn of(meta: &RoomMeta) -> Option<Self> {
        let kind = match meta.kind {
            RoomKind::Public => ListedKind::Public,
            RoomKind::Private => ListedKind::Private,
            RoomKind::Direct | RoomKind::Lobby => return None,
        };
        Some(Self {
            tenant: meta.tenant,
            id: meta.id,
            kind,
            name: FoldedName::new(meta.name.clone()?),
            topic: meta.topic.clone(),
            slow_mode_seconds: meta.settings.slow_mode_seconds,
            version: meta.version,
            created_by: meta.created_by,
            created_at: meta.created_at,
            key: meta.key,
            changed_by: meta.changed_by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Uuid {
        Uuid::from_bytes([n; 16])
    }

    fn name(text: &str) -> FoldedName {
        FoldedName::new(RoomName::parse(text).expect("a valid name"))
    }

    fn hex(command: &Command) -> String {
        let bytes = postcard::to_stdvec(command).expect("commands encode");
        assert_eq!(&postcard::from_bytes::<Command>(&bytes).expect("decodes"), command);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_commands_on_disk_never_change() {
        let bootstrap = Bootstrap { cluster: id(0xaa), node: NodeId(1), epoch_base: Epoch(300) };
        assert_eq!(
            hex(&Command::Bootstrap(bootstrap)),
            format!("00{}{}{}", "10".to_owned() + &"aa".repeat(16), "01", "ac02")
        );
        let create = CreateRoom {
            tenant: TenantId(1),
            id: RoomId(id(1)),
            key: Key(id(2)),
            kind: ListedKind::Private,
            name: name("Hi"),
            topic: Topic::parse("t").expect("a valid topic"),
            by: UserId(id(3)),
            at: Timestamp(64),
        };
        let uuid = |n: &str| "10".to_owned() + &n.repeat(16);
        assert_eq!(
            hex(&Command::CreateRoom(create)),
            [
                "01",
                "01",
                &uuid("01"),
                &uuid("02"),
                "01",
                "024869",
                "026869",
                "0174",
                &uuid("03"),
                "8001"
            ]
            .concat()
        );
        let change = ChangeRoom {
            tenant: TenantId(1),
            room: RoomId(id(1)),
            name: None,
            topic: None,
            slow_mode_seconds: Some(5),
            by: UserId(id(3)),
        };
        assert_eq!(
            hex(&Command::ChangeRoom(change)),
            ["02", "01", &uuid("01"), "00", "00", "0105", &uuid("03")].concat()
        );
    }
}
