//! Links in memory: every node of a test on one mesh, with ways that can be cut, frames that are
//! lost, and nodes that end. Keeps the port's contract: order on each channel, and both ends told
//! of an interruption before anything later.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::ports::peers::{Channel, Inbox, Live, NotSent, Peers, Round};
use crate::vocab::NodeId;

/// Frames that wait on one channel. One more interrupts it.
const QUEUE_MAX: usize = 10_000;

/// What travels from one node to another on one channel.
enum Item {
    Frame(Bytes),
    /// Whatever was before it may be lost.
    Interruption,
}

/// One direction of one channel.
#[derive(Default)]
struct Way {
    items: Mutex<VecDeque<Item>>,
    /// Grows with each interruption.
    interruptions: AtomicU64,
    stirred: Notify,
}

type WayKey = (NodeId, NodeId, Channel);

#[derive(Default)]
struct Links {
    inboxes: HashMap<NodeId, Arc<dyn Inbox>>,
    live: HashMap<NodeId, watch::Sender<Arc<Live>>>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// How often each node joined: a node that ended does not speak for its successor.
    lives: HashMap<NodeId, u64>,
    ways: HashMap<WayKey, Arc<Way>>,
}

/// All links of a test. Must be used inside a tokio runtime.
pub struct Mesh {
    links: Mutex<Links>,
    couriers: Mutex<JoinSet<()>>,
}

/// One node's side of a mesh.
pub struct MemoryPeers {
    mesh: Arc<Mesh>,
    node: NodeId,
    life: u64,
}

impl Mesh {
    /// A mesh without nodes.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { links: Mutex::default(), couriers: Mutex::default() })
    }

    /// A node that everybody else sees at once.
    #[must_use]
    pub fn join(self: &Arc<Self>, node: NodeId) -> Arc<MemoryPeers> {
        let life = {
            let mut links = self.links.lock();
            links.inboxes.remove(&node);
            links.live.insert(node, watch::Sender::default());
            let life = links.lives.entry(node).or_default();
            *life += 1;
            *life
        };
        self.announce();
        Arc::new(MemoryPeers { mesh: self.clone(), node, life })
    }

    /// Ends a node as `kill -9` does: what it had not sent is gone, and the others notice.
    pub fn end(&self, node: NodeId) {
        let others: Vec<NodeId> = {
            let mut links = self.links.lock();
            *links.lives.entry(node).or_default() += 1;
            links.inboxes.remove(&node);
            links.live.remove(&node);
            links.live.keys().copied().collect()
        };
        others.into_iter().for_each(|other| self.interrupt(node, other));
        self.announce();
    }

    /// Cuts two nodes from each other: what is on the way is lost and both are told.
    pub fn cut(&self, one: NodeId, other: NodeId) {
        self.links.lock().cut.insert((one.min(other), one.max(other)));
        self.interrupt(one, other);
    }

    /// Ends a [`cut`](Self::cut).
    pub fn heal(&self, one: NodeId, other: NodeId) {
        self.links.lock().cut.remove(&(one.min(other), one.max(other)));
        self.announce();
    }

    /// Loses what is on the way between two nodes, in both directions; both are told.
    pub fn interrupt(&self, one: NodeId, other: NodeId) {
        for channel in Channel::all() {
            for (from, to) in [(one, other), (other, one)] {
                let Some(way) = self.way(from, to, channel) else { continue };
                let mut items = way.items.lock();
                items.clear();
                items.push_back(Item::Interruption);
                way.interruptions.fetch_add(1, Ordering::AcqRel);
                drop(items);
                way.stirred.notify_one();
            }
        }
    }

    fn announce(&self) {
        let links = self.links.lock();
        let nodes: BTreeSet<NodeId> = links.live.keys().copied().collect();
        for live in links.live.values() {
            live.send_replace(Arc::new(Live { nodes: nodes.clone() }));
        }
    }

    fn way(&self, from: NodeId, to: NodeId, channel: Channel) -> Option<Arc<Way>> {
        self.links.lock().ways.get(&(from, to, channel)).cloned()
    }

    /// The way, with its courier running.
    fn way_made(self: &Arc<Self>, from: NodeId, to: NodeId, channel: Channel) -> Arc<Way> {
        let mut links = self.links.lock();
        if let Some(way) = links.ways.get(&(from, to, channel)) {
            return way.clone();
        }
        let way = Arc::<Way>::default();
        links.ways.insert((from, to, channel), way.clone());
        drop(links);
        let courier = carry(Arc::downgrade(self), way.clone(), from, to, channel);
        self.couriers.lock().spawn(courier);
        way
    }
}

