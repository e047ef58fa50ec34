//! This node's part in the cluster, whole: both endpoints, the directory, gossip, and the one task
//! that tells each of them what the others know. A node that is alone goes through the same type
//! and has a directory only.
//!
//! Everything of the control side runs on the control runtime, whoever calls. Nothing is decided
//! here: the directory decides about shards, gossip about who is alive.

mod operations;
mod options;
mod places;
mod wiring;

use std::net::UdpSocket;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use parlance_actors::ports::cluster::{Cluster, NodeState};
use parlance_actors::ports::directory::{Directory, DirectoryError};
use parlance_actors::ports::peers::{Alone, Peers};
use parlance_actors::vocab::{NodeId, ShardId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::options::{ClusterOptions, Membership, Runtimes, StartError};

use self::operations::Operations;
use self::places::advertised;
use self::wiring::Wiring;
use crate::directory::{
    BusiestHere, DirectoryAnswers, DirectoryOptions, LoadReport, Member, OpenError, RaftDirectory,
    Start, next_incarnation,
};
use crate::gossip::{Gossip, GossipOptions, Identity, Received, Said, View};
use crate::link::{self, ControlLinks, Hello, LinkOptions, Names};
use crate::peers::DataLinks;
use crate::transport::PeerName;

/// How this node measures what it does. Called once a second; it must not block.
pub type Loads = Arc<dyn Fn() -> LoadReport + Send + Sync>;

/// Where others reach this node, `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The control endpoint.
    pub control: Arc<str>,
    /// The data endpoint.
    pub data: Arc<str>,
}

/// This node in its cluster. Dropped without [`leave`](Self::leave) it ends as a crash would end it.
pub struct ClusterNode {
    directory: Arc<RaftDirectory>,
    peers: Arc<dyn Peers>,
    operations: Arc<dyn Cluster>,
    loads: Arc<OnceLock<Loads>>,
    /// `None` on a node that is alone.
    together: Option<Together>,
}

/// What a node with peers has beside its directory.
struct Together {
    addresses: Addresses,
    control: Arc<ControlLinks>,
    data: Arc<DataLinks>,
    gossip: Arc<Gossip>,
    view: watch::Receiver<Arc<View>>,
    cancel: CancellationToken,
    /// Until [`ClusterNode::leave`] takes it.
    wiring: Mutex<Option<JoinHandle<()>>>,
}

impl ClusterNode {
    /// Starts this node's part in the cluster, and returns when its directory has everything that
    /// was committed before.
    ///
    /// # Errors
    /// [`StartError`]. Nothing goes on running.
    pub async fn start(options: ClusterOptions, on: Runtimes) -> Result<Self, StartError> {
        let ClusterOptions { data_dir, known_cluster, epoch_floor, timing, membership } = options;
        let directory = DirectoryOptions {
            known_cluster,
            epoch_floor,
            timing,
            ..DirectoryOptions::new(data_dir)
        };
        match membership {
            None => Self::start_alone(directory, &on).await,
            Some(membership) => Self::start_together(directory, membership, &on).await,
        }
    }

    async fn start_alone(options: DirectoryOptions, on: &Runtimes) -> Result<Self, StartError> {
        let directory = open(&on.control, options).await?;
        let peers = Arc::new(Alone::new(directory.node()));
        let operations = Arc::clone(&directory) as Arc<dyn Cluster>;
        Ok(Self { directory, peers, operations, loads: Arc::default(), together: None })
    }

    async fn start_together(
        mut options: DirectoryOptions,
        membership: Membership,
        on: &Runtimes,
    ) -> Result<Self, StartError> {
        let data_dir = options.data_dir.clone();
        let counted = tokio::task::spawn_blocking(move || {
            next_incarnation(&data_dir).map_err(|error| error.of_member(&data_dir))
        });
        let counted = counted.await;
        let incarnation = counted.map_err(|error| OpenError::NotReady(error.to_string()))??;
        let answers = DirectoryAnswers::new();
        let ends = Ends::bind(&membership, &answers, incarnation, on)?;
        let seeds = match &membership.start {
            Start::Join { seeds } => seeds.clone(),
            _ => Vec::new(),
        };
        options.start = membership.start.clone();
        options.member = Some(Member {
            name: ends.identity.name(),
            control: Arc::clone(&ends.addresses.control),
            data: Arc::clone(&ends.addresses.data),
            incarnation,
            version: Arc::clone(&membership.version),
            transport: Arc::clone(&ends.control) as _,
            answers,
            voters: membership.voters,
            leases: membership.leases,
        });
        let control = Arc::clone(&ends.control);
        let opened = open(&on.control, options).await;
        let directory = match opened {
            Ok(directory) => directory,
            Err(error) => {
                control.close().await;
                return Err(error.into());
            }
        };
        let joined = Self::join(Arc::clone(&directory), ends, seeds, &membership, incarnation, on);
        let joined = joined.await;
        if joined.is_err() {
            directory.close().await;
            control.close().await;
        }
        joined
    }

