//! The data endpoint over loopback: the port's promises with links that overflow, break and lie.

mod answers;
mod faults;
mod relay;
mod strangers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use parlance_actors::ports::peers::{Channel, Inbox, Malformed, NotSent, Peers};
use parlance_actors::vocab::NodeId;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{DataLinks, PeerAddress};
use crate::limits::{CHANNEL_WHISPER_BYTES_MAX, FRAME_BYTES_MAX};
use crate::link::tests::{PATIENCE, Town, apart, options};
use crate::link::{Hello, LinkOptions};
use crate::transport::PeerName;

/// What an inbox heard, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Frame(NodeId, Channel, Bytes),
    Interrupted(NodeId, Channel),
}

/// Remembers what it hears, and calls `bad` malformed.
struct Ear {
    heard: Mutex<Vec<Heard>>,
    count: watch::Sender<usize>,
}

impl Ear {
    fn new() -> Arc<Self> {
        Arc::new(Self { heard: Mutex::default(), count: watch::Sender::new(0) })
    }

    fn hear(&self, heard: Heard) {
        let mut all = self.heard.lock();
        all.push(heard);
        self.count.send_replace(all.len());
    }

    /// What was heard of a peer on a channel.
    fn of(&self, node: NodeId, channel: Channel) -> Vec<Heard> {
        let of = |heard: &&Heard| match heard {
            Heard::Frame(from, on, _) => (*from, *on) == (node, channel),
            Heard::Interrupted(peer, on) => (*peer, *on) == (node, channel),
        };
        self.heard.lock().iter().filter(of).cloned().collect()
    }

    fn frames(&self, node: NodeId, channel: Channel) -> Vec<Bytes> {
        let frame = |heard| match heard {
            Heard::Frame(_, _, frame) => Some(frame),
            Heard::Interrupted(..) => None,
        };
        self.of(node, channel).into_iter().filter_map(frame).collect()
    }

    fn interruptions(&self, node: NodeId, channel: Channel) -> usize {
        let of = self.of(node, channel);
        of.iter().filter(|heard| matches!(heard, Heard::Interrupted(..))).count()
    }

    /// Waits until something holds of what was heard.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut count = self.count.subscribe();
        let waited = timeout(PATIENCE, async {
            while !holds(self) {
                count.changed().await.expect("the ear is there");
            }
        });
        if waited.await.is_err() {
            let heard = self.heard.lock().len();
            panic!("{what}: not within {PATIENCE:?}, with {heard} things heard");
        }
    }
}

impl Inbox for Ear {
    fn frame(&self, from: NodeId, channel: Channel, frame: &[u8]) -> Result<(), Malformed> {
        if frame == b"bad" {
            return Err(Malformed("it is bad".to_owned()));
        }
        self.hear(Heard::Frame(from, channel, Bytes::copy_from_slice(frame)));
        Ok(())
    }

    fn interrupted(&self, peer: NodeId, channel: Channel) {
        self.hear(Heard::Interrupted(peer, channel));
    }
}

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const FIRST: Channel = Channel(0);

struct Node {
    links: DataLinks,
    ear: Arc<Ear>,
}

fn name(node: NodeId) -> String {
    format!("n{node}")
}