async fn carry(mesh: Weak<Mesh>, way: Arc<Way>, from: NodeId, to: NodeId, channel: Channel) {
    loop {
        let item = way.items.lock().pop_front();
        let Some(item) = item else {
            way.stirred.notified().await;
            continue;
        };
        let Some(mesh) = mesh.upgrade() else { return };
        let inbox = |node| mesh.links.lock().inboxes.get(&node).cloned();
        match item {
            Item::Frame(frame) => {
                if let Some(inbox) = inbox(to)
                    && inbox.frame(from, channel, &frame).is_err()
                {
                    mesh.interrupt(from, to);
                }
            }
            Item::Interruption => {
                if let Some(inbox) = inbox(to) {
                    inbox.interrupted(from, channel);
                }
            }
        }
        // Others' turns come between, as on a network.
        tokio::task::yield_now().await;
    }
}

fn is_interrupted(items: &VecDeque<Item>) -> bool {
    items.iter().any(|item| matches!(item, Item::Interruption))
}

impl Peers for MemoryPeers {
    fn live(&self) -> watch::Receiver<Arc<Live>> {
        let links = self.mesh.links.lock();
        links.live.get(&self.node).map_or_else(
            || watch::Sender::new(Arc::new(Live::default())).subscribe(),
            watch::Sender::subscribe,
        )
    }

    fn send(&self, to: NodeId, channel: Channel, frame: Bytes) -> Result<(), NotSent> {
        self.round(to, channel).and_then(|round| self.send_in(round, to, channel, frame))
    }

    fn round(&self, to: NodeId, channel: Channel) -> Result<Round, NotSent> {
        {
            let links = self.mesh.links.lock();
            let pair = (self.node.min(to), self.node.max(to));
            let is_there = to != self.node && links.live.contains_key(&to);
            if !is_there
                || links.cut.contains(&pair)
                || links.lives.get(&self.node) != Some(&self.life)
            {
                return Err(NotSent::NoWay);
            }
        }
        // Both directions exist from the first frame on, so that both ends can be told.
        let back = self.mesh.way_made(to, self.node, channel);
        let way = self.mesh.way_made(self.node, to, channel);
        if is_interrupted(&back.items.lock()) {
            return Err(NotSent::Interrupted);
        }
        if is_interrupted(&way.items.lock()) {
            return Err(NotSent::Interrupted);
        }
        Ok(Round(way.interruptions.load(Ordering::Acquire)))
    }

    fn send_in(
        &self,
        round: Round,
        to: NodeId,
        channel: Channel,
        frame: Bytes,
    ) -> Result<(), NotSent> {
        self.round(to, channel)?;
        let way = self.mesh.way_made(self.node, to, channel);
        let mut items = way.items.lock();
        // An interruption is entered and counted under this lock.
        let present = Round(way.interruptions.load(Ordering::Acquire));
        if present != round || is_interrupted(&items) {
            return Err(NotSent::Interrupted);
        }
        if items.len() >= QUEUE_MAX {
            drop(items);
            self.mesh.interrupt(self.node, to);
            return Err(NotSent::Interrupted);
        }
        items.push_back(Item::Frame(frame));
        drop(items);
        way.stirred.notify_one();
        Ok(())
    }

    fn whisper(&self, to: NodeId, channel: Channel, frame: Bytes) {
        let is_full = self
            .mesh
            .way(self.node, to, channel)
            .is_some_and(|way| way.items.lock().len() >= QUEUE_MAX / 4);
        if !is_full {
            let _ = self.send(to, channel, frame);
        }
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        self.mesh.links.lock().inboxes.insert(self.node, inbox);
    }
}