    /// From an open directory on: gossip, the data endpoint, and what connects them.
    async fn join(
        directory: Arc<RaftDirectory>,
        ends: Ends,
        seeds: Vec<Arc<str>>,
        membership: &Membership,
        incarnation: u64,
        on: &Runtimes,
    ) -> Result<Self, StartError> {
        let Ends { identity, addresses, control, packets, data } = ends;
        let node = directory.node();
        let cluster = Some(directory.cluster_id().0);
        let hello = Hello { cluster, node: Some(node), incarnation };
        control.set_names(Arc::new(DirectoryNames(Arc::clone(&directory))));
        control.set_hello(hello);
        let own_control = places::own(&addresses.control).await?;
        let own_data = places::own(&addresses.data).await?;
        let seeds = places::all(&seeds).await;
        in_service(&directory).await?;

        let said = Said {
            draining: false,
            rooms: 0,
            sessions: 0,
            events_per_second: 0.0,
            data: own_data,
            version: Arc::clone(&membership.version),
        };
        let gossip = {
            let _on = on.control.enter();
            Arc::new(Gossip::start(GossipOptions {
                identity: Identity::new(node, incarnation, own_control),
                seeds,
                said: said.clone(),
                packets: Arc::clone(&control) as _,
                inbox: packets,
                seed: rand::random(),
            }))
        };
        let view = gossip.view();
        let data = {
            let _on = on.data.enter();
            let options = LinkOptions { listen: membership.data_listen, identity, hello };
            DataLinks::bind_on(data, node, options)
        };
        let data = match data {
            Ok(data) => Arc::new(data),
            Err(error) => {
                gossip.leave().await;
                return Err(error.into());
            }
        };
        let (loads, cancel) = (Arc::default(), CancellationToken::new());
        let wiring = Wiring::new(
            Arc::clone(&directory),
            Arc::clone(&gossip),
            Arc::clone(&data),
            Arc::clone(&loads),
            said,
        );
        let wiring = Mutex::new(Some(on.control.spawn(wiring.run(cancel.clone()))));
        let operations = Arc::new(Operations {
            directory: Arc::clone(&directory),
            control: Arc::clone(&control),
            data: Arc::clone(&data),
            view: view.clone(),
        });
        let peers = Arc::clone(&data) as Arc<dyn Peers>;
        let together = Some(Together { addresses, control, data, gossip, view, cancel, wiring });
        Ok(Self { directory, peers, operations, loads, together })
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.directory.node()
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> Arc<RaftDirectory> {
        Arc::clone(&self.directory)
    }

    /// The way to the other nodes.
    #[must_use]
    pub fn peers(&self) -> Arc<dyn Peers> {
        Arc::clone(&self.peers)
    }

    /// What operators see and may do.
    #[must_use]
    pub fn operations(&self) -> Arc<dyn Cluster> {
        Arc::clone(&self.operations)
    }

    /// Where others reach this node; `None` on a node that is alone.
    #[must_use]
    pub fn addresses(&self) -> Option<&Addresses> {
        self.together.as_ref().map(|together| &together.addresses)
    }

    /// What gossip believes; `None` on a node that is alone.
    #[must_use]
    pub fn view(&self) -> Option<watch::Receiver<Arc<View>>> {
        self.together.as_ref().map(|together| together.view.clone())
    }

    /// Says how this node measures what it does, and how it names its busiest rooms. Only the first
    /// call counts; until then it does nothing as far as others know.
    pub fn measure_with(&self, loads: Loads, busiest: BusiestHere) {
        let _ = self.loads.set(loads);
        self.directory.name_busiest_with(busiest);
    }

    /// Waits until this node can go on no more although nobody ended it, and says why; see
    /// [`RaftDirectory::failed`]. It is to be ended and started again.
    pub async fn failed(&self) -> String {
        self.directory.failed().await
    }

    /// Gives this node's shards to others by planned moves: takes no new ones, and waits until it
    /// has none, nobody takes them, or the time is over. Returns how many it still has. The domain
    /// must go on releasing what moves. The next start puts the node into service again.
    pub async fn drain_shards(&self, within: Duration) -> usize {
        if let Some(together) = &self.together {
            let giving = async {
                tokio::select! {
                    () = self.give_away(together) => {}
                    // It would not hear of any move.
                    _ = self.failed() => {}
                }
            };
            // What was not done by then is told by what is left.
            let _ = tokio::time::timeout(within, giving).await;
        }
        self.owned()
    }

    async fn give_away(&self, together: &Together) {
        const LOOK_AGAIN: Duration = Duration::from_millis(250);
        let own = self.node();
        if !self.somebody_takes(together) {
            return;
        }
        while let Err(error) = self.directory.drain_node(own, true).await {
            tracing::warn!(%error, "this node is not draining yet");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let mut changed = self.directory.shards_changed();
        while self.owned() > 0 && self.somebody_takes(together) {
            // Also without a change of shards: those who could take them may have died.
            let _ = tokio::time::timeout(LOOK_AGAIN, changed.changed()).await;
        }
    }

    fn owned(&self) -> usize {
        let own = self.node();
        let owned = |shard: &ShardId| {
            self.directory.ownership(*shard).is_some_and(|owned| owned.owner == own)
        };
        ShardId::all().filter(owned).count()
    }

    /// Whether there is another node that serves.
    fn somebody_takes(&self, together: &Together) -> bool {
        let view = Arc::clone(&together.view.borrow());
        let own = self.node();
        self.directory.nodes().borrow().iter().any(|node| {
            node.id != own && node.state == NodeState::Up && view.alive().contains(&node.id)
        })
    }

    /// Ends this node's part in order: tells others that it leaves, hands leadership over, makes
    /// the directory durable, and closes the endpoints. Its lanes should be closed and its shards
    /// given away before.
    pub async fn leave(self) {
        if let Some(together) = &self.together {
            together.cancel.cancel();
            let wiring = together.wiring.lock().take();
            if let Some(Err(error)) = async { Some(wiring?.await) }.await {
                tracing::error!(%error, "the task between gossip and directory failed");
            }
            together.gossip.leave().await;
        }
        self.directory.close().await;
        if let Some(together) = &self.together {
            together.data.close().await;
            together.control.close().await;
        }
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        if let Some(wiring) = self.wiring.lock().take() {
            wiring.abort();
        }
    }
}

/// What is bound before this node knows its id.
struct Ends {
    identity: Arc<link::Identity>,
    addresses: Addresses,
    control: Arc<ControlLinks>,
    packets: mpsc::Receiver<Received>,
    /// Others must know its port before it can be used.
    data: UdpSocket,
}

impl Ends {
    fn bind(
        membership: &Membership,
        answers: &DirectoryAnswers,
        incarnation: u64,
        on: &Runtimes,
    ) -> Result<Self, StartError> {
        let identity = link::Identity::open(membership.identity.clone())?;
        let data = link::socket(membership.data_listen)?;
        let data_at = data.local_addr().unwrap_or(membership.data_listen);
        let hello = Hello { incarnation, ..Hello::default() };
        let listen = membership.control_listen;
        let options = LinkOptions { listen, identity: Arc::clone(&identity), hello };
        let (control, packets) = {
            let _on = on.control.enter();
            ControlLinks::bind(options)?
        };
        control.serve(Arc::new(answers.clone()));
        let host = membership.advertise.as_deref();
        let addresses = Addresses {
            control: advertised(host, control.local_addr())?,
            data: advertised(host, data_at)?,
        };
        Ok(Self { identity, addresses, control: Arc::new(control), packets, data })
    }
}

/// Names as the directory has them.
struct DirectoryNames(Arc<RaftDirectory>);

impl Names for DirectoryNames {
    fn name_of(&self, node: NodeId) -> Option<PeerName> {
        self.0.name_of(node)
    }
}

/// Opens the directory on the control runtime, where Raft's tasks then run.
async fn open(on: &Handle, options: DirectoryOptions) -> Result<Arc<RaftDirectory>, OpenError> {
    // A start that is given up ends what it began.
    let opened = AbortOnDropHandle::new(on.spawn(RaftDirectory::open(options))).await;
    let opened = opened.map_err(|error| OpenError::NotReady(error.to_string()))?;
    opened.map(Arc::new)
}

/// A node that drained before it ended serves again.
async fn in_service(directory: &RaftDirectory) -> Result<(), DirectoryError> {
    let own = directory.node();
    let draining = directory
        .nodes()
        .borrow()
        .iter()
        .any(|node| node.id == own && node.state == NodeState::Draining);
    if draining { directory.drain_node(own, false).await } else { Ok(()) }
}

#[cfg(test)]
mod tests;