/// A node without peers that is not attached yet.
fn silent(town: &Town, node: NodeId, listen: SocketAddr, incarnation: u64) -> Node {
    let hello = Hello { incarnation, ..Hello::default() };
    let options = LinkOptions { listen, ..options(town.identity(&name(node)), hello) };
    Node { links: DataLinks::bind(node, options).expect("bound"), ear: Ear::new() }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn at(node: NodeId, address: SocketAddr) -> PeerAddress {
    PeerAddress {
        node,
        name: PeerName(name(node).into()),
        data: address.to_string().into(),
        alive: true,
    }
}

impl Node {
    fn new(town: &Town, node: NodeId) -> Self {
        let node = silent(town, node, anywhere(), 1);
        node.attach();
        node
    }

    fn attach(&self) {
        self.links.attach(Arc::clone(&self.ear) as Arc<dyn Inbox>);
    }

    fn knows(&self, peers: &[PeerAddress]) {
        self.links.set_peers(peers.to_vec());
    }

    /// Sends when that is possible.
    async fn send(&self, to: NodeId, channel: Channel, frame: impl Into<Bytes>) {
        let frame = frame.into();
        let sent = timeout(PATIENCE, async {
            while let Err(error) = self.links.send(to, channel, frame.clone()) {
                assert_ne!(error, NotSent::TooLarge);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        sent.await.expect("a way within patience");
    }
}

/// Two nodes that know each other.
fn pair(town: &Town) -> (Node, Node) {
    let (one, two) = (Node::new(town, ONE), Node::new(town, TWO));
    introduce(&one, &two);
    (one, two)
}

fn introduce(one: &Node, two: &Node) {
    let both = [at(ONE, one.links.local_addr()), at(TWO, two.links.local_addr())];
    one.knows(&both);
    two.knows(&both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_frames_keep_their_order_on_each_channel_in_both_directions() {
    const FRAMES: u32 = 10_000;
    let town = Town::new();
    let (one, two) = pair(&town);
    // Of all sizes: those that are copied together, and those that go by themselves. All of a
    // channel's together fit its queue, so that none overflows on a machine that is busy.
    let frame = |number: u32| {
        let mut frame = number.to_be_bytes().to_vec();
        let large = if number.is_multiple_of(500) { 20_000 } else { 0 };
        frame.resize(4 + large + (number as usize * 37) % 1_000, 7);
        Bytes::from(frame)
    };
    let send = async |from: &Node, to| {
        for number in 0..FRAMES {
            for channel in Channel::all() {
                from.send(to, channel, frame(number)).await;
            }
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(send(&one, TWO), send(&two, ONE));
    for (node, from) in [(&one, TWO), (&two, ONE)] {
        let all = FRAMES as usize * Channel::all().count();
        node.ear.until("all frames", |ear| ear.heard.lock().len() == all).await;
        for channel in Channel::all() {
            let heard = node.ear.of(from, channel);
            let expected = (0..FRAMES).map(|n| Heard::Frame(from, channel, frame(n)));
            assert!(heard.into_iter().eq(expected), "{from} on {channel:?}");
        }
    }
    let links = one.links.links();
    assert!(links[0].connected && links[0].interruptions == 0, "{links:?}");
    one.links.close().await;
    two.links.close().await;
}

#[tokio::test]
async fn a_frame_may_be_empty_or_as_large_as_the_bound_and_no_larger() {
    let town = Town::new();
    let (one, two) = pair(&town);
    let largest = Bytes::from(vec![3; FRAME_BYTES_MAX]);
    one.send(TWO, FIRST, largest.clone()).await;
    one.send(TWO, FIRST, Bytes::new()).await;
    two.ear.until("two frames", |ear| ear.frames(ONE, FIRST).len() == 2).await;
    assert!(two.ear.frames(ONE, FIRST) == [largest, Bytes::new()]);
    let larger = Bytes::from(vec![3; FRAME_BYTES_MAX + 1]);
    assert_eq!(one.links.send(TWO, FIRST, larger), Err(NotSent::TooLarge));
}

#[tokio::test]
async fn there_is_no_way_to_oneself_and_to_strangers() {
    let town = Town::new();
    let one = Node::new(&town, ONE);
    one.knows(&[at(ONE, one.links.local_addr())]);
    assert_eq!(one.links.send(ONE, FIRST, Bytes::new()), Err(NotSent::NoWay));
    assert_eq!(one.links.send(TWO, FIRST, Bytes::new()), Err(NotSent::NoWay));
    one.links.whisper(TWO, FIRST, Bytes::new());
}

#[tokio::test]
async fn the_live_ones_are_this_node_and_the_peers_that_are_alive() {
    let town = Town::new();
    let one = Node::new(&town, ONE);
    let mut live = one.links.live();
    assert!(live.borrow_and_update().nodes.iter().eq([&ONE]));
    let dead = PeerAddress { alive: false, ..at(NodeId(3), anywhere()) };
    one.knows(&[at(TWO, anywhere()), dead]);
    assert!(live.has_changed().expect("open"));
    assert!(live.borrow_and_update().nodes.iter().eq([&ONE, &TWO]));
    one.knows(&[at(TWO, anywhere())]);
    assert!(!live.has_changed().expect("open"));
    assert_eq!(one.links.links().len(), 1);
}

#[tokio::test]
async fn whispers_are_dropped_above_a_quarter_and_nobody_is_told() {
    let town = Town::new();
    let one = Node::new(&town, ONE);
    // It takes nothing: it is not attached.
    let two = silent(&town, TWO, anywhere(), 1);
    introduce(&one, &two);
    one.send(TWO, FIRST, "first").await;
    let whisper = Bytes::from(vec![1; 100_000]);
    for _ in 0..100 {
        one.links.whisper(TWO, FIRST, whisper.clone());
    }
    let queued = one.links.links()[0].queued_bytes;
    assert!(queued <= CHANNEL_WHISPER_BYTES_MAX as u64, "{queued}");
    assert_eq!(one.links.send(TWO, FIRST, "last".into()), Ok(()));
    two.attach();
    two.ear
        .until("the last", |ear| ear.frames(ONE, FIRST).last().is_some_and(|last| last == "last"))
        .await;
    assert_eq!(two.ear.frames(ONE, FIRST)[0], "first");
    assert!(two.ear.frames(ONE, FIRST).len() < 102);
    assert_eq!(two.ear.interruptions(ONE, FIRST) + one.ear.interruptions(TWO, FIRST), 0);
}
