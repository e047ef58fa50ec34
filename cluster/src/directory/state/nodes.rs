//! The nodes of the state: who is admitted, under which id and name, and where they are.

use std::sync::Arc;

use parlance_actors::vocab::NodeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::State;
use crate::directory::command::{AdmitNode, Duty, Response, SetNodeState};

/// A node of the cluster. On disk: see the rules of the commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::directory) struct NodeRecord {
    /// The index of the entry that admitted it.
    pub(in crate::directory) admitted_at: u64,
    /// Empty, like the addresses, for a node that has always been alone.
    pub(in crate::directory) name: Arc<str>,
    pub(in crate::directory) control: Arc<str>,
    pub(in crate::directory) data: Arc<str>,
    pub(in crate::directory) version: Arc<str>,
    pub(in crate::directory) incarnation: u64,
    pub(in crate::directory) state: Duty,
    pub(in crate::directory) token: Uuid,
}

impl NodeRecord {
    /// A node that said nothing of itself yet.
    pub(super) fn unnamed(admitted_at: u64) -> Self {
        Self {
            admitted_at,
            name: "".into(),
            control: "".into(),
            data: "".into(),
            version: "".into(),
            incarnation: 0,
            state: Duty::Up,
            token: Uuid::nil(),
        }
    }

    fn hear(&mut self, node: &AdmitNode) {
        self.name = node.name.clone();
        self.control = node.control.clone();
        self.data = node.data.clone();
        self.version = node.version.clone();
        self.incarnation = self.incarnation.max(node.incarnation);
    }
}

impl State {
    pub(super) fn admit_node(&mut self, index: u64, node: &AdmitNode) -> Response {
        if self.cluster.is_none() {
            return Response::Refused("the cluster has not begun".into());
        }
        let named = self.node_named(&node.name);
        if let Some(claimed) = node.claims {
            return self.readmit_node(claimed, named, node);
        }
        if let Some(former) = named {
            if self.nodes[&former].token == node.token {
                return Response::Admitted(former);
            }
            // The same name without its data directory is another node: the former one is gone.
            self.forget_node(former);
        }
        let id = NodeId(index.max(self.highest_node.0.saturating_add(1)));
        self.highest_node = id;
        let mut record = NodeRecord::unnamed(index);
        record.hear(node);
        record.token = node.token;
        self.nodes.insert(id, record);
        Response::Admitted(id)
    }

    fn readmit_node(
        &mut self,
        claimed: NodeId,
        named: Option<NodeId>,
        node: &AdmitNode,
    ) -> Response {
        if let Some(other) = named.filter(|named| *named != claimed) {
            return Response::Refused(format!("node {other} has the name {}", node.name));
        }
        if let Some(record) = self.nodes.get_mut(&claimed) {
            record.hear(node);
            return Response::Admitted(claimed);
        }
        let never = || format!("there has never been a node {claimed}");
        Response::Refused(self.removed(claimed).unwrap_or_else(never))
    }

    /// That a node was removed, in words, if it was: ids only grow.
    pub(in crate::directory) fn removed(&self, node: NodeId) -> Option<String> {
        let removed = node <= self.highest_node && !self.nodes.contains_key(&node);
        removed.then(|| {
            format!(
                "node {node} was removed from the cluster; give it an empty data directory to join \
                 as a new one"
            )
        })
    }

    pub(super) fn remove_node(&mut self, node: NodeId) -> Response {
        if self.nodes.len() == 1 && self.nodes.contains_key(&node) {
            return Response::Refused(format!("node {node} is the last one"));
        }
        self.forget_node(node);
        Response::Done
    }

    fn forget_node(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        for shard in &mut self.shards {
            shard.forget(node);
        }
    }

    pub(super) fn set_node_state(&mut self, set: &SetNodeState) -> Response {
        match self.nodes.get_mut(&set.node) {
            Some(record) => {
                record.state = set.state;
                Response::Done
            }
            None => Response::Refused(format!("there is no node {}", set.node)),
        }
    }

    pub(in crate::directory) fn node_named(&self, name: &str) -> Option<NodeId> {
        let mut named = self.nodes.iter().filter(|(_, record)| &*record.name == name);
        named.next().map(|(id, _)| *id)
    }

    pub(in crate::directory) fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// Every node, ascending by id.
    pub(in crate::directory) fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.nodes.iter().map(|(id, record)| (*id, record))
    }
}
