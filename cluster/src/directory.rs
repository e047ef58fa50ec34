//! The directory: tenants, rooms, nodes and shards in a Raft group of all nodes.
//!
//! Look-ups read the state in memory and never wait. A change goes through the Raft log, from any
//! node by way of the leader, and is answered when it is durable and applied here. Nothing of
//! openraft leaves this module.
//!
//! In the data directory: `lock`, `node.json` (who this node is), and `directory/` with the log
//! (`log.redb`), its mark (`log.mark`) and the newest snapshot.

mod answers;
mod busiest;
mod campaign;
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

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use openraft::errors::Fatal;
use openraft::{Raft, ReadPolicy};
use parking_lot::Mutex;
use parlance_actors::ports::directory::DirectoryError;
use parlance_actors::vocab::NodeId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
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

use self::command::{Bootstrap, Command, Response};
use self::core::{Core, within};
use self::driver::Driver;
use self::identity::{DataLock, Identity};
use self::join::{Admitted, NotAdmitted};
use self::leases::Leases;
use self::log::{Log, LogThread};
use self::machine::{Machine, View};
use self::network::Network;
use self::prepare::{Claimed, Prepared};
use self::returns::Returning;
use self::types::{Peer, Types};
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
    /// Opens the data directory, or begins or joins a cluster in an empty one, and returns when
    /// this node has applied everything that was committed before. Raft's tasks run on the runtime
    /// that awaits this: call it on the control runtime. The directory itself may be used from any.
    ///
    /// # Errors
    /// [`OpenError`]; it names the file, and nothing was removed or begun anew.
    pub async fn open(options: DirectoryOptions) -> Result<Self, OpenError> {
        let mut config = options.timing.to_raft()?;
        if options.member.is_none() && !matches!(options.start, Start::Alone) {
            return Err(OpenError::Unusable("a node with peers needs links to them".into()));
        }
        let folder = options.data_dir.join(FOLDER);
        let prepared = prepared(&options, &folder).await.map_err(|error| match options.member {
            Some(_) => error.of_member(&options.data_dir),
            None => error,
        })?;
        let Prepared { lock, identity, log, thread, snapshots, restored } = prepared;

        let machine = Machine::new(snapshots, restored);
        let view = machine.view();
        config.cluster_name = identity.cluster.to_string();
        let transport = options.member.as_ref().map(|member| member.transport.clone());
        let append_wait = options.timing.election_min * 3 / 4;
        let network = Network::new(identity, view.clone(), transport, append_wait);
        if let Err(error) = may_come_back(&options, &network, &log).await {
            drop(log);
            // The next attempt must find the files closed.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            return Err(error);
        }
        let raft =
            Raft::new(identity.node.0, Arc::new(config), network.clone(), log.clone(), machine);
        let raft = match raft.await {
            Ok(raft) => raft,
            Err(error) => {
                drop(log);
                // The next attempt must find the files closed.
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
                return Err(OpenError::NotReady(error.to_string()));
            }
        };
        let core = Arc::new(Core {
            identity,
            raft: raft.clone(),
            view: view.clone(),
            network,
            folder: folder.clone(),
            // A node that is alone always has its lease.
            lease: watch::Sender::new(options.member.is_none()),
            member: options.member.clone(),
            leases: Mutex::new(Leases::default()),
            began: Instant::now(),
            load: Mutex::default(),
            loads: Mutex::default(),
            alive: watch::Sender::new(None),
            seen: Mutex::default(),
            incoming: Mutex::default(),
            busiest: OnceLock::new(),
        });
        let (cancel, tasks) = (CancellationToken::new(), JoinSet::new());
        let held = Mutex::new(Some(Held { cancel, tasks, thread, lock }));
        let mut directory = Self { identity, raft, view, log, core, held };
        if let Err(error) = directory.become_ready(&options, &folder).await {
            // The next attempt must find the files closed and the lock free.
            directory.close().await;
            return Err(error);
        }
        directory.begin_tasks();
        Ok(directory)
    }

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

    /// Ends Raft, makes the log durable, closes the files and gives the data directory back.
    /// Look-ups go on with the last state; changes are `Unavailable`. A second call does nothing.
    pub async fn close(&self) {
        let Some(mut held) = self.held.lock().take() else { return };
        self.hand_over().await;
        held.cancel.cancel();
        while held.tasks.join_next().await.is_some() {}
        if let Some(member) = &self.core.member {
            member.answers.close();
            self.core.lease.send_replace(false);
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the directory's Raft task failed while it ended");
        }
        if let Err(error) = self.log.close().await {
            tracing::error!(%error, "the directory's log was not closed in order");
        }
        let thread = held.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if let Ok(Err(error)) = joined {
            tracing::error!(error, "the directory's log was not closed in order");
        }
        drop(held.lock);
    }

    /// A leader that ends makes another voter the leader, so that nobody waits for an election.
    async fn hand_over(&self) {
        let metrics = self.core.metrics();
        let own = self.identity.node.0;
        if self.core.member.is_none() || metrics.current_leader != Some(own) {
            return;
        }
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let mut lags = driver::lags(&metrics);
        lags.retain(|(node, _)| voters.contains(&node.0));
        let Some((heir, _)) = lags.into_iter().min_by_key(|(node, lag)| (*lag, *node)) else {
            return;
        };
        if self.raft.trigger().transfer_leader(heir.0).await.is_ok() {
            let wait = self.raft.wait(Some(limits::HEALTH_WAIT));
            // Nobody in time: the others elect one by themselves.
            let _ = wait
                .metrics(
                    |metrics| metrics.current_leader.is_some_and(|leader| leader != own),
                    "another leader",
                )
                .await;
        }
    }

    fn begin_tasks(&self) {
        let Some(member) = self.core.member.clone() else { return };
        if let Some(held) = self.held.lock().as_mut() {
            let (core, cancel) = (self.core.clone(), held.cancel.clone());
            held.tasks.spawn(renewal::run(core, member.clone(), cancel.clone()));
            held.tasks.spawn(Driver::new(self.core.clone(), member).run(cancel));
        }
    }

    async fn become_ready(
        &mut self,
        options: &DirectoryOptions,
        folder: &Path,
    ) -> Result<(), OpenError> {
        if let Some(member) = &options.member {
            member.answers.open(self.core.clone());
        }
        let not_ready = |error: &dyn std::fmt::Display| OpenError::NotReady(error.to_string());
        if self.identity.finished {
            let alone = self.stand_if_alone().await.map_err(|error| not_ready(&error))?;
            if !alone && self.core.member.is_none() {
                let why = "its cluster has several nodes, and this start was given no links to \
                           them: configure the cluster again";
                return Err(OpenError::Unusable(why.into()));
            }
            self.announce(options).await?;
            self.recover_own().await.map_err(OpenError::NotReady)?;
            return self.check_cluster(folder);
        }
        if matches!(options.start, Start::Join { .. }) {
            // The leader's driver makes a learner of this node, and its log comes.
            let wait = limits::READY_WAIT;
            self.core.confirm(wait).await.map_err(|error| not_ready(&error))?;
            self.check_cluster(folder)?;
        } else {
            self.bootstrap(options).await?;
        }
        self.identity.finished = true;
        let path = Identity::path(&options.data_dir);
        let (identity, data_dir) = (self.identity, options.data_dir.clone());
        let written = tokio::task::spawn_blocking(move || identity.write(&data_dir)).await;
        let written = written.map_err(io::Error::other).flatten();
        written.map_err(OpenError::io("write", &path))
    }

    /// Begins a cluster of this node.
    async fn bootstrap(&self, options: &DirectoryOptions) -> Result<(), OpenError> {
        let not_ready = |error: &dyn std::fmt::Display| OpenError::NotReady(error.to_string());
        let address = options.member.as_ref().map(|member| member.control.to_string());
        let peer = Peer { address: address.unwrap_or_default() };
        let voters = BTreeMap::from([(self.identity.node.0, peer)]);
        self.raft.initialize(voters).await.map_err(|error| not_ready(&error))?;
        self.recover_own().await.map_err(OpenError::NotReady)?;
        let first = Bootstrap {
            cluster: self.identity.cluster.0,
            node: self.identity.node,
            epoch_base: options.epoch_floor,
        };
        let written = self.do_it(Command::Bootstrap(first)).await;
        written.map_err(|error| not_ready(&error))?;
        self.announce(options).await
    }

    /// Waits until everything that was committed before is applied here.
    async fn recover_own(&self) -> Result<(), String> {
        if self.core.member.is_some() {
            let confirmed = self.core.confirm(limits::READY_WAIT).await;
            return confirmed.map_err(|error| error.to_string());
        }
        let recovered = self.raft.wait_for_recovery(Some(limits::READY_WAIT)).await;
        recovered.map_err(|error| error.to_string())?;
        let read = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        within(limits::READY_WAIT, read).await.map(drop)
    }

    /// Tells the cluster where this node is now, through any node that it knows.
    async fn announce(&self, options: &DirectoryOptions) -> Result<(), OpenError> {
        let (Some(member), Some(node)) = (&options.member, self.core.admission()) else {
            return Ok(());
        };
        let own = self.identity.node;
        let until = Instant::now() + limits::READY_WAIT;
        loop {
            let told = if self.leader() == Some(own) {
                self.announce_here(&node).await
            } else {
                let known = self.view.state.read().nodes().map(|(id, _)| id).collect::<Vec<_>>();
                let others = known.into_iter().filter(|id| *id != own);
                let mut places: Vec<_> =
                    others.filter_map(|id| self.core.network.place(id)).collect();
                if let Start::Join { seeds } = &options.start {
                    places.extend(join::seeds(seeds));
                }
                let cluster = Some(self.identity.cluster);
                join::round(member, cluster, &node, &places).await.map(drop)
            };
            match told {
                Ok(()) => return Ok(()),
                Err(NotAdmitted::Refused(why)) => return Err(OpenError::NotAdmitted(why)),
                Err(NotAdmitted::NotYet(why)) if Instant::now() >= until => {
                    return Err(OpenError::NotReady(why));
                }
                Err(NotAdmitted::NotYet(_)) => tokio::time::sleep(limits::FORWARD_PAUSE).await,
            }
        }
    }

    async fn announce_here(&self, node: &command::AdmitNode) -> Result<(), NotAdmitted> {
        if let Some(why) = self.core.forgot(node) {
            return Err(NotAdmitted::Refused(why));
        }
        let command = Command::AdmitNode(node.clone());
        match self.core.change(command, limits::FORWARD_WAIT).await {
            Ok(Response::Admitted(_)) => Ok(()),
            Ok(Response::Refused(why)) | Err(DirectoryError::Refused(why)) => {
                Err(NotAdmitted::Refused(why))
            }
            other => Err(NotAdmitted::NotYet(format!("{other:?}"))),
        }
    }

    /// A voter that is alone need not wait for silence before it stands for election.
    /// Says whether it is.
    async fn stand_if_alone(&self) -> Result<bool, Fatal<Types>> {
        let own = self.identity.node.0;
        let alone = self.raft.with_raft_state(move |state| {
            let membership = state.membership_state.effective();
            membership.voter_ids().all(|voter| voter == own)
        });
        let alone = alone.await?;
        if alone {
            self.raft.trigger().elect(false).await?;
        }
        Ok(alone)
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

/// Everything before Raft: the files, and for a node that joins the word of the cluster.
async fn prepared(options: &DirectoryOptions, folder: &Path) -> Result<Prepared, OpenError> {
    let mut claimed = off_the_runtime(options, folder, prepare::claim).await?;
    if let (Some(seeds), Some(member)) = (claimed.must_join(options), &options.member) {
        let node = core::admission(member, None);
        let (places, wait) = (join::seeds(seeds), limits::JOIN_WAIT);
        let admitted: Admitted =
            join::ask(member, None, &node, &places, wait).await.map_err(|error| match error {
                NotAdmitted::NotYet(why) => OpenError::NotReady(why),
                NotAdmitted::Refused(why) => OpenError::NotAdmitted(why),
            })?;
        let admit = move |options: &_, _: &_| claimed.admitted(options, admitted);
        claimed = off_the_runtime(options, folder, admit).await?;
    }
    let prepare = move |options: &_, folder: &_| Claimed::prepare(claimed, options, folder);
    off_the_runtime(options, folder, prepare).await
}

/// Whether the others know this node as its files have it.
async fn may_come_back(
    options: &DirectoryOptions,
    network: &Network,
    log: &Log,
) -> Result<(), OpenError> {
    let Some(member) = options.member.as_ref().filter(|_| network.identity.finished) else {
        return Ok(());
    };
    let seeds = match &options.start {
        Start::Join { seeds } => &seeds[..],
        _ => &[],
    };
    let places = returns::places(network, log.admitted(), seeds, &member.name);
    let last = log.last_index().unwrap_or_default();
    let returning = Returning { incarnation: member.incarnation, last };
    let refusal = returns::refusal(network, member, &places, returning).await;
    refusal.map_or(Ok(()), |why| Err(OpenError::NotAdmitted(why)))
}

async fn off_the_runtime<T: Send + 'static>(
    options: &DirectoryOptions,
    folder: &Path,
    work: impl FnOnce(&DirectoryOptions, &Path) -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let (options, folder): (_, PathBuf) = (options.clone(), folder.to_owned());
    let done = tokio::task::spawn_blocking(move || work(&options, &folder)).await;
    done.map_err(|error| OpenError::NotReady(error.to_string()))?
}

#[cfg(test)]
mod tests;
