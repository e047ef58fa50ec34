//! Look-ups in the directory of a node that is alone: who owns a room, and what the room is.

use std::hint::black_box;

use parlance_actors::ports::Directory as _;
use parlance_actors::ports::directory::NewRoom;
use parlance_actors::vocab::{RoomKind, RoomName, RoomRef, TenantId, Topic};
use parlance_cluster::directory::{DirectoryOptions, RaftDirectory};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::part::Part;
use crate::sample;

pub(crate) const LOOKUPS: u64 = 32;

/// A directory with [`LOOKUPS`] rooms.
struct Fixture {
    directory: RaftDirectory,
    rooms: Vec<RoomRef>,
    runtime: Runtime,
    _folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // As in the node: a thread of its own, which is not counted.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let options = DirectoryOptions::new(folder.path());
        let opening = async { RaftDirectory::open(options).await.expect("an empty folder") };
        let directory = runtime.block_on(opening);
        let rooms = (0..LOOKUPS).map(sample::room).collect::<Vec<_>>();
        runtime.block_on(async {
            for (number, room) in rooms.iter().enumerate() {
                let new = NewRoom {
                    tenant: TenantId::MAIN,
                    id: room.room,
                    key: sample::key(number as u64),
                    kind: RoomKind::Public,
                    name: RoomName::parse(&format!("room-{number}")).expect("a valid name"),
                    topic: Topic::default(),
                    by: sample::user(1),
                    at: sample::NOW,
                };
                directory.create_room(new).await.expect("a new room");
            }
        });
        Self { directory, rooms, runtime, _folder: folder }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.runtime.block_on(self.directory.close());
    }
}

pub(crate) struct Owner(Fixture);

impl Owner {
    pub(crate) fn new() -> Self {
        Self(Fixture::new())
    }
}

impl Part for Owner {
    fn run(&mut self) {
        for room in &self.0.rooms {
            let owned = self.0.directory.ownership(black_box(room).shard());
            assert!(black_box(owned).is_some());
        }
    }
}

pub(crate) struct Metadata(Fixture);

impl Metadata {
    pub(crate) fn new() -> Self {
        Self(Fixture::new())
    }
}

impl Part for Metadata {
    fn run(&mut self) {
        for room in &self.0.rooms {
            let meta = self.0.directory.room(black_box(*room));
            assert!(black_box(meta).is_some());
        }
    }
}
