//! Operators' view of a node that is alone: what its directory says, with a name and its load, and
//! a clear word where there is no other node to move or drain to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use parlance_actors::chat::Chat;
use parlance_actors::ports::cluster::{Cluster, ClusterReport};
use parlance_actors::ports::directory::{Directory as _, DirectoryError};
use parlance_actors::vocab::{NodeId, ShardId};
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

    fn is_this(&self, node: NodeId) -> Result<(), DirectoryError> {
        let own = self.directory.node();
        if node == own {
            return Ok(());
        }
        let what = format!("there is no node {node}: this one, {own}, is alone");
        Err(DirectoryError::Refused(what))
    }
}

#[async_trait::async_trait]
impl Cluster for Alone {
    fn report(&self) -> ClusterReport {
        let mut report = self.directory.report();
        let activity = self.chat.activity();
        let own = report.node;
        if let Some(node) = report.nodes.iter_mut().find(|node| node.id == own) {
            node.name = NAME.to_owned();
            env!("CARGO_PKG_VERSION").clone_into(&mut node.version);
            node.rooms = activity.rooms;
            node.sessions = activity.sessions;
            node.events_per_second = self.events_per_second(activity.committed.iter().sum());
        }
        report
    }

    async fn move_shard(&self, shard: ShardId, to: NodeId) -> Result<(), DirectoryError> {
        self.is_this(to)?;
        self.directory.move_shard(shard, to).await
    }

    async fn pin_shard(&self, shard: ShardId, to: Option<NodeId>) -> Result<(), DirectoryError> {
        self.is_this(to.unwrap_or(self.directory.node()))?;
        self.directory.pin_shard(shard, to).await
    }

    async fn drain_node(&self, node: NodeId, drain: bool) -> Result<(), DirectoryError> {
        self.is_this(node)?;
        if drain {
            let what = "this node is alone: there is no other one to give its shards to";
            return Err(DirectoryError::Refused(what.to_owned()));
        }
        self.directory.drain_node(node, false).await
    }

    async fn remove_node(&self, node: NodeId) -> Result<(), DirectoryError> {
        self.is_this(node)?;
        self.directory.remove_node(node).await
    }
}
