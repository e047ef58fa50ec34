//! Beginning anew when the Raft group is lost for good: a directory of one voter with the same
//! cluster, epochs above every fence of the database, and the rooms of the database's projection.
//! The former directory is put aside and never deleted. This runs while no node does.

use std::fs;
use std::path::{Path, PathBuf};

use parlance_actors::ports::directory::Tenant;
use parlance_actors::vocab::{Epoch, NodeId, RoomMeta};

use super::command::{Command, Restore, RoomRecord};
use super::config::DirectoryOptions;
use super::error::OpenError;
use super::files;
use super::identity::{ClusterId, DataLock, Identity};
use super::{FIRST_NODE, FOLDER, RaftDirectory};
use crate::limits;

/// Where the new directory is made, in the data directory.
const WORKPLACE: &str = "recovering";
/// How many former directories are kept beside each other: far more than anybody makes.
const ASIDE_MAX: u32 = 1_000;

/// What is known when a directory is recovered.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The data directory of the stopped node. It may be damaged or empty.
    pub data_dir: PathBuf,
    /// The cluster, as the database has it.
    pub cluster: ClusterId,
    /// The highest epoch in the database's fences.
    pub epoch_floor: Epoch,
    /// The id that this node gets. `None`: one above its former id, or, where that cannot be read,
    /// above the highest fence, which no id of an owner exceeds.
    pub node: Option<NodeId>,
    /// The tenants beside `main`.
    pub tenants: Vec<Tenant>,
    /// The rooms of the projection. Lobbies and direct conversations are left out.
    pub rooms: Vec<RoomMeta>,
}

/// What came of a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The id of the node, which is a new one.
    pub node: NodeId,
    /// How many rooms the directory has.
    pub rooms: usize,
    /// Where the former directory and its identity file are now.
    pub aside: Vec<PathBuf>,
}

/// Makes the directory anew. A recovery that was interrupted is begun again.
///
/// # Errors
/// [`OpenError`]: the data directory is in use, or a file cannot be written. The former files are
/// where they were, or beside it under another name.
pub async fn recover(recovery: Recovery) -> Result<Recovered, OpenError> {
    let data_dir = recovery.data_dir.clone();
    let claimed = tokio::task::spawn_blocking(move || {
        let lock = DataLock::take(&data_dir)?;
        // What cannot be read is what this is for.
        let former = Identity::read(&data_dir).ok().flatten();
        clear_workplace(&data_dir)?;
        Ok((lock, former))
    });
    let (lock, former) =
        claimed.await.map_err(|error| OpenError::NotReady(error.to_string())).flatten()?;
    if let Some(former) = former.filter(|former| former.cluster != recovery.cluster) {
        return Err(OpenError::OtherCluster {
            path: Identity::path(&recovery.data_dir),
            found: former.cluster,
            expected: recovery.cluster,
        });
    }
    let node = recovery.node.unwrap_or_else(|| match former {
        Some(former) => NodeId(former.node.0 + 1),
        None => NodeId(recovery.epoch_floor.0 + 1),
    });
    let highest = former.map_or(NodeId(0), |former| former.node);
    if node <= highest || node < FIRST_NODE {
        let why = format!("node {node} has been there: ids only grow (highest: {highest})");
        return Err(OpenError::Unusable(why));
    }
    let rooms = make_anew(&recovery, node).await?;
    let data_dir = recovery.data_dir.clone();
    let placed = tokio::task::spawn_blocking(move || put_in_place(&data_dir)).await;
    let aside = placed.map_err(|error| OpenError::NotReady(error.to_string())).flatten()?;
    drop(lock);
    Ok(Recovered { node, rooms, aside })
}

/// Makes the new directory in its workplace, by the same way as every other one.
async fn make_anew(recovery: &Recovery, node: NodeId) -> Result<usize, OpenError> {
    let workplace = recovery.data_dir.join(WORKPLACE);
    let identity = Identity { node, cluster: recovery.cluster, finished: false };
    let path = Identity::path(&workplace);
    let begun = fs::create_dir(&workplace).and_then(|()| identity.write(&workplace));
    begun.map_err(OpenError::io("write", &path))?;
    let options =
        DirectoryOptions { epoch_floor: recovery.epoch_floor, ..DirectoryOptions::new(&workplace) };
    let directory = RaftDirectory::open(options).await?;
    let restored = restore(&directory, recovery).await;
    let rooms = directory.view.state.read().room_count();
    directory.close().await;
    restored.map(|()| rooms)
}

async fn restore(directory: &RaftDirectory, recovery: &Recovery) -> Result<(), OpenError> {
    let records: Vec<RoomRecord> = recovery.rooms.iter().filter_map(RoomRecord::of).collect();
    let tenants = recovery.tenants.iter().map(|tenant| (tenant.id, tenant.name.clone())).collect();
    let first = Restore { tenants, rooms: Vec::new() };
    let batches = records.chunks(limits::RESTORE_ROOMS_MAX);
    let batches = batches.map(|rooms| Restore { tenants: Vec::new(), rooms: rooms.to_vec() });
    for batch in std::iter::once(first).chain(batches) {
        let done = directory.do_it(Command::Restore(batch)).await;
        done.map_err(|error| OpenError::NotReady(error.to_string()))?;
    }
    Ok(())
}

fn clear_workplace(data_dir: &Path) -> Result<(), OpenError> {
    let workplace = data_dir.join(WORKPLACE);
    if workplace.exists() {
        fs::remove_dir_all(&workplace).map_err(OpenError::io("remove", &workplace))?;
    }
    Ok(())
}

/// Puts the former files aside and the new ones in their place. The identity goes first and comes
/// last: whatever lies in between is refused by a start, and mended by another recovery.
fn put_in_place(data_dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let workplace = data_dir.join(WORKPLACE);
    let (identity, folder) = (Identity::path(data_dir), data_dir.join(FOLDER));
    let mut aside = Vec::new();
    for former in [&identity, &folder] {
        if former.exists() {
            aside.push(put_aside(former)?);
        }
    }
    for (from, to) in [(workplace.join(FOLDER), &folder), (Identity::path(&workplace), &identity)] {
        fs::rename(&from, to).map_err(OpenError::io("put in place", to))?;
        files::sync_folder(data_dir).map_err(OpenError::io("sync", data_dir))?;
    }
    clear_workplace(data_dir)?;
    Ok(aside)
}

fn put_aside(former: &Path) -> Result<PathBuf, OpenError> {
    let free = (1..=ASIDE_MAX)
        .map(|n| former.with_added_extension(format!("former-{n}")))
        .find(|path| !path.exists());
    let free = free.ok_or_else(|| {
        OpenError::Unusable(format!("there are too many former copies of {}", former.display()))
    })?;
    fs::rename(former, &free).map_err(OpenError::io("put aside", former))?;
    Ok(free)
}
