//! What operators see: the directory's report with what only links and gossip know.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parlance_actors::ports::cluster::{
    BusiestRooms, Cluster, ClusterReport, LinkReport, NodeState,
};
use parlance_actors::ports::directory::DirectoryError;
use parlance_actors::vocab::{NodeId, ShardId, TenantId};
use tokio::sync::watch;

use crate::directory::{NodeInfo, RaftDirectory};
use crate::gossip::View;
use crate::link::{ControlLink, ControlLinks};
use crate::peers::DataLinks;

/// The operators' view and hand on a node with peers.
pub(super) struct Operations {
    pub(super) directory: Arc<RaftDirectory>,
    pub(super) control: Arc<ControlLinks>,
    pub(super) data: Arc<DataLinks>,
    pub(super) view: watch::Receiver<Arc<View>>,
}

#[async_trait]
impl Cluster for Operations {
    fn report(&self) -> ClusterReport {
        let mut report = self.directory.report();
        let view = Arc::clone(&self.view.borrow());
        for node in report.nodes.iter_mut().filter(|node| node.id != report.node) {
            if !view.alive().contains(&node.id) {
                node.state = NodeState::Down;
            }
            // Gossip needs no leader, so it knows this when the leader's word is old.
            let seen = view.node(node.id).filter(|seen| seen.alive);
            if let Some(said) = seen.and_then(|seen| seen.said.as_ref()) {
                node.rooms = said.rooms;
                node.sessions = said.sessions;
                node.events_per_second = f64::from(said.events_per_second);
            }
        }
        let nodes = Arc::clone(&self.directory.nodes().borrow());
        report.links = control_links(&nodes, &self.control.links());
        // A node is among the seeds that it was told of.
        report.links.retain(|link| link.peer != report.node);
        report.links.extend(self.data.links());
        report
    }

    async fn busiest(&self, tenant: TenantId) -> BusiestRooms {
        self.directory.busiest(tenant).await
    }

    async fn move_shard(&self, shard: ShardId, to: NodeId) -> Result<(), DirectoryError> {
        self.directory.move_shard(shard, to).await
    }

    async fn pin_shard(&self, shard: ShardId, to: Option<NodeId>) -> Result<(), DirectoryError> {
        self.directory.pin_shard(shard, to).await
    }

    async fn drain_node(&self, node: NodeId, drain: bool) -> Result<(), DirectoryError> {
        self.directory.drain_node(node, drain).await
    }

    async fn remove_node(&self, node: NodeId) -> Result<(), DirectoryError> {
        self.directory.remove_node(node).await
    }
}

/// One link a peer, of its lines for each service. Lines to seeds of whom nothing is known yet
/// are nobody's.
fn control_links(nodes: &[NodeInfo], lines: &[ControlLink]) -> Vec<LinkReport> {
    let mut links: BTreeMap<NodeId, LinkReport> = BTreeMap::new();
    for line in lines {
        let peer = nodes.iter().find(|node| match &line.name {
            Some(name) => node.name == *name,
            None => node.control == line.address,
        });
        let Some(peer) = peer else { continue };
        let link = links.entry(peer.id).or_insert_with(|| LinkReport {
            peer: peer.id,
            kind: "control",
            connected: false,
            version: None,
            relayed_by: None,
            rtt_ms: None,
            queued_bytes: 0,
            interruptions: 0,
        });
        let rtt_ms = line.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0);
        link.connected |= line.connected;
        // Of several services one may still be on its way back.
        link.relayed_by = link.relayed_by.or_else(|| {
            let over = line.over.as_ref()?;
            nodes.iter().find(|node| node.name == *over).map(|node| node.id)
        });
        link.version = link.version.into_iter().chain(line.version).min();
        link.rtt_ms = link.rtt_ms.into_iter().chain(rtt_ms).reduce(f64::min);
        link.interruptions += line.interruptions;
    }
    links.into_values().collect()
}
