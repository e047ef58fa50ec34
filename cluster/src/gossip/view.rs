//! Who is believed to be where and alive. Made whole from foca's members each time, so that its
//! indexes cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use parlance_actors::vocab::NodeId;

use super::said::Said;

/// What gossip believes of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The newest known start of its process.
    pub incarnation: u64,
    /// Where its control endpoint is.
    pub address: SocketAddr,
    /// It is believed to be alive.
    pub alive: bool,
    /// What this process of it last said of itself; `None` until it was heard.
    pub said: Option<Said>,
}

/// What gossip believes of every node that it knows, this one included.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    nodes: BTreeMap<NodeId, Seen>,
    alive: BTreeSet<NodeId>,
}

impl View {
    /// A node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&Seen> {
        self.nodes.get(&node)
    }

    /// Every known node, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Seen)> {
        self.nodes.iter().map(|(node, seen)| (*node, seen))
    }

    /// The nodes that are believed to be alive; this node is one of them until it leaves.
    #[must_use]
    pub fn alive(&self) -> &BTreeSet<NodeId> {
        &self.alive
    }
}

impl FromIterator<(NodeId, Seen)> for View {
    fn from_iter<I: IntoIterator<Item = (NodeId, Seen)>>(nodes: I) -> Self {
        let nodes: BTreeMap<_, _> = nodes.into_iter().collect();
        let alive = nodes.iter().filter(|(_, seen)| seen.alive).map(|(node, _)| *node).collect();
        Self { nodes, alive }
    }
}
