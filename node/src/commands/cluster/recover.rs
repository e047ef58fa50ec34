//! `parlance cluster recover`: on a stopped node, begins the directory anew when most of its voters
//! are lost for good. It says what it will do, and does it only when told so.

use clap::Args;
use parlance_actors::vocab::{Epoch, NodeId};
use parlance_cluster::directory::{ClusterId, Recovered, Recovery, recover};
use parlance_storage::Storage;

use crate::Settings;
use crate::assemble;
use crate::commands::{print, small_runtime};
use crate::config;
use crate::data_dir::DataDir;
use crate::failure::{Cause, Failure};

/// By how much the version of a recovered room is above the one in the database. A node that stores
/// no projection for this many changes of one room has had no database for as long.
const VERSIONS_APART: u64 = 1_000;

/// Flags of `recover`.
#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Yes, begin the directory anew.
    #[arg(long)]
    yes: bool,
    /// The id that this node gets; it must never have been another node's. Without it: one that
    /// cannot have been.
    #[arg(long, value_name = "ID")]
    node: Option<u64>,
    #[command(flatten)]
    settings: Settings,
}

/// Explains it or does it.
pub(super) fn run(arguments: &Recover) -> Result<(), Failure> {
    let config = config::load(&arguments.settings.flags(), false)?.config;
    // Locked: a node that runs must be stopped first.
    let data_dir = DataDir::open(&config.data_dir)?;
    let folder = config.database.url.is_none().then(|| data_dir.database());
    small_runtime()?.block_on(async {
        let storage = assemble::open_storage(&config, folder.as_deref()).await?;
        let done = with(&storage, &data_dir, arguments).await;
        storage.close().await;
        done
    })
}

async fn with(storage: &Storage, data_dir: &DataDir, arguments: &Recover) -> Result<(), Failure> {
    let known = storage.known_cluster().await.map_err(assemble::storage_failure)?;
    let Some(cluster) = known.map(ClusterId) else {
        let what = "the database belongs to no cluster yet: there is nothing to recover";
        return Err(Failure::new(Cause::Database, what));
    };
    let mut rooms = storage.projected_rooms().await.map_err(assemble::storage_failure)?;
    let epoch_floor = storage.highest_epoch().await.map_err(assemble::storage_failure)?;
    print(&explained(cluster, rooms.len(), epoch_floor, data_dir))?;
    if !arguments.yes {
        let what = "nothing was changed; say --yes if you mean it";
        return Err(Failure::new(Cause::Other, what));
    }
    // A projection may be some versions behind, and a version is the key of an event: none of those
    // that may have been is used again.
    rooms.iter_mut().for_each(|room| room.version += VERSIONS_APART);
    let recovery = Recovery {
        data_dir: data_dir.path().to_owned(),
        cluster,
        epoch_floor,
        node: arguments.node.map(NodeId),
        // `main` is there by itself, and there is no other one yet.
        tenants: Vec::new(),
        rooms,
    };
    let done = recover(recovery).await.map_err(|error| assemble::directory_failure(&error))?;
    data_dir.remember(cluster.0)?;
    print(&told(&done))
}

fn explained(cluster: ClusterId, rooms: usize, floor: Epoch, data_dir: &DataDir) -> String {
    format!(
        "Recovery of cluster {cluster} in {}:\n\
         - this node becomes the only voter of a new directory, with {rooms} rooms as the database \
         has them, and epochs above {floor};\n\
         - what was acknowledged is in the database and stays; pins of shards, drained nodes and \
         the list of nodes are lost;\n\
         - the former directory is put aside, not deleted;\n\
         - every other node of the cluster must be stopped and have its data directory moved away \
         before it joins again, under a new id.\n\
         It is for a cluster that lost more than half of its voters for good. While they can come \
         back, wait for them.\n",
        data_dir.path().display()
    )
}

fn told(done: &Recovered) -> String {
    let mut text = format!(
        "done: this is node {} now, with {} rooms. Start it, then let the others join it.\n",
        done.node, done.rooms
    );
    for path in &done.aside {
        text.push_str(&format!("put aside: {}\n", path.display()));
    }
    text
}
