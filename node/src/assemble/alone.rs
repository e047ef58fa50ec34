//! Operators' view of a node that is alone: what its directory says, with a name and its load, and
//! a clear word where there is no other node to move or drain to.

use std::sync::Arc;

use parlance_actors::ports::cluster::{BusiestRooms, Cluster, ClusterReport, NodeReport};
use parlance_actors::ports::directory::{Directory as _, DirectoryError};
use parlance_actors::vocab::{NodeId, ShardId, TenantId};
use parlance_cluster::directory::RaftDirectory;

use super::load::Meter;

/// The name of a node that has no certificate to take one from.
const NAME: &str = "alone";

/// A cluster of this node.
pub(super) struct Alone {
    pub(super) directory: Arc<RaftDirectory>,
    pub(super) meter: Arc<Meter>,
}

impl Alone {
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
        let load = self.meter.measure();
        let own = report.node;
        if let Some(node) = report.nodes.iter_mut().find(|node| node.id == own) {
            if node.name.is_empty() {
                NAME.clone_into(&mut node.name);
            }
            super::VERSION.clone_into(&mut node.version);
            node.rooms = load.rooms;
            node.sessions = load.sessions;
            node.events_per_second = load.events_per_second;
        }
        report.oldest_version = NodeReport::oldest_version(&report.nodes);
        report
    }

    async fn busiest(&self, tenant: TenantId) -> BusiestRooms {
        self.directory.busiest(tenant).await
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
