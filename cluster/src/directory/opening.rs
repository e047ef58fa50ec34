//! Opening the directory: its files, then Raft, then what the cluster has to say, until everything
//! that was committed before is applied here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use openraft::errors::Fatal;
use openraft::{Raft, ReadPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::command::{Bootstrap, Command};
use super::config::{DirectoryOptions, Start};
use super::core::{self, Core, within};
use super::driver::Driver;
use super::error::OpenError;
use super::identity::{ClusterId, Identity};
use super::join::{self, Admitted, NotAdmitted};
use super::leases::Leases;
use super::log::{self, Log};
use super::machine::Machine;
use super::network::Network;
use super::prepare::{self, Claimed, Prepared};
use super::renewal;
use super::returns::{self, Returning};
use super::types::{Peer, Types};
use super::{FOLDER, Held, RaftDirectory};
use crate::limits;

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

    fn begin_tasks(&self) {
        let Some(member) = self.core.member.clone() else { return };
        if let Some(held) = self.held.lock().as_mut() {
            let (core, cancel) = (self.core.clone(), held.cancel.clone());
            held.tasks.spawn(renewal::run(core, member.clone(), cancel.clone()));
            held.tasks.spawn(Driver::new(self.core.clone(), member).run(cancel));
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
