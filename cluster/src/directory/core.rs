//! What the directory's tasks and its port share, and how changes and reads reach the leader from
//! any node.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, LinearizableReadError, RaftError};
use openraft::{Instant as _, Raft, RaftMetrics, ReadPolicy, ServerState};
use parking_lot::Mutex;
use parlance_actors::ports::directory::DirectoryError;
use parlance_actors::vocab::NodeId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::busiest::BusiestHere;
use super::command::{AdmitNode, Command, Response};
use super::identity::Identity;
use super::incoming::Incoming;
use super::leases::Leases;
use super::machine::{Machine, View};
use super::members::Member;
use super::network::Network;
use super::types::Types;
use super::wire::{Answer, Ask, Known, LoadReport, LoadSum};
use crate::limits;
use crate::transport::Place;

/// What is shared.
pub(super) struct Core {
    pub(super) identity: Identity,
    pub(super) raft: Raft<Types, Machine>,
    pub(super) view: Arc<View>,
    pub(super) network: Network,
    /// The directory's folder.
    pub(super) folder: PathBuf,
    /// `None` on a node that is alone.
    pub(super) member: Option<Member>,
    pub(super) lease: watch::Sender<bool>,
    pub(super) leases: Mutex<Leases>,
    /// What leases count their time from.
    pub(super) began: Instant,
    /// What this node says of itself.
    pub(super) load: Mutex<LoadReport>,
    /// What the leader last said of every node.
    pub(super) loads: Mutex<BTreeMap<NodeId, LoadSum>>,
    /// Who is alive, as gossip believes; `None` until it says something.
    pub(super) alive: watch::Sender<Option<BTreeSet<NodeId>>>,
    /// Whom gossip sees alive. One of whom it never heard is not among them, and not doubted either.
    pub(super) seen: Mutex<BTreeSet<NodeId>>,
    /// The snapshot that a leader is sending.
    pub(super) incoming: Mutex<Option<Incoming>>,
    /// Set once the domain runs.
    pub(super) busiest: OnceLock<BusiestHere>,
}

/// Why an attempt came to nothing.
enum Missed {
    /// Another one may do.
    Again(String),
    /// No other one will.
    Never(DirectoryError),
}

impl Core {
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn metrics(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Waits until Raft has ended without being asked to, and says why: most often its disk refused,
    /// and then nothing of it goes on, because a later write must not become durable without an
    /// earlier one. Only another start of the node brings it back.
    pub(super) async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            let ended = metrics.borrow_watched().running_state.clone().err();
            match ended {
                // It was asked to.
                Some(Fatal::Stopped) => std::future::pending().await,
                Some(fatal) => return fatal.to_string(),
                None => {}
            }
            if metrics.changed().await.is_err() {
                return "its Raft task is gone".to_owned();
            }
        }
    }

    /// Whether this node leads and a quorum has answered it within `age`.
    pub(super) fn leads_within(&self, metrics: &RaftMetrics<Types>, age: Duration) -> bool {
        let own = self.identity.node.0;
        if metrics.state != ServerState::Leader || metrics.running_state.is_err() {
            return false;
        }
        let alone = metrics.membership_config.membership().voter_ids().all(|voter| voter == own);
        alone || metrics.last_quorum_acked.as_ref().is_some_and(|acked| acked.elapsed() < age)
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader.map(NodeId)
    }

    /// The leader for somebody who asks the wrong node.
    pub(super) fn known_leader(&self) -> Option<Known> {
        let leader = self.leader().filter(|leader| *leader != self.identity.node)?;
        let state = self.view.state.read();
        let record = state.node(leader).filter(|record| !record.control.is_empty())?;
        let (name, control) = (record.name.clone(), record.control.clone());
        Some(Known { id: leader, name, control })
    }

    /// Changes the directory through the leader, and returns once this node has applied it.
    pub(super) async fn change(
        &self,
        command: Command,
        wait: Duration,
    ) -> Result<Response, DirectoryError> {
        let mut patience = Patience::new(wait);
        loop {
            let left = patience.left()?;
            if let Some(done) = patience.attempt(self.try_change(&command, left)).await {
                return done;
            }
        }
    }

    /// Returns when this node has applied everything that was committed before the call.
    pub(super) async fn confirm(&self, wait: Duration) -> Result<(), DirectoryError> {
        let mut patience = Patience::new(wait);
        loop {
            let left = patience.left()?;
            if let Some(done) = patience.attempt(self.try_confirm(left)).await {
                return done;
            }
        }
    }

    async fn try_change(&self, command: &Command, left: Duration) -> Result<Response, Missed> {
        let Some((leader, place)) = self.way_to_leader()? else {
            let (_, response) = self.propose(command.clone()).await?;
            return Ok(response);
        };
        let ask = Ask::Change(command.clone());
        match self.ask_leader(leader, &place, ask, left).await? {
            Answer::Changed { index, response } => {
                self.applied(index).await?;
                Ok(response)
            }
            _ => Err(Missed::Again("the leader answered something else".into())),
        }
    }

    async fn try_confirm(&self, left: Duration) -> Result<(), Missed> {
        let Some((leader, place)) = self.way_to_leader()? else {
            let read = self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
            return read.map(drop).map_err(Missed::of_read);
        };
        match self.ask_leader(leader, &place, Ask::ReadIndex, left).await? {
            Answer::ReadAt(index) => self.applied(index).await,
            _ => Err(Missed::Again("the leader answered something else".into())),
        }
    }

    /// Where the leader is; `None` when this node is to ask its own Raft, which knows why not
    /// when it does not lead.
    fn way_to_leader(&self) -> Result<Option<(NodeId, Place)>, Missed> {
        if self.member.is_none() {
            return Ok(None);
        }
        let metrics = self.metrics();
        if let Err(fatal) = &metrics.running_state {
            return Err(Missed::Never(DirectoryError::Unavailable(fatal.to_string())));
        }
        let Some(leader) = metrics.current_leader.map(NodeId) else {
            return Err(Missed::Again("there is no leader".into()));
        };
        if leader == self.identity.node {
            return Ok(None);
        }
        let nowhere = || Missed::Again(format!("nobody knows where the leader {leader} is"));
        Ok(Some((leader, self.network.place(leader).ok_or_else(nowhere)?)))
    }

    async fn ask_leader(
        &self,
        leader: NodeId,
        place: &Place,
        ask: Ask,
        left: Duration,
    ) -> Result<Answer, Missed> {
        let deadline = limits::FORWARD_WAIT.min(left);
        match self.network.ask(leader, place, ask, deadline).await {
            Ok(Answer::Failed(why)) => Err(Missed::Again(why)),
            Ok(Answer::Refused(why)) => Err(Missed::Never(DirectoryError::Refused(why))),
            Ok(Answer::NotLeader(_)) => {
                Err(Missed::Again(format!("node {leader} leads no longer")))
            }
            Ok(answer) => Ok(answer),
            Err(error) => Err(Missed::Again(error.to_string())),
        }
    }

    /// Has this node's own Raft write a command; gives the entry's index too.
    async fn propose(&self, command: Command) -> Result<(u64, Response), Missed> {
        let written = self.raft.client_write(command).await.map_err(Missed::of_write)?;
        Ok((written.log_id.index, written.data))
    }

    /// [`change`](Self::change) for somebody else: only when this node leads.
    pub(super) async fn change_here(&self, command: Command, wait: Duration) -> Answer {
        if self.leader() != Some(self.identity.node) {
            return Answer::NotLeader(self.known_leader());
        }
        match tokio::time::timeout(wait, self.propose(command)).await {
            Ok(Ok((index, response))) => Answer::Changed { index, response },
            Ok(Err(Missed::Again(_))) => Answer::NotLeader(self.known_leader()),
            Ok(Err(Missed::Never(error))) => Answer::Failed(error.to_string()),
            Err(_) => Answer::Failed(format!("not committed within {wait:?}")),
        }
    }

    /// Waits until an entry can be read here.
    async fn applied(&self, index: u64) -> Result<(), Missed> {
        let mut applied = self.view.applied();
        let reached = applied.wait_for(|applied| *applied >= index).await;
        reached.map(drop).map_err(|_| Missed::Again("the directory is closed".into()))
    }

    /// What this node says of itself to be admitted; `None` on a node that is alone.
    pub(super) fn admission(&self) -> Option<AdmitNode> {
        self.member.as_ref().map(|member| admission(member, Some(self.identity.node)))
    }
}

