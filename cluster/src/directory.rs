//! The directory: tenants, rooms and shards in a Raft group, for now of one voter.
//!
//! Look-ups read the state in memory and never wait. A change goes through the Raft log and is
//! answered when it is durable and applied. Nothing of openraft leaves this module.
//!
//! In the data directory: `lock`, `node.json` (who this node is), and `directory/` with the log
//! (`log.redb`), its mark (`log.mark`) and the newest snapshot.

mod command;
mod config;
mod error;
mod files;
mod identity;
mod log;
mod machine;
mod network;
mod rooms;
mod seal;
mod snapshot;
mod state;
mod types;

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use openraft::errors::Fatal;
use openraft::{Raft, ReadPolicy};
use parking_lot::Mutex;
use parlance_actors::ports::directory::{
    Directory, DirectoryError, NewRoom, Ownership, RoomChange, Tenant,
};
use parlance_actors::vocab::{
    Epoch, NodeId, RoomId, RoomMeta, RoomName, RoomRef, ShardId, TenantId, UserId,
};
use tokio::sync::{broadcast, watch};

pub use self::config::{DirectoryOptions, RaftTiming};
pub use self::error::OpenError;
pub use self::identity::ClusterId;

use self::command::{Bootstrap, Command, Response};
use self::identity::{DataLock, Identity};
use self::log::{Log, LogThread};
use self::machine::{Machine, View};
use self::network::NoPeers;
use self::snapshot::{Restored, Snapshots};
use self::types::{Peer, Types};
use crate::limits;

/// The folder of the directory's files in the data directory.
const FOLDER: &str = "directory";
/// The node that bootstraps a cluster.
const FIRST_NODE: NodeId = NodeId(1);

/// The directory of this node.
pub struct RaftDirectory {
    identity: Identity,
    raft: Raft<Types, Machine>,
    view: Arc<View>,
    log: Log,
    /// A node that is alone always has its lease.
    lease: watch::Sender<bool>,
    /// Until [`close`](Self::close) takes them: the log's thread, and the lock that outlives it.
    held: Mutex<Option<(LogThread, DataLock)>>,
}

impl RaftDirectory {
    /// Opens the data directory, or bootstraps a cluster of one node in an empty one, and returns
    /// when this node leads and has applied its whole log. Raft's tasks run on the runtime that
    /// awaits this: call it on the control runtime. The directory itself may be used from any.
    ///
    /// # Errors
    /// [`OpenError`]; it names the file, and nothing was removed or begun anew.
    pub async fn open(options: DirectoryOptions) -> Result<Self, OpenError> {
        let mut config = options.timing.to_raft()?;
        let folder = options.data_dir.join(FOLDER);
        let prepare = {
            let (options, folder) = (options.clone(), folder.clone());
            move || prepare(&options, &folder)
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let prepared = prepared.map_err(|error| OpenError::NotReady(error.to_string()))??;
        let Prepared { lock, identity, log, thread, snapshots, restored } = prepared;

        let machine = Machine::new(snapshots, restored);
        let view = machine.view();
        config.cluster_name = identity.cluster.to_string();
        let raft =
            Raft::new(identity.node.0, Arc::new(config), NoPeers, log.clone(), machine).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(error) => {
                drop(log);
                // The next attempt must find the files closed.
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
                return Err(OpenError::NotReady(error.to_string()));
            }
        };
        let held = Mutex::new(Some((thread, lock)));
        let lease = watch::Sender::new(true);
        let mut directory = Self { identity, raft, view, log, lease, held };
        if let Err(error) = directory.become_ready(&options, &folder).await {
            // The next attempt must find the files closed and the lock free.
            directory.close().await;
            return Err(error);
        }
        Ok(directory)
    }

