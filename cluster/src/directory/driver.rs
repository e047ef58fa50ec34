//! The leader's task: it looks at nodes and shards every tick, has pure functions decide, and
//! proposes what they say. On a node that does not lead it only stands for election when the leader
//! seems to be dead. It waits for its own proposals, and Raft never waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ChangeMembers, RaftMetrics};
use parlance_actors::vocab::{Epoch, NodeId, Timestamp};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::campaign::{Campaign, Electorate};
use super::command::Command;
use super::core::{Core, within};
use super::members::Member;
use super::plan::Plan;
use super::steering::{Steered, Steering};
use super::types::{Peer, Types};
use super::voters::{Change, Group};
use crate::limits;

/// The driver with what it remembers between ticks. None of it outlives a leadership.
pub(super) struct Driver {
    core: Arc<Core>,
    member: Member,
    /// The term in which this node leads with a quorum behind it.
    term: Option<u64>,
    campaign: Campaign,
    /// The next look should not wait for the usual tick.
    soon: bool,
    /// What it remembers of placement while it leads.
    steering: Steering,
    /// The epoch of the last change of an owner that the metrics have; only a leader counts.
    counted: Option<Epoch>,
    /// The one change of membership that is being made.
    change: JoinSet<()>,
    /// The one empty entry that asks whether the quorum is there.
    probing: JoinSet<()>,
}

impl Driver {
    pub(super) fn new(core: Arc<Core>, member: Member) -> Self {
        Self {
            core,
            member,
            term: None,
            campaign: Campaign::default(),
            soon: false,
            steering: Steering::begin(Duration::ZERO),
            counted: None,
            change: JoinSet::new(),
            probing: JoinSet::new(),
        }
    }