/// Attempts while leadership moves, within one wait.
struct Patience {
    until: Instant,
    /// Why the last attempt came to nothing.
    why: String,
}

impl Patience {
    fn new(wait: Duration) -> Self {
        Self { until: Instant::now() + wait, why: format!("no answer within {wait:?}") }
    }

    /// The time that is left; the reason of the last failure when there is none.
    fn left(&self) -> Result<Duration, DirectoryError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DirectoryError::Unavailable(self.why.clone()));
        }
        Ok(left)
    }

    /// Makes one attempt; `None` when another one may do, after a pause.
    async fn attempt<T>(
        &mut self,
        attempt: impl Future<Output = Result<T, Missed>>,
    ) -> Option<Result<T, DirectoryError>> {
        match tokio::time::timeout_at(self.until, attempt).await {
            Ok(Ok(done)) => return Some(Ok(done)),
            Ok(Err(Missed::Never(error))) => return Some(Err(error)),
            Ok(Err(Missed::Again(missed))) => self.why = missed,
            Err(_) => return Some(Err(DirectoryError::Unavailable(self.why.clone()))),
        }
        tokio::time::sleep(limits::FORWARD_PAUSE).await;
        None
    }
}

/// What a member says of itself to be admitted.
pub(super) fn admission(member: &Member, claims: Option<NodeId>) -> AdmitNode {
    AdmitNode {
        claims,
        token: if claims.is_some() { uuid::Uuid::nil() } else { uuid::Uuid::new_v4() },
        name: member.name.0.clone(),
        control: member.control.clone(),
        data: member.data.clone(),
        version: member.version.clone(),
        incarnation: member.incarnation,
    }
}

impl Missed {
    fn of_write(error: RaftError<Types, ClientWriteError<Types>>) -> Self {
        match error {
            RaftError::APIError(error) => Self::Again(error.to_string()),
            RaftError::Fatal(fatal) => Self::Never(DirectoryError::Unavailable(fatal.to_string())),
        }
    }

    fn of_read(error: RaftError<Types, LinearizableReadError<Types>>) -> Self {
        match error {
            RaftError::APIError(error) => Self::Again(error.to_string()),
            RaftError::Fatal(fatal) => Self::Never(DirectoryError::Unavailable(fatal.to_string())),
        }
    }
}

/// Awaits an answer for so long; why not, in words.
pub(super) async fn within<T, E: std::fmt::Display>(
    wait: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(wait, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {wait:?}")),
    }
}