    /// The cluster of this data directory. The database must have the same one.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.identity.cluster
    }

    /// Ends Raft, makes the log durable, closes the files and gives the data directory back.
    /// Look-ups go on with the last state; changes are `Unavailable`. A second call does nothing.
    pub async fn close(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the directory's Raft task failed while it ended");
        }
        let Some((thread, lock)) = self.held.lock().take() else { return };
        if let Err(error) = self.log.close().await {
            tracing::error!(%error, "the directory's log was not closed in order");
        }
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if let Ok(Err(error)) = joined {
            tracing::error!(error, "the directory's log was not closed in order");
        }
        drop(lock);
    }

    async fn become_ready(
        &mut self,
        options: &DirectoryOptions,
        folder: &Path,
    ) -> Result<(), OpenError> {
        let not_ready = |error: &dyn std::fmt::Display| OpenError::NotReady(error.to_string());
        if self.identity.finished {
            self.stand_if_alone().await.map_err(|error| not_ready(&error))?;
        } else {
            let voters = BTreeMap::from([(self.identity.node.0, Peer::default())]);
            self.raft.initialize(voters).await.map_err(|error| not_ready(&error))?;
        }
        let recovered = self.raft.wait_for_recovery(Some(limits::READY_WAIT)).await;
        recovered.map_err(|error| not_ready(&error))?;
        within(limits::READY_WAIT, self.raft.ensure_linearizable(ReadPolicy::ReadIndex))
            .await
            .map_err(|error| not_ready(&error))?;
        if self.identity.finished {
            return self.check_cluster(folder);
        }
        let first = Bootstrap {
            cluster: self.identity.cluster.0,
            node: self.identity.node,
            epoch_base: options.epoch_floor,
        };
        match self.write(Command::Bootstrap(first)).await.map_err(|error| not_ready(&error))? {
            Response::Done => {}
            other => return Err(OpenError::NotReady(format!("bootstrap answered {other:?}"))),
        }
        self.identity.finished = true;
        let path = Identity::path(&options.data_dir);
        let (identity, data_dir) = (self.identity, options.data_dir.clone());
        let written = tokio::task::spawn_blocking(move || identity.write(&data_dir)).await;
        let written = written.map_err(io::Error::other).flatten();
        written.map_err(OpenError::io("write", &path))
    }

    /// A voter that is alone need not wait for silence before it stands for election.
    async fn stand_if_alone(&self) -> Result<(), Fatal<Types>> {
        let own = self.identity.node.0;
        let alone = self.raft.with_raft_state(move |state| {
            let membership = state.membership_state.effective();
            membership.voter_ids().all(|voter| voter == own)
        });
        if alone.await? {
            self.raft.trigger().elect(false).await?;
        }
        Ok(())
    }

    /// The applied log must be that of the identity file.
    fn check_cluster(&self, folder: &Path) -> Result<(), OpenError> {
        let found = self.view.state.read().cluster().map(ClusterId);
        if found == Some(self.identity.cluster) {
            return Ok(());
        }
        let why = match found {
            Some(found) => format!("its state is that of cluster {found}"),
            None => "it does not have the entry that every cluster begins with".into(),
        };
        Err(OpenError::damaged(&folder.join(log::LOG_FILE), why))
    }

    async fn write(&self, command: Command) -> Result<Response, DirectoryError> {
        let written = within(limits::CHANGE_WAIT, self.raft.client_write(command)).await;
        Ok(written.map_err(DirectoryError::Unavailable)?.data)
    }

    async fn write_room(&self, command: Command) -> Result<Arc<RoomMeta>, DirectoryError> {
        match self.write(command).await? {
            Response::Room { room, .. } => Ok(Arc::new(room.into())),
            Response::NameTaken => Err(DirectoryError::NameTaken),
            Response::NoSuchRoom => Err(DirectoryError::NoSuchRoom),
            Response::Refused(why) => Err(DirectoryError::Refused(why)),
            Response::Done => {
                Err(DirectoryError::Refused("the log answered without a room".into()))
            }
        }
    }

    async fn confirm(&self, wait: Duration) -> Result<(), DirectoryError> {
        let confirmed = within(wait, self.raft.ensure_linearizable(ReadPolicy::ReadIndex)).await;
        confirmed.map(drop).map_err(DirectoryError::Unavailable)
    }
}

#[async_trait]
impl Directory for RaftDirectory {
    fn node(&self) -> NodeId {
        self.identity.node
    }

    fn room(&self, room: RoomRef) -> Option<Arc<RoomMeta>> {
        self.view.state.read().room(room)
    }

    fn room_by_name(&self, tenant: TenantId, name: &RoomName) -> Option<Arc<RoomMeta>> {
        let folded = name.folded();
        self.view.state.read().room_by_name(tenant, &folded)
    }

    fn public_rooms(
        &self,
        tenant: TenantId,
        after: Option<RoomId>,
        limit: u16,
    ) -> Vec<Arc<RoomMeta>> {
        self.view.state.read().public_rooms(tenant, after, limit)
    }

    fn room_count(&self) -> usize {
        self.view.state.read().room_count()
    }

    fn ownership(&self, shard: ShardId) -> Option<Ownership> {
        self.view.state.read().ownership(shard)
    }

    fn shards_changed(&self) -> watch::Receiver<u64> {
        self.view.shards_changed()
    }

