//! What a start of this node's part in the cluster is told, and why it fails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parlance_actors::ports::directory::DirectoryError;
use parlance_actors::vocab::Epoch;
use tokio::runtime::Handle;

use crate::directory::{ClusterId, LeaseTiming, OpenError, RaftTiming, Start};
use crate::link::{BindError, IdentityError, IdentityFiles};

/// What a start is told.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The node's data directory. It is made if it is not there.
    pub data_dir: PathBuf,
    /// The cluster that the database says it belongs to; `None` when it says nothing yet.
    pub known_cluster: Option<ClusterId>,
    /// The highest epoch in the database's fences.
    pub epoch_floor: Epoch,
    /// How Raft keeps time.
    pub timing: RaftTiming,
    /// What a node with peers is told; `None` for a node that is alone.
    pub membership: Option<Membership>,
}

/// What a node with peers is told.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Certificate, key and authorities.
    pub identity: IdentityFiles,
    /// Where the control endpoint listens (UDP). Port 0 takes a free one.
    pub control_listen: SocketAddr,
    /// Where the data endpoint listens (UDP). Port 0 takes a free one.
    pub data_listen: SocketAddr,
    /// The host that others dial, a name or an address. Needed when listening on an unspecified
    /// address.
    pub advertise: Option<Arc<str>>,
    /// How the node finds its cluster, when its data directory does not say.
    pub start: Start,
    /// How many voters the group is to have: 3 or 5.
    pub voters: u8,
    /// How leases keep time.
    pub leases: LeaseTiming,
    /// The version that this node runs.
    pub version: Arc<str>,
}

/// Where things run.
#[derive(Debug, Clone)]
pub struct Runtimes {
    /// Gossip and Raft: one thread of its own, so that a busy node does not look dead.
    pub control: Handle,
    /// The links that carry actors' frames.
    pub data: Handle,
}

/// Why this node's part in the cluster did not start. Nothing goes on running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Certificate, key or authorities cannot be used. Trying again helps once they are mended.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// An endpoint cannot be bound. Trying again helps once the address is free.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The directory does not open; see there whether trying again helps.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Others could not reach this node. Trying again does not help.
    #[error("listening on {0}, a node must be told which host others dial (cluster.advertise)")]
    NoAdvertise(SocketAddr),
    /// The advertised name has no address. Trying again helps once it has.
    #[error("the advertised address {address} is not found: {why}")]
    NotFound {
        /// `host:port`.
        address: Arc<str>,
        /// Why.
        why: String,
    },
    /// A node that had drained could not be put into service again. Trying again may help.
    #[error("this node is still draining: {0}")]
    Draining(#[from] DirectoryError),
}
