//! The directory as operators see it, and what they may do to it. Links are not known here: the
//! report leaves them to whoever has them.

use async_trait::async_trait;
use parlance_actors::ports::cluster::{
    BusiestRooms, Cluster, ClusterReport, MoveReport, NodeReport, NodeState, RaftReport,
    ShardReport,
};
use parlance_actors::ports::directory::{Directory, DirectoryError};
use parlance_actors::vocab::{NodeId, ShardId, TenantId};

use super::RaftDirectory;
use super::command::{BeginMove, Cause, Command, Duty, Pin, RemoveNode, SetNodeState};
use super::driver;
use super::wire::LoadSum;

impl RaftDirectory {
    fn raft_report(&self) -> RaftReport {
        let metrics = self.core.metrics();
        let membership = metrics.membership_config.membership();
        RaftReport {
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            last_log: metrics.last_log_index.unwrap_or_default(),
            applied: metrics.last_applied.map_or(0, |last| last.index),
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            lag: driver::lags(&metrics),
        }
    }

    fn node_reports(&self) -> Vec<NodeReport> {
        let loads = self.core.loads.lock().clone();
        let alive = self.core.alive.borrow().clone();
        let own = LoadSum::of(&self.core.load.lock());
        let state = self.view.state.read();
        let report = |(id, record): (NodeId, &super::state::NodeRecord)| {
            let down = id != self.identity.node
                && alive.as_ref().is_some_and(|alive| !alive.contains(&id));
            let load = if id == self.identity.node { Some(&own) } else { loads.get(&id) };
            let LoadSum { rooms, sessions, events_per_second } = load.copied().unwrap_or_default();
            let owned = state.shards().filter(|(_, row)| row.owner == id).count();
            NodeReport {
                id,
                name: record.name.to_string(),
                control: record.control.to_string(),
                data: record.data.to_string(),
                state: match record.state {
                    _ if down => NodeState::Down,
                    Duty::Up => NodeState::Up,
                    Duty::Draining => NodeState::Draining,
                },
                shards: u32::try_from(owned).unwrap_or(u32::MAX),
                rooms,
                sessions,
                events_per_second,
                version: record.version.to_string(),
            }
        };
        state.nodes().map(report).collect()
    }

    fn shard_reports(&self) -> Vec<ShardReport> {
        let state = self.view.state.read();
        let report = |(shard, row): (ShardId, &super::state::ShardRecord)| ShardReport {
            shard,
            owner: state.ownership(shard).map(|owned| owned.owner),
            epoch: row.epoch,
            r#gen: row.r#gen,
            moving_to: row.moving_to.map(|(to, _)| to),
            pinned_to: row.pinned_to,
        };
        state.shards().map(report).collect()
    }

    fn move_reports(&self) -> Vec<MoveReport> {
        let state = self.view.state.read();
        let report = |moved: &super::state::MoveRecord| MoveReport {
            shard: moved.shard,
            from: Some(moved.from),
            to: moved.to,
            epoch: moved.epoch,
            at: moved.at,
            cause: moved.cause.as_str(),
        };
        state.moves().map(report).collect()
    }
}

#[async_trait]
impl Cluster for RaftDirectory {
    fn report(&self) -> ClusterReport {
        let nodes = self.node_reports();
        ClusterReport {
            cluster: self.identity.cluster.to_string(),
            node: self.identity.node,
            lease: *self.core.lease.borrow(),
            raft: self.raft_report(),
            oldest_version: NodeReport::oldest_version(&nodes),
            nodes,
            shards: self.shard_reports(),
            links: Vec::new(),
            moves: self.move_reports(),
        }
    }

    async fn busiest(&self, tenant: TenantId) -> BusiestRooms {
        BusiestRooms::of(self.core.busiest_everywhere().await, tenant, self)
    }

    async fn move_shard(&self, shard: ShardId, to: NodeId) -> Result<(), DirectoryError> {
        let row = self.view.state.read().shards().nth(usize::from(shard.0)).map(|(_, row)| *row);
        let row = row.ok_or_else(|| DirectoryError::Refused("the cluster has not begun".into()))?;
        if let Some(pin) = row.pinned_to.filter(|pin| *pin != to) {
            return Err(DirectoryError::Refused(format!("shard {shard} is pinned to node {pin}")));
        }
        let cause = Cause::Operator;
        self.do_it(Command::BeginMove(BeginMove { shard, epoch: row.epoch, to, cause })).await
    }

    async fn pin_shard(&self, shard: ShardId, to: Option<NodeId>) -> Result<(), DirectoryError> {
        self.do_it(Command::Pin(Pin { shard, to })).await
    }

    async fn drain_node(&self, node: NodeId, drain: bool) -> Result<(), DirectoryError> {
        let state = if drain { Duty::Draining } else { Duty::Up };
        self.do_it(Command::SetNodeState(SetNodeState { node, state })).await
    }

    async fn remove_node(&self, node: NodeId) -> Result<(), DirectoryError> {
        self.barrier().await?;
        let membership = self.core.metrics().membership_config;
        if membership.membership().voter_ids().all(|voter| voter == node.0) {
            return Err(DirectoryError::Refused(format!("node {node} is the last voter")));
        }
        self.do_it(Command::RemoveNode(RemoveNode { node })).await
    }
}
