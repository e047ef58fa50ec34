//! The busiest rooms of the cluster: each node names its own when it is asked, over the same calls
//! as Raft's small ones. Nothing of it is kept here, and the log knows nothing of it.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use parlance_actors::limits::BUSIEST_ROOMS_MAX;
use parlance_actors::ports::cluster::RoomLoad;
use parlance_actors::vocab::NodeId;

use super::core::Core;
use super::wire::{Answer, Ask};
use crate::limits;

/// How this node names its busiest rooms. Called on the control runtime, which it must not hold up.
pub type BusiestHere = Arc<dyn Fn() -> BoxFuture<'static, Vec<RoomLoad>> + Send + Sync>;

impl Core {
    /// What this node says of its own rooms.
    pub(super) async fn busiest_here(&self) -> Answer {
        match self.busiest.get() {
            Some(busiest) => Answer::Busiest(busiest().await),
            None => Answer::Failed("this node is still starting".into()),
        }
    }

    /// What each node of the cluster says of its rooms, this one among them; nothing of those that
    /// are down or do not answer in time.
    pub(super) async fn busiest_everywhere(&self) -> Vec<(NodeId, Option<Vec<RoomLoad>>)> {
        let nodes: Vec<NodeId> = self.view.state.read().nodes().map(|(id, _)| id).collect();
        let alive = self.alive.borrow().clone();
        let is_down = |node: &NodeId| alive.as_ref().is_some_and(|alive| !alive.contains(node));
        let ask = |node: NodeId| {
            let is_down = node != self.identity.node && is_down(&node);
            async move { (node, if is_down { None } else { self.busiest_of(node).await }) }
        };
        join_all(nodes.into_iter().map(ask)).await
    }

    async fn busiest_of(&self, node: NodeId) -> Option<Vec<RoomLoad>> {
        let answer = if node == self.identity.node {
            self.busiest_here().await
        } else {
            let place = self.network.place(node)?;
            self.network.ask(node, &place, Ask::Busiest, limits::BUSIEST_WAIT).await.ok()?
        };
        let Answer::Busiest(mut loads) = answer else { return None };
        loads.truncate(BUSIEST_ROOMS_MAX);
        Some(loads)
    }
}
