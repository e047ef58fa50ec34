//! The one task between gossip, directory and links: it tells each what the others know. It waits
//! for news only; names are looked up beside it.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use parlance_actors::ports::cluster::NodeState;
use parlance_actors::ports::directory::Directory;
use parlance_actors::vocab::NodeId;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Loads, places};
use crate::directory::{NodeInfo, RaftDirectory};
use crate::gossip::{Expected, Gossip, Said, View};
use crate::limits::{NAMES_AGAIN_TICKS, WIRING_TICK};
use crate::peers::{DataLinks, PeerAddress};

pub(super) struct Wiring {
    directory: Arc<RaftDirectory>,
    gossip: Arc<Gossip>,
    data: Arc<DataLinks>,
    loads: Arc<OnceLock<Loads>>,
    said: Said,
    /// Those that gossip gave up.
    dead: BTreeSet<NodeId>,
    /// The look-up of names that is under way; one at a time.
    names: JoinSet<Vec<Expected>>,
    /// Ticks since names were last looked up; `None` when they should be at once.
    looked_up: Option<u32>,
}

impl Wiring {
    pub(super) fn new(
        directory: Arc<RaftDirectory>,
        gossip: Arc<Gossip>,
        data: Arc<DataLinks>,
        loads: Arc<OnceLock<Loads>>,
        said: Said,
    ) -> Self {
        let names = JoinSet::new();
        let dead = BTreeSet::new();
        Self { directory, gossip, data, loads, said, dead, names, looked_up: None }
    }

    /// Goes on until it is cancelled.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut view = self.gossip.view();
        let mut nodes = self.directory.nodes();
        let mut ticks = tokio::time::interval(WIRING_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Ok(()) = view.changed() => {}
                Ok(()) = nodes.changed() => self.looked_up = None,
                Some(found) = self.names.join_next() => {
                    // One that panicked is done again with the next look-up.
                    if let Ok(expected) = found {
                        self.gossip.expect(expected);
                    }
                    continue;
                }
                _ = ticks.tick() => self.tick(&nodes.borrow()),
            }
            let seen = Arc::clone(&view.borrow_and_update());
            let known = Arc::clone(&nodes.borrow_and_update());
            self.note_deaths(&seen);
            self.tell(&seen, &known);
            self.look_up(&known);
        }
    }

    /// Says once of each node that gossip gives up that it does.
    fn note_deaths(&mut self, view: &View) {
        let dead: BTreeSet<NodeId> =
            view.nodes().filter(|(_, seen)| !seen.alive).map(|(node, _)| node).collect();
        for node in dead.difference(&self.dead) {
            tracing::info!(%node, "gossip believes that a node is dead");
        }
        self.dead = dead;
    }

    /// What this node does, to the leader and to everybody.
    fn tick(&mut self, nodes: &[NodeInfo]) {
        self.looked_up = self.looked_up.map(|ticks| ticks + 1);
        let load = self.loads.get().map(|loads| loads()).unwrap_or_default();
        let own = self.directory.node();
        let draining = nodes.iter().any(|node| node.id == own && node.state == NodeState::Draining);
        self.said = Said {
            draining,
            rooms: load.rooms,
            sessions: load.sessions,
            events_per_second: load.events_per_second as f32,
            ..self.said.clone()
        };
        self.gossip.say(self.said.clone());
        self.directory.set_load(load);
    }

    fn tell(&self, view: &View, nodes: &[NodeInfo]) {
        self.directory.believe(not_known_dead(view, nodes), view.alive().clone());
        let own = self.directory.node();
        let others = nodes.iter().filter(|node| node.id != own && !node.name.0.is_empty());
        let peers = others.map(|node| PeerAddress {
            node: node.id,
            name: node.name.clone(),
            data: Arc::clone(&node.data),
            alive: view.alive().contains(&node.id),
        });
        self.data.set_peers(peers.collect());
    }

    fn look_up(&mut self, nodes: &[NodeInfo]) {
        let fresh = self.looked_up.is_some_and(|ticks| ticks < NAMES_AGAIN_TICKS);
        if fresh || !self.names.is_empty() {
            return;
        }
        self.looked_up = Some(0);
        let named = nodes.iter().filter(|node| !node.name.0.is_empty());
        let named: Vec<NodeInfo> = named.cloned().collect();
        self.names.spawn(async move {
            let mut expected = Vec::new();
            for NodeInfo { id, name, control, .. } in named {
                if let Some(address) = places::one(&control).await {
                    expected.push(Expected { node: id, name, address });
                }
            }
            expected
        });
    }
}

/// Whom the directory need not doubt. Gossip may be cut off where Raft is not, so one of whom it
/// never heard is not dead.
fn not_known_dead(view: &View, nodes: &[NodeInfo]) -> BTreeSet<NodeId> {
    let ids = nodes.iter().map(|node| node.id);
    ids.filter(|id| view.node(*id).is_none_or(|seen| seen.alive)).collect()
}