    /// Drives until it is cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut due = Instant::now();
        let mut shards = self.core.view.shards_changed();
        let mut alive = self.core.alive.subscribe();
        let mut server = self.core.raft.server_metrics();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep_until(due) => {}
                Ok(()) = server.changed() => {}
                changed = shards.changed() => if changed.is_err() { return },
                Ok(()) = alive.changed() => {}
            }
            // Whatever woke it.
            self.note_stall(Instant::now().saturating_duration_since(due));
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.look() => {}
            }
            // Counted from here: a look may wait for its proposals, and that is no stall.
            let soon = std::mem::take(&mut self.soon);
            let tick = if soon { limits::DRIVER_TICK_SOON } else { limits::DRIVER_TICK };
            due = Instant::now() + tick;
        }
    }

    fn note_stall(&self, late: Duration) {
        if late >= limits::DRIVER_STALL {
            tracing::debug!(?late, "this node stood still");
            self.core.leases.lock().stood_still(late, self.core.now());
        }
    }

    async fn look(&mut self) {
        while self.change.try_join_next().is_some() {}
        let metrics = self.core.metrics();
        self.measure(&metrics);
        self.probe(&metrics);
        // Half a lease: who decides about others must itself be surer than they are.
        let leads = self.core.leads_within(&metrics, self.member.leases.lease / 2);
        if !leads {
            self.term = None;
            self.counted = None;
            self.stand(&metrics).await;
            // Elected, but for the first answers of its quorum.
            let begins = metrics.current_leader == Some(self.core.identity.node.0);
            self.soon = begins || self.campaign.is_on();
            return;
        }
        if self.term != Some(metrics.current_term) {
            self.term = Some(metrics.current_term);
            let now = self.core.now();
            self.steering = Steering::begin(now);
            self.core.leases.lock().begin(now);
            tracing::info!(term = metrics.current_term, "this node leads");
        }
        self.count_moves();
        let (live, lost) = self.judge();
        self.soon = self.doubts_any(&live);
        self.change_membership(&metrics, &live, lost);
        self.place(self.plan(&live)).await;
    }

    /// Stands for election in the place of a leader that seems to be dead.
    async fn stand(&mut self, metrics: &RaftMetrics<Types>) {
        let voters = metrics.membership_config.membership().voter_ids().map(NodeId).collect();
        let (own, leader) = (self.core.identity.node, metrics.current_leader.map(NodeId));
        let alive = self.core.alive.borrow().clone();
        let group = Electorate { own, leader, voters: &voters, alive: alive.as_ref() };
        if self.campaign.stands(group, self.core.now()) {
            tracing::debug!(?leader, "this node stands for election");
            // With the question whether it could win. Raft's end is told elsewhere.
            let _ = self.core.raft.trigger().elect(true).await;
        }
    }

    /// Who has a lease, and who has been without one for so long that it is given up.
    fn judge(&self) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
        let nodes: BTreeSet<NodeId> =
            self.core.view.state.read().nodes().map(|(id, _)| id).collect();
        let alive = self.core.alive.borrow().clone();
        let own = self.core.identity.node;
        let now = self.core.now();
        let mut leases = self.core.leases.lock();
        let seen = self.core.seen.lock().clone();
        leases.judge(&nodes, own, alive.as_ref(), &seen, &self.member.leases, now)
    }

    /// Whether a node that gossip doubts is still believed.
    fn doubts_any(&self, live: &BTreeSet<NodeId>) -> bool {
        let (own, alive) = (self.core.identity.node, self.core.alive.borrow());
        let doubted = |node: &NodeId| alive.as_ref().is_some_and(|alive| !alive.contains(node));
        live.iter().any(|node| *node != own && doubted(node))
    }

    fn change_membership(
        &mut self,
        metrics: &RaftMetrics<Types>,
        live: &BTreeSet<NodeId>,
        lost: BTreeSet<NodeId>,
    ) {
        if !self.change.is_empty() {
            return;
        }
        let Some(change) = self.group(metrics, live, lost).next() else { return };
        tracing::info!(?change, "the group's membership changes");
        let members = match &change {
            Change::Settle => ChangeMembers::AddVoterIds(BTreeSet::new()),
            Change::Learn(node) => {
                let place = self.core.network.place(*node);
                let address = place.map(|place| place.address.to_string()).unwrap_or_default();
                ChangeMembers::AddNodes([(node.0, Peer { address })].into())
            }
            Change::Vote(voters) => {
                ChangeMembers::ReplaceAllVoters(voters.iter().map(|node| node.0).collect())
            }
            Change::Forget(nodes) => {
                ChangeMembers::RemoveNodes(nodes.iter().map(|node| node.0).collect())
            }
        };
        let core = self.core.clone();
        self.change.spawn(async move {
            let changed = core.raft.change_membership(members, true);
            if let Err(why) = within(limits::CHANGE_WAIT, changed).await {
                // The next tick decides again, and settles what was begun.
                tracing::warn!(?change, why, "the group's membership did not change");
            }
        });
    }

    fn group(
        &self,
        metrics: &RaftMetrics<Types>,
        live: &BTreeSet<NodeId>,
        lost: BTreeSet<NodeId>,
    ) -> Group {
        let membership = metrics.membership_config.membership();
        let state = self.core.view.state.read();
        let admitted: BTreeSet<NodeId> = state.nodes().map(|(id, _)| id).collect();
        drop(state);
        let leases = self.core.leases.lock();
        let now = self.core.now();
        // A fresh lease is no sign of life: a voter must have said that it is there.
        let renewed = |node: &NodeId| leases.renewed_within(*node, self.member.leases.lease, now);
        let near = |node: &NodeId| {
            let lag = lag(metrics, *node);
            lag.is_some_and(|lag| lag <= limits::APPEND_ENTRIES_MAX)
        };
        let caught_up = live.iter().copied().filter(|node| renewed(node) && near(node)).collect();
        Group {
            joint: membership.get_joint_config().len() > 1,
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            admitted,
            live: live.clone(),
            caught_up,
            lost,
            wanted: usize::from(self.member.voters),
        }
    }

    fn plan(&self, live: &BTreeSet<NodeId>) -> Plan {
        let own = self.core.identity.node;
        let leases = self.core.leases.lock();
        let state = self.core.view.state.read();
        Steering::plan(&state, &leases, own, live)
    }

    async fn place(&mut self, plan: Plan) {
        let steered = self.steering.decide(&plan, self.core.now(), Timestamp::now());
        let Steered { commands, takeovers, overdue } = steered;
        if takeovers > 0 {
            tracing::info!(shards = takeovers, "a dead owner's shards are taken over");
        }
        if overdue > 0 {
            tracing::warn!(shards = overdue, "shards were not released in time");
        }
        // They share the log's writes.
        let written = join_all(commands.into_iter().map(|command| self.propose(command))).await;
        let failed: Vec<String> = written.into_iter().filter_map(Result::err).collect();
        if let Some(why) = failed.first() {
            // The next look may decide the same again.
            tracing::warn!(count = failed.len(), why, "proposals of the leader were not committed");
        }
    }

    /// Why it was not committed, if it was not.
    async fn propose(&self, command: Command) -> Result<(), String> {
        let what = command.to_string();
        let written = self.core.raft.client_write(command);
        let committed = within(limits::FORWARD_WAIT, written).await;
        committed.map(drop).map_err(|why| format!("{what}: {why}"))
    }

    /// Over a slow way heartbeats are answered too late to count, and entries are not: a leader
    /// that heard nothing from its quorum for a while writes an empty one.
    fn probe(&mut self, metrics: &RaftMetrics<Types>) {
        let leads = metrics.current_leader == Some(self.core.identity.node.0);
        let quiet = !self.core.leads_within(metrics, self.member.leases.lease / 4);
        while self.probing.try_join_next().is_some() {}
        if leads && quiet && self.probing.is_empty() {
            let core = self.core.clone();
            self.probing.spawn(async move {
                // No quorum, no lease: nothing more is to be done about it here.
                let _ = within(limits::FORWARD_WAIT, core.raft.write_blank()).await;
            });
        }
    }

    fn count_moves(&mut self) {
        let state = self.core.view.state.read();
        let newest = state.moves().next().map_or(Epoch(0), |moved| moved.epoch);
        let counted = self.counted.replace(newest).unwrap_or(newest);
        for moved in state.moves().take_while(|moved| moved.epoch > counted) {
            let cause = moved.cause.as_str();
            metrics::counter!("parlance_shard_moves_total", "cause" => cause).increment(1);
        }
    }

    fn measure(&self, metrics: &RaftMetrics<Types>) {
        let own = self.core.identity.node;
        let leads = metrics.current_leader == Some(own.0);
        metrics::gauge!("parlance_raft_is_leader").set(f64::from(u8::from(leads)));
        if leads {
            for (node, behind) in lags(metrics) {
                let label = node.0.to_string();
                metrics::gauge!("parlance_raft_lag", "node" => label).set(behind as f64);
            }
        }
    }
}

/// How many entries a node is behind, as the leader knows.
fn lag(metrics: &RaftMetrics<Types>, node: NodeId) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&node.0)?;
    let last = metrics.last_log_index.unwrap_or_default();
    Some(last.saturating_sub(matched.as_ref()?.index))
}

/// The same of every other node, ascending by id; empty where this node does not lead.
pub(super) fn lags(metrics: &RaftMetrics<Types>) -> Vec<(NodeId, u64)> {
    let nodes = metrics.replication.iter().flat_map(|nodes| nodes.keys());
    let others = nodes.copied().filter(|node| *node != metrics.id);
    let last = metrics.last_log_index.unwrap_or_default();
    others.map(|node| (NodeId(node), lag(metrics, NodeId(node)).unwrap_or(last))).collect()
}
