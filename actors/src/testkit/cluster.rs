//! The operators' view in memory: the shards of a [`MemoryDirectory`] and a list of nodes. It keeps
//! what it is told and moves nothing by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::directory::MemoryDirectory;
use crate::ports::Directory as _;
use crate::ports::cluster::{
    BusiestRooms, Cluster, ClusterReport, NodeReport, NodeState, RaftReport, RoomLoad, ShardReport,
};
use crate::ports::directory::DirectoryError;
use crate::vocab::{Epoch, Gen, NodeId, ShardId, TenantId};

/// A cluster of nodes that are names only.
pub struct MemoryCluster {
    directory: Arc<MemoryDirectory>,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    names: BTreeMap<NodeId, String>,
    draining: BTreeSet<NodeId>,
    pins: BTreeMap<ShardId, NodeId>,
    loads: BTreeMap<NodeId, Option<Vec<RoomLoad>>>,
}

impl MemoryCluster {
    /// The directory's own node, alone.
    #[must_use]
    pub fn new(directory: Arc<MemoryDirectory>) -> Self {
        let cluster = Self { nodes: Mutex::default(), directory };
        cluster.add_node(cluster.directory.node(), "one");
        cluster
    }

    /// One more node.
    pub fn add_node(&self, node: NodeId, name: &str) {
        self.nodes.lock().names.insert(node, name.to_owned());
    }

    /// What a node says of its rooms from now on; `None` when it does not answer.
    pub fn set_loads(&self, node: NodeId, loads: Option<Vec<RoomLoad>>) {
        self.nodes.lock().loads.insert(node, loads);
    }

    fn knows(&self, node: NodeId) -> Result<(), DirectoryError> {
        if self.nodes.lock().names.contains_key(&node) {
            return Ok(());
        }
        Err(DirectoryError::Refused(format!("there is no node {node}")))
    }
}

#[async_trait]
impl Cluster for MemoryCluster {
    fn report(&self) -> ClusterReport {
        let nodes = self.nodes.lock();
        let shards: Vec<_> = ShardId::all()
            .map(|shard| {
                let owned = self.directory.ownership(shard);
                ShardReport {
                    shard,
                    owner: owned.map(|owned| owned.owner),
                    epoch: owned.map_or(Epoch(0), |owned| owned.epoch),
                    r#gen: owned.map_or(Gen(0), |owned| owned.r#gen),
                    moving_to: owned.and_then(|owned| owned.moving_to),
                    pinned_to: nodes.pins.get(&shard).copied(),
                }
            })
            .collect();
        let of = |node: NodeId| shards.iter().filter(|shard| shard.owner == Some(node)).count();
        let report = |(id, name): (&NodeId, &String)| NodeReport {
            id: *id,
            name: name.clone(),
            control: String::new(),
            data: String::new(),
            state: if nodes.draining.contains(id) { NodeState::Draining } else { NodeState::Up },
            shards: u32::try_from(of(*id)).unwrap_or(u32::MAX),
            rooms: 0,
            sessions: 0,
            events_per_second: 0.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let nodes: Vec<_> = nodes.names.iter().map(report).collect();
        let node = self.directory.node();
        ClusterReport {
            cluster: "memory".to_owned(),
            node,
            lease: *self.directory.lease().borrow(),
            raft: RaftReport {
                leader: Some(node),
                term: 1,
                last_log: 1,
                applied: 1,
                voters: vec![node],
                learners: Vec::new(),
                lag: Vec::new(),
            },
            oldest_version: NodeReport::oldest_version(&nodes),
            nodes,
            shards,
            links: Vec::new(),
            moves: Vec::new(),
        }
    }

    async fn busiest(&self, tenant: TenantId) -> BusiestRooms {
        let said = self.nodes.lock().loads.clone();
        BusiestRooms::of(said.into_iter().collect(), tenant, &*self.directory)
    }

    async fn move_shard(&self, shard: ShardId, to: NodeId) -> Result<(), DirectoryError> {
        self.directory.healthy().await?;
        self.knows(to)?;
        self.directory.move_shard(shard, to);
        Ok(())
    }

    async fn pin_shard(&self, shard: ShardId, to: Option<NodeId>) -> Result<(), DirectoryError> {
        self.directory.healthy().await?;
        match to {
            Some(to) => {
                self.knows(to)?;
                self.nodes.lock().pins.insert(shard, to);
            }
            None => {
                self.nodes.lock().pins.remove(&shard);
            }
        }
        Ok(())
    }

    async fn drain_node(&self, node: NodeId, drain: bool) -> Result<(), DirectoryError> {
        self.directory.healthy().await?;
        self.knows(node)?;
        let mut nodes = self.nodes.lock();
        if drain {
            nodes.draining.insert(node)
        } else {
            nodes.draining.remove(&node)
        };
        Ok(())
    }

    async fn remove_node(&self, node: NodeId) -> Result<(), DirectoryError> {
        self.directory.healthy().await?;
        self.knows(node)?;
        if node == self.directory.node() {
            return Err(DirectoryError::Refused(format!("node {node} is the last voter")));
        }
        self.nodes.lock().names.remove(&node);
        Ok(())
    }
}
