//! Operators' view of a node that is alone: every shard is its own, and there is nowhere to move
//! one to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use parlance_actors::chat::Chat;
use parlance_actors::ports::cluster::{Cluster, ClusterReport, NodeReport, NodeState, ShardReport};
use parlance_actors::ports::directory::{Directory as _, DirectoryError};
use parlance_actors::vocab::{Epoch, Gen, NodeId, ShardId};
use parlance_cluster::directory::RaftDirectory;

/// The name of a node that has no certificate to take one from.
const NAME: &str = "alone";

/// Rates are taken over at least this long; a shorter time says more of chance than of load.
const RATE_OVER: Duration = Duration::from_secs(1);

/// A cluster of this node.
pub(super) struct Alone {
    directory: Arc<RaftDirectory>,
    chat: Arc<Chat>,
    rate: Mutex<Rate>,
}

/// Events a second, from one report to the next.
struct Rate {
    at: Instant,
    committed: u64,
    per_second: f64,
}

impl Alone {
    pub(super) fn new(directory: Arc<RaftDirectory>, chat: Arc<Chat>) -> Self {
        let rate = Rate { at: Instant::now(), committed: 0, per_second: 0.0 };
        Self { directory, chat, rate: Mutex::new(rate) }
    }

    fn events_per_second(&self, committed: u64) -> f64 {
        let mut rate = self.rate.lock();
        let passed = rate.at.elapsed();
        if passed >= RATE_OVER {
            let new = committed.saturating_sub(rate.committed);
            let per_second = new as f64 / passed.as_secs_f64();
            *rate = Rate { at: Instant::now(), committed, per_second };
        }
        rate.per_second
    }

    fn shards(&self) -> Vec<ShardReport> {
        let report = |shard| {
            let owned = self.directory.ownership(shard);
            ShardReport {
                shard,
                owner: owned.map(|owned| owned.owner),
                epoch: owned.map_or(Epoch::default(), |owned| owned.epoch),
                r#gen: owned.map_or(Gen::default(), |owned| owned.r#gen),
                moving_to: owned.and_then(|owned| owned.moving_to),
                pinned_to: None,
            }
        };
        ShardId::all().map(report).collect()
    }
}

#[async_trait::async_trait]
impl Cluster for Alone {
    fn report(&self) -> ClusterReport {
        let id = self.directory.node();
        let shards = self.shards();
        let own = shards.iter().filter(|shard| shard.owner == Some(id)).count();
        let activity = self.chat.activity();
        let node = NodeReport {
            id,
            name: NAME.to_owned(),
            control: String::new(),
            data: String::new(),
            state: NodeState::Up,
            shards: u32::try_from(own).unwrap_or(u32::MAX),
            rooms: activity.rooms,
            sessions: activity.sessions,
            events_per_second: self.events_per_second(activity.committed.iter().sum()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        ClusterReport {
            cluster: self.directory.cluster_id().to_string(),
            node: id,
            lease: *self.directory.lease().borrow(),
            raft: self.directory.raft_report(),
            nodes: vec![node],
            shards,
            links: Vec::new(),
            moves: Vec::new(),
        }
    }

    async fn move_shard(&self, _: ShardId, to: NodeId) -> Result<(), DirectoryError> {
        self.only(to)
    }

    async fn pin_shard(&self, _: ShardId, to: Option<NodeId>) -> Result<(), DirectoryError> {
        self.only(to.unwrap_or(self.directory.node()))
    }

    async fn drain_node(&self, node: NodeId, drain: bool) -> Result<(), DirectoryError> {
        self.only(node)?;
        if drain {
            let what = "this node is alone: there is no other one to give its shards to";
            return Err(DirectoryError::Refused(what.to_owned()));
        }
        Ok(())
    }

    async fn remove_node(&self, node: NodeId) -> Result<(), DirectoryError> {
        self.only(node)?;
        Err(DirectoryError::Refused("this node is the last voter".to_owned()))
    }
}

impl Alone {
    /// Every shard is here and stays here, which is all that can be asked for.
    fn only(&self, node: NodeId) -> Result<(), DirectoryError> {
        if node == self.directory.node() {
            return Ok(());
        }
        let what =
            format!("there is no node {node}: this one, {}, is alone", self.directory.node());
        Err(DirectoryError::Refused(what))
    }
}
