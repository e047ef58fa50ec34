//! What the directory's Raft group says of itself, for operators.

use openraft::async_runtime::watch::WatchReceiver as _;
use parlance_actors::ports::cluster::RaftReport;
use parlance_actors::vocab::NodeId;

use super::RaftDirectory;

impl RaftDirectory {
    /// How this node sees the group.
    #[must_use]
    pub fn raft_report(&self) -> RaftReport {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let last_log = metrics.last_log_index.unwrap_or_default();
        let membership = metrics.membership_config.membership();
        let lag = metrics.replication.iter().flatten().map(|(node, matching)| {
            let matching = matching.as_ref().map_or(0, |log| log.index());
            (NodeId(*node), last_log.saturating_sub(matching))
        });
        RaftReport {
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            last_log,
            applied: metrics.last_applied.as_ref().map_or(0, |log| log.index()),
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            lag: lag.filter(|(node, _)| *node != self.identity.node).collect(),
        }
    }
}
