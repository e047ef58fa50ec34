//! What happens to the files before Raft starts: the data directory is locked, this node finds out
//! who it is, and its log and snapshot are read and compared. Raft is not in here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FIRST_NODE;
use super::config::{DirectoryOptions, Start};
use super::error::OpenError;
use super::files;
use super::identity::{ClusterId, DataLock, Identity};
use super::join::Admitted;
use super::log::{LOG_FILE, Log, LogThread};
use super::snapshot::{Restored, Snapshots};

/// What is there before Raft starts.
pub(super) struct Prepared {
    pub(super) lock: DataLock,
    pub(super) identity: Identity,
    pub(super) log: Log,
    pub(super) thread: LogThread,
    pub(super) snapshots: Snapshots,
    pub(super) restored: Option<Restored>,
}

/// A locked data directory, and who it says that this node is.
pub(super) struct Claimed {
    lock: DataLock,
    identity: Option<Identity>,
}

/// Locks the data directory and reads who this node is. Blocks.
pub(super) fn claim(options: &DirectoryOptions, folder: &Path) -> Result<Claimed, OpenError> {
    let lock = DataLock::take(&options.data_dir)?;
    let mut identity = Identity::read(&options.data_dir)?;
    if identity.is_none() && folder.exists() {
        let path = Identity::path(&options.data_dir);
        let why = format!("it is missing, and {} is there", folder.display());
        return Err(OpenError::damaged(&path, why));
    }
    if let Some(unfinished) = identity.filter(|identity| !identity.finished) {
        let joining = matches!(options.start, Start::Join { .. });
        if !joining && unfinished.node != FIRST_NODE && options.member.is_some() {
            let why = "it began to join a cluster and did not finish; start it with that again";
            return Err(OpenError::Unusable(why.into()));
        }
        // A node that joins begins anew, under another id: a former attempt promised nothing.
        identity = Some(unfinished).filter(|_| !joining);
    }
    Ok(Claimed { lock, identity })
}

impl Claimed {
    /// Whether the cluster is to say who this node is.
    pub(super) fn must_join<'a>(&self, options: &'a DirectoryOptions) -> Option<&'a [Arc<str>]> {
        match &options.start {
            Start::Join { seeds } if self.identity.is_none() => Some(seeds),
            _ => None,
        }
    }

    /// The cluster said who this node is. Blocks.
    pub(super) fn admitted(
        self,
        options: &DirectoryOptions,
        admitted: Admitted,
    ) -> Result<Self, OpenError> {
        let Admitted { node, cluster } = admitted;
        let path = Identity::path(&options.data_dir);
        if let Some(expected) = options.known_cluster.filter(|known| *known != cluster) {
            return Err(OpenError::OtherCluster { path, found: cluster, expected });
        }
        let identity = Identity { node, cluster, finished: false };
        identity.write(&options.data_dir).map_err(OpenError::io("write", &path))?;
        Ok(Self { identity: Some(identity), ..self })
    }

    /// Reads the files, or makes those of a first start. Blocks.
    pub(super) fn prepare(
        self,
        options: &DirectoryOptions,
        folder: &Path,
    ) -> Result<Prepared, OpenError> {
        let lock = self.lock;
        let identity = match self.identity {
            Some(identity) => identity,
            None => begin(options)?,
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
}

/// Decides who this node is, in a data directory that has never been anybody's.
fn begin(options: &DirectoryOptions) -> Result<Identity, OpenError> {
    let given = match options.start {
        Start::Bootstrap { cluster } => cluster,
        Start::Alone | Start::Join { .. } => None,
    };
    if let Some(expected) = options.known_cluster.filter(|known| Some(*known) != given) {
        return Err(OpenError::DirectoryLost { path: options.data_dir.clone(), expected });
    }
    let cluster = given.unwrap_or_else(ClusterId::generate);
    let identity = Identity { node: FIRST_NODE, cluster, finished: false };
    let path = Identity::path(&options.data_dir);
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
    let log_file: PathBuf = folder.join(LOG_FILE);
    if log.purged_index() > snapshot {
        let path = folder.join("snapshot-*.parlance");
        let purged = log.purged_index().unwrap_or_default();
        let why = format!(
            "the log begins after entry {purged}, and no snapshot reaches it (newest: {snapshot:?})"
        );
        return Err(OpenError::damaged(&path, why));
    }
    if identity.finished && log.last_index().is_none() && snapshot.is_none() {
        return Err(OpenError::damaged(&log_file, "it has no entries"));
    }
    // A leader's snapshot is installed before the log begins after it, so in a group of several
    // nodes a crash may leave the log behind. Raft then lets it begin after the snapshot.
    let installed = restored.is_some_and(|restored| {
        let voters = restored.meta.last_membership.voter_ids();
        voters.into_iter().any(|voter| voter != identity.node.0)
    });
    if log.last_index() < snapshot && !installed {
        let why = format!(
            "it ends at entry {:?}, before the newest snapshot, which ends at {snapshot:?}",
            log.last_index()
        );
        return Err(OpenError::damaged(&log_file, why));
    }
    Ok(())
}

/// Everything at once, for a node that joins nobody.
#[cfg(test)]
pub(super) fn prepare(options: &DirectoryOptions, folder: &Path) -> Result<Prepared, OpenError> {
    claim(options, folder)?.prepare(options, folder)
}
