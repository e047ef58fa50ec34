//! The directory: tenants, rooms, nodes and shards in a Raft group of all nodes.
//!
//! Look-ups read the state in memory and never wait. A change goes through the Raft log, from any
//! node by way of the leader, and is answered when it is durable and applied here. Nothing of
//! openraft leaves this module.
//!
//! In the data directory: `lock`, `node.json` (who this node is), and `directory/` with the log
//! (`log.redb`), its mark (`log.mark`) and the newest snapshot.

mod announce;
mod answers;
mod busiest;
mod campaign;
mod closing;
mod command;
mod config;
mod core;
mod driver;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
mod incoming;
mod join;
mod leases;
mod log;
mod machine;
mod members;
mod network;
mod opening;
mod plan;
mod port;
mod prepare;
mod recover;
mod renewal;
mod report;
mod returns;
mod rooms;
mod seal;
#[cfg(test)]
pub(crate) mod simulated;
mod snapshot;
mod state;
mod steering;
mod types;
mod voters;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::Raft;
use parking_lot::Mutex;
use parlance_actors::ports::directory::DirectoryError;
use parlance_actors::vocab::NodeId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::answers::DirectoryAnswers;
pub use self::busiest::BusiestHere;
pub use self::command::Cause;
pub use self::config::{DirectoryOptions, RaftTiming, Start};
pub use self::error::OpenError;
pub use self::identity::{ClusterId, next_incarnation};
pub use self::members::{LeaseTiming, Member, NodeInfo};
pub use self::recover::{Recovered, Recovery, recover};
pub use self::wire::LoadReport;

use self::command::{Command, Response};
use self::core::Core;
use self::identity::{DataLock, Identity};
use self::log::{Log, LogThread};
use self::machine::{Machine, View};
use self::types::Types;
use crate::limits;
use crate::transport::PeerName;

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
    core: Arc<Core>,
    /// Until [`close`](Self::close) takes them.
    held: Mutex<Option<Held>>,
}

/// What a directory holds until it is closed: its tasks, the log's thread, and the lock that
/// outlives them.
struct Held {
    cancel: CancellationToken,
    /// The lease's renewal and the driver; none on a node that is alone.
    tasks: JoinSet<()>,
    thread: LogThread,
    lock: DataLock,
}

impl RaftDirectory {
    /// The cluster of this data directory. The database must have the same one.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.identity.cluster
    }

    /// Every node of the cluster, ascending by id, after each change.
    #[must_use]
    pub fn nodes(&self) -> watch::Receiver<Arc<[NodeInfo]>> {
        self.view.nodes()
    }

    /// The name of a node; `None` of one that is not in the cluster or has always been alone.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> Option<PeerName> {
        let state = self.view.state.read();
        let name = &state.node(node)?.name;
        (!name.is_empty()).then(|| PeerName(name.clone()))
    }

    /// The leader, where one is known.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.core.leader()
    }

    /// Waits until the directory can go on no more although nobody closed it, and says why: its disk
    /// refused a write, for one. It has no lease from then on, changes are `Unavailable`, and look-ups
    /// give the last state. Only closing it and opening it again helps.
    pub async fn failed(&self) -> String {
        let why = self.core.failed().await;
        self.log.broken().map_or(why, str::to_owned)
    }

    /// Says what this node does; its lease carries it to the leader.
    pub fn set_load(&self, load: LoadReport) {
        *self.core.load.lock() = load;
    }

    /// Says how this node names its busiest rooms. Only the first call counts; until then it is silent.
    pub fn name_busiest_with(&self, busiest: BusiestHere) {
        let _ = self.core.busiest.set(busiest);
    }

    /// Says whom gossip need not doubt, and which of them it does see alive. It never takes a lease
    /// from a node that renews.
    pub fn believe(&self, alive: BTreeSet<NodeId>, seen: BTreeSet<NodeId>) {
        *self.core.seen.lock() = seen;
        let alive = Some(alive);
        self.core.alive.send_if_modified(|known| {
            let differs = *known != alive;
            if differs {
                *known = alive;
            }
            differs
        });
    }

    async fn write(&self, command: Command) -> Result<Response, DirectoryError> {
        self.core.change(command, limits::CHANGE_WAIT).await
    }

    /// A change of which nothing is told but that it is done.
    async fn do_it(&self, command: Command) -> Result<(), DirectoryError> {
        match self.write(command).await? {
            Response::Done => Ok(()),
            Response::Refused(why) => Err(DirectoryError::Refused(why)),
            other => Err(DirectoryError::Refused(format!("the log answered {other:?}"))),
        }
    }
}

impl Drop for RaftDirectory {
    /// One that was not closed must not live on in the links' hands.
    fn drop(&mut self) {
        if let Some(member) = &self.core.member {
            member.answers.close();
        }
    }
}

#[cfg(test)]
mod tests;
