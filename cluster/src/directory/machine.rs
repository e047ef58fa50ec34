//! The state machine as Raft sees it: applies what is committed, tells of changed rooms once they
//! can be read, makes and takes snapshots. What a command means is decided by [`State`].

use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, OptionalSend};
use parking_lot::RwLock;
use parlance_actors::vocab::RoomRef;
use tokio::sync::{broadcast, watch};

use super::command::{Command, Response};
use super::members::NodeInfo;
use super::snapshot::{Restored, SnapshotFile, Snapshots};
use super::state::{State, StateRecord};
use super::types::{LogId, SnapshotMeta, StoredMembership, Types};
use crate::limits;

/// What readers see: the state after the last applied entry. One lock over all of it, so that its
/// indexes are never seen half changed; it is held for one look-up or one command at a time.
pub(super) struct View {
    pub(super) state: RwLock<State>,
    changes: broadcast::Sender<RoomRef>,
    shards_changed: watch::Sender<u64>,
    nodes: watch::Sender<Arc<[NodeInfo]>>,
    applied: watch::Sender<u64>,
}

impl View {
    pub(super) fn new() -> Self {
        let (changes, _) = broadcast::channel(limits::CHANGES_KEPT);
        Self {
            state: RwLock::default(),
            changes,
            shards_changed: watch::Sender::new(0),
            nodes: watch::Sender::new(Arc::from([])),
            applied: watch::Sender::new(0),
        }
    }

    /// Every node of the cluster, ascending by id, after each change.
    pub(super) fn nodes(&self) -> watch::Receiver<Arc<[NodeInfo]>> {
        self.nodes.subscribe()
    }

    /// The index of the last entry that can be read.
    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<RoomRef> {
        self.changes.subscribe()
    }

    pub(super) fn shards_changed(&self) -> watch::Receiver<u64> {
        self.shards_changed.subscribe()
    }

    pub(super) fn apply(&self, index: u64, command: &Command) -> Response {
        let response = self.state.write().apply(index, command);
        match command {
            Command::CreateRoom(_) | Command::ChangeRoom(_) | Command::Restore(_) => {}
            Command::Assign(_)
            | Command::BeginMove(_)
            | Command::Release(_)
            | Command::Pin(_)
            | Command::FindHistory(_) => self.tell_of_shards(),
            Command::Bootstrap(_)
            | Command::AdmitNode(_)
            | Command::RemoveNode(_)
            | Command::SetNodeState(_) => {
                self.tell_of_nodes();
                self.tell_of_shards();
            }
        }
        if let Response::Room { room, changed: true } = &response {
            let at = RoomRef { tenant: room.tenant, room: room.id };
            // Nobody listens: then nobody needs to hear it.
            let _ = self.changes.send(at);
        }
        response
    }

    /// Everything up to this index can be read.
    pub(super) fn reached(&self, index: u64) {
        self.applied.send_replace(index);
    }

    fn tell_of_shards(&self) {
        self.shards_changed.send_modify(|version| *version += 1);
    }

    fn tell_of_nodes(&self) {
        let state = self.state.read();
        let nodes = state.nodes().map(|(id, record)| NodeInfo::of(id, record)).collect();
        drop(state);
        self.nodes.send_replace(nodes);
    }
}

/// The state with how far the log is applied to it.
pub(crate) struct Machine {
    view: Arc<View>,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Snapshots,
}

impl Machine {
    pub(super) fn new(snapshots: Snapshots, restored: Option<Restored>) -> Self {
        let view = Arc::new(View::new());
        let mut machine =
            Self { view, applied: None, membership: StoredMembership::default(), snapshots };
        if let Some(restored) = restored {
            machine.put(restored);
        }
        machine
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    fn put(&mut self, restored: Restored) {
        self.applied = restored.meta.last_log_id;
        self.membership = restored.meta.last_membership;
        *self.view.state.write() = restored.state;
        self.view.tell_of_nodes();
        self.view.tell_of_shards();
        self.measure();
    }

    fn measure(&self) {
        let last = self.applied.map_or(0, |last| last.index);
        metrics::gauge!("parlance_raft_last_applied").set(last as f64);
        self.view.reached(last);
        let rooms = self.view.state.read().room_count();
        metrics::gauge!("parlance_directory_rooms").set(rooms as f64);
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let started = Instant::now();
            self.applied = Some(entry.log_id);
            let response = match entry.payload {
                EntryPayload::Blank => Response::Done,
                EntryPayload::Normal(command) => self.view.apply(entry.log_id.index, &command),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(self.applied, membership);
                    Response::Done
                }
            };
            metrics::histogram!("parlance_raft_apply_seconds").record(started.elapsed());
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        self.measure();
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
            state: Some(self.view.state.read().record()),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> io::Result<()> {
        let (snapshots, meta) = (self.snapshots.clone(), meta.clone());
        let restored = off_the_runtime(move || {
            let mut restored = snapshot.read().map_err(io::Error::other)?;
            restored.meta = meta;
            snapshots.write(&restored.meta, restored.state.record())?;
            Ok(restored)
        });
        self.put(restored.await?);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<Types, SnapshotFile>>> {
        let newest = self.snapshots.newest()?;
        Ok(newest.map(|(meta, snapshot)| SnapshotOf::<Types, _> { meta, snapshot }))
    }
}

/// Writes the snapshot of one moment.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    /// Taken by the one build.
    state: Option<StateRecord>,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, SnapshotFile>> {
        let state = self.state.take();
        let state = state.ok_or_else(|| io::Error::other("a builder builds one snapshot"))?;
        let (snapshots, meta) = (self.snapshots.clone(), self.meta.clone());
        let snapshot = off_the_runtime(move || snapshots.write(&meta, state)).await?;
        Ok(SnapshotOf::<Types, _> { meta: self.meta.clone(), snapshot })
    }
}

/// Encoding and syncing take long enough to make heartbeats late.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
