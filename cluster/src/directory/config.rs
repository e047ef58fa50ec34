//! How the directory's Raft group keeps time, and what a start is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use parlance_actors::vocab::Epoch;

use super::error::OpenError;
use super::identity::ClusterId;
use super::members::Member;
use crate::limits;

/// How the group keeps time. An election takes longer than a heartbeat several times over, so that
/// one late heartbeat elects nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftTiming {
    /// How often the leader says that it is there.
    pub heartbeat: Duration,
    /// The shortest time without a leader before an election.
    pub election_min: Duration,
    /// The longest.
    pub election_max: Duration,
    /// A node asks whether it could win before it starts an election, so that one that was cut off
    /// does not unseat a healthy leader when it comes back.
    pub pre_vote: bool,
}

impl Default for RaftTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election_min: Duration::from_secs(1),
            election_max: Duration::from_secs(2),
            pre_vote: true,
        }
    }
}

/// How a start finds its cluster, when the data directory does not say. One that knows its cluster
/// goes on with it whatever is said here.
#[derive(Debug, Clone, Default)]
pub enum Start {
    /// This node is the cluster.
    #[default]
    Alone,
    /// This node begins a cluster that others join: the given one, or a new one. Give one only
    /// when the database says that this node, and no other, begins it.
    Bootstrap {
        /// The cluster that the database has for this node to begin.
        cluster: Option<ClusterId>,
    },
    /// This node joins through any of these control endpoints, `host:port`.
    Join {
        /// The endpoints.
        seeds: Vec<Arc<str>>,
    },
}

/// What a start of the directory is told.
#[derive(Debug, Clone)]
pub struct DirectoryOptions {
    /// The node's data directory. It is made if it is not there.
    pub data_dir: PathBuf,
    /// The cluster that the database says it belongs to; `None` when it says nothing yet.
    pub known_cluster: Option<ClusterId>,
    /// The highest epoch in the database's fences. A first start counts its epochs from here; a
    /// later start does not look at it.
    pub epoch_floor: Epoch,
    /// How Raft keeps time.
    pub timing: RaftTiming,
    /// How it finds its cluster.
    pub start: Start,
    /// What it brings as a node with peers; `None` for a node that is alone.
    pub member: Option<Member>,
}

impl DirectoryOptions {
    /// A start in this data directory with a database that knows no cluster and has no fences.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            known_cluster: None,
            epoch_floor: Epoch(0),
            timing: RaftTiming::default(),
            start: Start::Alone,
            member: None,
        }
    }
}

impl RaftTiming {
    pub(super) fn to_raft(self) -> Result<Config, OpenError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            enable_pre_vote: Some(self.pre_vote),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(limits::SNAPSHOT_EVERY_ENTRIES),
            max_in_snapshot_log_to_keep: limits::SNAPSHOT_KEEPS_ENTRIES,
            max_payload_entries: limits::APPEND_ENTRIES_MAX,
            purge_batch_size: limits::PURGE_BATCH_ENTRIES,
            replication_lag_threshold: limits::PEER_LAG_ENTRIES,
            ..Config::default()
        };
        config.validate().map_err(|error| OpenError::NotReady(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_timing_is_the_designs() {
        let config = RaftTiming::default().to_raft().expect("valid");
        assert_eq!(config.heartbeat_interval, 250);
        assert_eq!((config.election_timeout_min, config.election_timeout_max), (1_000, 2_000));
        assert_eq!(config.enable_pre_vote, Some(true));
    }

    #[test]
    fn elections_that_do_not_wait_for_a_heartbeat_are_refused() {
        let timing = RaftTiming { heartbeat: Duration::from_secs(3), ..RaftTiming::default() };
        let error = timing.to_raft().expect_err("refused");
        assert!(matches!(error, OpenError::NotReady(_)), "{error}");
    }
}
