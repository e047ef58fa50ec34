//! A node as a member of a cluster: what it says of itself, what others know of it, and how long
//! it is believed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::cluster::NodeState;
use parlance_actors::vocab::NodeId;

use super::answers::DirectoryAnswers;
use super::command::Duty;
use super::state::NodeRecord;
use crate::transport::{PeerName, Transport};

/// A node of the cluster, as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// The name in its certificate; empty for a node that has always been alone.
    pub name: PeerName,
    /// `host:port` of its control endpoint.
    pub control: Arc<str>,
    /// `host:port` of its data endpoint.
    pub data: Arc<str>,
    /// Up or draining; the directory does not know who is down.
    pub state: NodeState,
}

impl NodeInfo {
    pub(super) fn of(id: NodeId, record: &NodeRecord) -> Self {
        Self {
            id,
            name: PeerName(record.name.clone()),
            control: record.control.clone(),
            data: record.data.clone(),
            state: match record.state {
                Duty::Up => NodeState::Up,
                Duty::Draining => NodeState::Draining,
            },
        }
    }
}

/// What a node that has peers brings to its directory.
#[derive(Clone)]
pub struct Member {
    /// Its name, as its certificate proves it.
    pub name: PeerName,
    /// Where others reach its control endpoint, `host:port`.
    pub control: Arc<str>,
    /// Where others reach its data endpoint, `host:port`.
    pub data: Arc<str>,
    /// Grows with each start of this data directory; see [`super::next_incarnation`].
    pub incarnation: u64,
    /// The version that it runs.
    pub version: Arc<str>,
    /// How it calls others.
    pub transport: Arc<dyn Transport>,
    /// Where their calls come in. The links have it before the directory is open.
    pub answers: DirectoryAnswers,
    /// How many voters the group is to have: 3 or 5.
    pub voters: u8,
    /// How leases keep time.
    pub leases: LeaseTiming,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, control, data, incarnation, version, voters, leases, .. } = self;
        f.debug_struct("Member")
            .field("name", name)
            .field("control", control)
            .field("data", data)
            .field("incarnation", incarnation)
            .field("version", version)
            .field("voters", voters)
            .field("leases", leases)
            .finish_non_exhaustive()
    }
}

/// How leases keep time. They decide on availability only: fences keep two owners from hurting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    /// How often a node renews. A new leader gives up after this long whom gossip gave up before and
    /// who does not renew with it.
    pub renew: Duration,
    /// How long a node is believed to be there without renewing.
    pub lease: Duration,
    /// The same for a node that gossip says is down.
    pub lease_if_doubted: Duration,
    /// How long a voter may be without a lease before another node votes in its place.
    pub voter_replaced_after: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            renew: Duration::from_millis(500),
            lease: Duration::from_secs(3),
            lease_if_doubted: Duration::from_millis(1_200),
            voter_replaced_after: Duration::from_secs(60),
        }
    }
}