    fn lease(&self) -> watch::Receiver<bool> {
        self.lease.subscribe()
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Result<(), DirectoryError> {
        // A node that is alone has nobody to give a shard to, so none of its shards moves.
        let moving = self
            .ownership(shard)
            .is_some_and(|owned| owned.epoch == epoch && owned.moving_to.is_some());
        if moving {
            return Err(DirectoryError::Refused("this node is alone".into()));
        }
        Ok(())
    }

    fn tenants(&self) -> Vec<Tenant> {
        self.view.state.read().tenants()
    }

    async fn create_room(&self, new: NewRoom) -> Result<Arc<RoomMeta>, DirectoryError> {
        let command = Command::create_room(new).map_err(DirectoryError::Refused)?;
        self.write_room(command).await
    }

    async fn change_room(
        &self,
        room: RoomRef,
        change: RoomChange,
        by: UserId,
    ) -> Result<Arc<RoomMeta>, DirectoryError> {
        self.write_room(Command::change_room(room, change, by)).await
    }

    async fn barrier(&self) -> Result<(), DirectoryError> {
        self.confirm(limits::CHANGE_WAIT).await
    }

    fn changes(&self) -> broadcast::Receiver<RoomRef> {
        self.view.changes()
    }

    async fn healthy(&self) -> Result<(), DirectoryError> {
        self.confirm(limits::HEALTH_WAIT).await
    }
}

/// What is there before Raft starts.
struct Prepared {
    lock: DataLock,
    identity: Identity,
    log: Log,
    thread: LogThread,
    snapshots: Snapshots,
    restored: Option<Restored>,
}

/// Locks the data directory, finds out who this node is, and reads its files. Blocks.
fn prepare(options: &DirectoryOptions, folder: &Path) -> Result<Prepared, OpenError> {
    let lock = DataLock::take(&options.data_dir)?;
    let identity = match Identity::read(&options.data_dir)? {
        Some(identity) => identity,
        None => begin(options, folder)?,
    };
    if let Some(expected) = options.known_cluster.filter(|known| *known != identity.cluster) {
        let path = Identity::path(&options.data_dir);
        return Err(OpenError::OtherCluster { path, found: identity.cluster, expected });
    }
    if !identity.finished {
        start_over(folder, identity)?;
    }
    if !folder.is_dir() {
        return Err(OpenError::damaged(folder, "it is missing"));
    }
    let (snapshots, restored) = Snapshots::open(folder)?;
    let (log, thread) = Log::open(folder, identity)?;
    if let Err(error) = check_reach(folder, identity, &log, restored.as_ref()) {
        drop(log);
        // It has nothing to write and ends at once; the next attempt must find the file closed.
        let _ = thread.join();
        return Err(error);
    }
    Ok(Prepared { lock, identity, log, thread, snapshots, restored })
}

/// Decides who this node is, in a data directory that has never been anybody's.
fn begin(options: &DirectoryOptions, folder: &Path) -> Result<Identity, OpenError> {
    let path = Identity::path(&options.data_dir);
    if folder.exists() {
        let why = format!("it is missing, and {} is there", folder.display());
        return Err(OpenError::damaged(&path, why));
    }
    if let Some(expected) = options.known_cluster {
        return Err(OpenError::DirectoryLost { path: options.data_dir.clone(), expected });
    }
    let cluster = ClusterId::generate();
    let identity = Identity { node: FIRST_NODE, cluster, finished: false };
    identity.write(&options.data_dir).map_err(OpenError::io("write", &path))?;
    Ok(identity)
}

/// Makes the files of a first start. What an interrupted one left is removed: until the identity
/// says that it was finished, nothing was promised to anybody.
fn start_over(folder: &Path, identity: Identity) -> Result<(), OpenError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(OpenError::io("remove", folder))?;
    }
    fs::create_dir(folder).map_err(OpenError::io("make the folder", folder))?;
    Log::create(folder, identity)?;
    let parent = folder.parent().unwrap_or(Path::new("."));
    files::sync_folder(parent).map_err(OpenError::io("sync", parent))
}

/// Snapshot and log together must reach from the beginning to now.
fn check_reach(
    folder: &Path,
    identity: Identity,
    log: &Log,
    restored: Option<&Restored>,
) -> Result<(), OpenError> {
    let snapshot = restored.and_then(|restored| restored.meta.last_log_id).map(|last| last.index);
    let log_file: PathBuf = folder.join(log::LOG_FILE);
    if log.purged_index() > snapshot {
        let path = folder.join("snapshot-*.parlance");
        let purged = log.purged_index().unwrap_or_default();
        let why = format!(
            "the log begins after entry {purged}, and no snapshot reaches it (newest: {snapshot:?})"
        );
        return Err(OpenError::damaged(&path, why));
    }
    if identity.finished && log.last_index().is_none() {
        return Err(OpenError::damaged(&log_file, "it has no entries"));
    }
    if log.last_index() < snapshot {
        let why = format!(
            "it ends at entry {:?}, before the newest snapshot, which ends at {snapshot:?}",
            log.last_index()
        );
        return Err(OpenError::damaged(&log_file, why));
    }
    Ok(())
}

/// Awaits an answer for so long; why not, in words.
async fn within<T, E: std::fmt::Display>(
    wait: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(wait, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {wait:?}")),
    }
}

#[cfg(test)]
mod tests;
