//! Nodes that do not reach each other and talk over others.

use std::net::UdpSocket;

use parlance_actors::ports::cluster::LinkReport;
use quinn::{RecvStream, SendStream};

use super::strangers::rogue;
use super::*;
use crate::limits::PASSAGES_PER_ORIGIN_MAX;
use crate::link::{DialError, Linked, Purpose};

const THREE: NodeId = NodeId(3);
const FOUR: NodeId = NodeId(4);

/// Where packets are taken and nothing is ever answered.
fn nowhere() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(anywhere()).expect("bound");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// Nodes 1, 2, ... of which every two know each other; those named reach each other directly.
struct Map {
    nodes: Vec<Node>,
    nowhere: SocketAddr,
    _nowhere: UdpSocket,
}

impl Map {
    fn new(town: &Town, count: u64, reach: &[(u64, u64)]) -> Self {
        let nodes = (1..=count).map(|node| Node::new(town, NodeId(node))).collect();
        let (socket, nowhere) = nowhere();
        let map = Self { nodes, nowhere, _nowhere: socket };
        for one in 1..=count {
            map.tell(one, reach);
        }
        map
    }

    /// Tells a node where the others are.
    fn tell(&self, one: u64, reach: &[(u64, u64)]) {
        let others = (1..=self.nodes.len() as u64).filter(|other| *other != one);
        let known = others.map(|other| {
            let reached = reach.contains(&(one, other)) || reach.contains(&(other, one));
            let there = self.of(other).links.local_addr();
            at(NodeId(other), if reached { there } else { self.nowhere })
        });
        self.of(one).knows(&known.collect::<Vec<_>>());
    }

    fn of(&self, node: u64) -> &Node {
        &self.nodes[usize::try_from(node).expect("small") - 1]
    }
}

impl Node {
    fn link(&self, to: NodeId) -> LinkReport {
        self.links.links().into_iter().find(|link| link.peer == to).expect("a peer")
    }

    async fn until_linked(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:?}", self.links.links());
    }

    /// Whether this node sends on a direct connection.
    fn reaches(&self, to: NodeId) -> bool {
        let link = self.link(to);
        link.connected && link.relayed_by.is_none()
    }

    /// What becomes of a look for a way, by itself.
    async fn find(&self, to: NodeId, address: SocketAddr) -> Result<Linked, DialError> {
        let name = PeerName(name(to).into());
        let endpoint = &self.links.shared.endpoint;
        endpoint.find_way(&address.to_string(), &name, Purpose::Actor, false).await
    }
}

/// Why a way that was found is refused at its far end: while it is dialled, or right after it.
async fn refused(found: Result<Linked, DialError>) -> String {
    match found {
        Ok(linked) => {
            timeout(PATIENCE, linked.connection.closed()).await.expect("refused").to_string()
        }
        Err(error) => error.to_string(),
    }
}

fn numbered(number: u32, bytes: usize) -> Bytes {
    let mut frame = number.to_be_bytes().to_vec();
    frame.resize(4 + bytes, 7);
    frame.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_over_a_third_node_keep_their_order_on_each_channel_in_both_directions() {
    const FRAMES: u32 = 2_000;
    let town = Town::new();
    let map = Map::new(&town, 3, &[(1, 2), (2, 3)]);
    let (one, three) = (map.of(1), map.of(3));
    let frame = |number: u32| numbered(number, (number as usize * 37) % 2_000);
    let send = async |from: &Node, to| {
        for number in 0..FRAMES {
            for channel in Channel::all() {
                from.send(to, channel, frame(number)).await;
            }
            if number % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(send(one, THREE), send(three, ONE));
    for (node, from) in [(one, THREE), (three, ONE)] {
        let all = FRAMES as usize * Channel::all().count();
        node.ear.until("all frames", |ear| ear.heard.lock().len() >= all).await;
        for channel in Channel::all() {
            let expected = (0..FRAMES).map(|n| Heard::Frame(from, channel, frame(n)));
            assert!(node.ear.of(from, channel).into_iter().eq(expected), "{from} {channel:?}");
        }
        let link = node.link(from);
        assert_eq!((link.connected, link.relayed_by), (true, Some(TWO)), "{link:?}");
        assert_eq!(link.interruptions, 0);
    }
    // The one in the middle heard nothing of it.
    assert!(map.of(2).ear.heard.lock().is_empty());
    assert!(map.of(2).reaches(ONE) && map.of(2).reaches(THREE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_as_large_as_the_bound_goes_over_a_third_node() {
    let town = Town::new();
    let map = Map::new(&town, 3, &[(1, 2), (2, 3)]);
    let largest = Bytes::from(vec![3; FRAME_BYTES_MAX]);
    map.of(1).send(THREE, FIRST, largest.clone()).await;
    map.of(3).ear.until("it", |ear| ear.frames(ONE, FIRST).len() == 1).await;
    assert!(map.of(3).ear.frames(ONE, FIRST) == [largest]);
}

/// A channel whose reader stands still fills its queue at its origin and nowhere else, and holds up
/// nothing beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_over_a_relay_slows_only_its_sender() {
    let town = Town::new();
    let (one, two) = (Node::new(&town, ONE), Node::new(&town, TWO));
    // It takes nothing: it is not attached.
    let three = silent(&town, THREE, anywhere(), 1);
    let (_nowhere, nowhere) = nowhere();
    let (here, there) = (at(ONE, one.links.local_addr()), at(TWO, two.links.local_addr()));
    one.knows(&[there.clone(), at(THREE, nowhere)]);
    two.knows(&[here, at(THREE, three.links.local_addr())]);
    three.knows(&[at(ONE, nowhere), there]);
    let mut sent = 0;
    one.send(THREE, FIRST, numbered(0, 100_000)).await;
    while one.links.send(THREE, FIRST, numbered(sent + 1, 100_000)).is_ok() {
        sent += 1;
        assert!(sent < 1_000, "nothing holds the sender back");
    }
    one.ear.until("told", |ear| ear.interruptions(THREE, FIRST) == 1).await;
    one.send(TWO, FIRST, "beside it").await;
    two.ear.until("a frame", |ear| ear.frames(ONE, FIRST) == ["beside it"]).await;
    three.attach();
    one.send(THREE, FIRST, "after it").await;
    three
        .ear
        .until("a frame", |ear| {
            ear.frames(ONE, FIRST).last().is_some_and(|last| last == "after it")
        })
        .await;
    assert!(three.ear.interruptions(ONE, FIRST) <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_relay_ends_both_ends_are_told_and_take_another_one() {
    let town = Town::new();
    let reach = [(1, 2), (2, 3), (1, 4), (4, 3), (2, 4)];
    let mut map = Map::new(&town, 4, &reach);
    // Both relays are in reach before the ends hear of each other, so that both have the same choice.
    let sides = [(1, [TWO, FOUR]), (3, [TWO, FOUR]), (2, [ONE, THREE]), (4, [ONE, THREE])];
    for (node, peers) in sides {
        let there = peers.map(|peer| at(peer, map.of(peer.0).links.local_addr()));
        map.of(node).knows(&there);
    }
    for (node, [first, second]) in sides {
        let ready = |node: &Node| node.reaches(first) && node.reaches(second);
        map.of(node).until_linked("all who are in reach", ready).await;
    }
    map.tell(1, &reach);
    map.tell(3, &reach);
    let (one, three) = (map.of(1), map.of(3));
    one.send(THREE, FIRST, "before").await;
    three.ear.until("a frame", |ear| ear.frames(ONE, FIRST) == ["before"]).await;
    three.send(ONE, FIRST, "before").await;
    one.ear.until("a frame", |ear| ear.frames(THREE, FIRST) == ["before"]).await;
    let relay = one.link(THREE).relayed_by.expect("over a relay");
    assert_eq!(three.link(ONE).relayed_by, Some(relay), "both ends choose the same one");
    let told = one.ear.interruptions(THREE, FIRST);
    let place = usize::try_from(relay.0).expect("small") - 1;
    let ended = std::mem::replace(&mut map.nodes[place], silent(&town, NodeId(9), anywhere(), 1));
    ended.links.close().await;
    let (one, three) = (map.of(1), map.of(3));
    one.ear.until("told", |ear| ear.interruptions(THREE, FIRST) > told).await;
    three.ear.until("told", |ear| ear.interruptions(ONE, FIRST) > 0).await;
    // What is sent in the round that is ending may be lost, which is told.
    let arrived = timeout(PATIENCE, async {
        while three.ear.frames(ONE, FIRST).len() < 2 || one.ear.frames(THREE, FIRST).len() < 2 {
            one.send(THREE, FIRST, "after").await;
            three.send(ONE, FIRST, "after").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    arrived.await.expect("frames over the other relay");
    let other = if relay == TWO { FOUR } else { TWO };
    assert_eq!(one.link(THREE).relayed_by, Some(other));
    // Once for each direction at most: one may be noticed only in the round after the other's.
    assert!(one.ear.interruptions(THREE, FIRST) <= told + 2);
    assert!(three.ear.interruptions(ONE, FIRST) <= told + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_has_no_direct_way_refuses() {
    let town = Town::new();
    let map = Map::new(&town, 3, &[(1, 2)]);
    map.of(1).until_linked("a relay in reach", |one| one.reaches(TWO)).await;
    let error = map.of(1).find(THREE, map.nowhere).await.expect_err("no way");
    assert!(error.to_string().contains("over n2: it has no direct way there"), "{error}");
    assert_eq!(map.of(1).links.send(THREE, FIRST, "lost".into()), Err(NotSent::NoWay));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_never_a_second_hop() {
    let town = Town::new();
    let map = Map::new(&town, 4, &[(1, 2), (2, 3), (3, 4)]);
    let over_three = |two: &Node| two.link(FOUR).relayed_by == Some(THREE);
    map.of(2).until_linked("two has a way to four, over three", over_three).await;
    map.of(1).until_linked("a relay in reach", |one| one.reaches(TWO)).await;
    let error = map.of(1).find(FOUR, map.nowhere).await.expect_err("no way");
    assert!(error.to_string().contains("over n2: it has no direct way there"), "{error}");
    // Not even by asking on a relayed connection: nobody there speaks of relays.
    let one = &map.of(1).links.shared.endpoint;
    let name = PeerName("n3".into());
    let asked = one.find_way(&map.nowhere.to_string(), &name, Purpose::Relay, false).await;
    let error = asked.expect_err("refused").to_string();
    assert!(error.contains("it speaks no version of the protocol"), "{error}");
    assert_eq!(map.of(1).links.send(FOUR, FIRST, "lost".into()), Err(NotSent::NoWay));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_at_the_far_end_is_refused_there_whoever_relays() {
    let town = Town::new();
    let map = Map::new(&town, 3, &[(1, 2), (2, 3)]);
    let three = map.of(3);
    three.knows(&[at(TWO, map.of(2).links.local_addr())]);
    map.of(2).until_linked("the far end in reach", |two| two.reaches(THREE)).await;
    map.of(1).until_linked("a relay in reach", |one| one.reaches(TWO)).await;
    let why = refused(map.of(1).find(THREE, map.nowhere).await).await;
    assert!(why.contains("node 1 (n1) is not known here yet"), "{why}");
    map.tell(3, &[(2, 3)]);
    map.of(1).send(THREE, FIRST, "hi").await;
    three.ear.until("a frame", |ear| ear.frames(ONE, FIRST).contains(&"hi".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_start_is_refused_at_the_far_end_whoever_relays() {
    let town = Town::new();
    let map = Map::new(&town, 3, &[(1, 2), (2, 3)]);
    map.of(1).until_linked("a relay in reach", |one| one.reaches(TWO)).await;
    // The far end hears of a newer start, and the relay does not.
    let newer = silent(&town, ONE, anywhere(), 2);
    newer.attach();
    newer.knows(&[at(THREE, map.of(3).links.local_addr())]);
    map.of(3).knows(&[at(ONE, newer.links.local_addr()), at(TWO, map.of(2).links.local_addr())]);
    newer.send(THREE, FIRST, "newer").await;
    map.of(3).ear.until("a frame", |ear| ear.frames(ONE, FIRST).contains(&"newer".into())).await;
    let why = refused(map.of(1).find(THREE, map.nowhere).await).await;
    assert!(why.contains("node 1 was heard of in a newer start"), "{why}");
}

/// A relay says whatever it likes about who is at the other end: the ends look for themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_cannot_speak_for_another_node() {
    let town = Town::new();
    let three = Node::new(&town, THREE);
    three.knows(&[at(ONE, anywhere()), at(TWO, anywhere())]);
    let two = rogue(&town, "n2", Some(TWO));
    let address = three.links.local_addr().to_string();
    let relay = two.dial(&address, None, Purpose::Relay).await.expect("linked");
    // Node 2 says that it is node 1, with a certificate of its own.
    two.set_hello(Hello { node: Some(ONE), incarnation: 1, ..Hello::default() });
    let name = |name: &str| PeerName(name.into());
    let dialled = two.pretend_to_relay(&relay, &name("n1"), &name("n3"), Purpose::Actor).await;
    let why = refused(dialled).await;
    assert!(why.contains("n2 says that it is node 1, which is n1"), "{why}");
    assert!(three.ear.heard.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_direct_way_is_taken_again_when_it_works_and_both_ends_are_told() {
    let town = Town::new();
    let bridge = [(1, 2), (2, 3)];
    let map = Map::new(&town, 3, &bridge);
    let (one, three) = (map.of(1), map.of(3));
    one.send(THREE, FIRST, "over two").await;
    three.ear.until("a frame", |ear| ear.frames(ONE, FIRST) == ["over two"]).await;
    assert_eq!(one.link(THREE).relayed_by, Some(TWO));
    for node in [1, 3] {
        map.tell(node, &[(1, 2), (2, 3), (1, 3)]);
    }
    one.until_linked("the direct way", |one| one.reaches(THREE)).await;
    three.until_linked("the direct way back", |three| three.reaches(ONE)).await;
    one.ear.until("told", |ear| ear.interruptions(THREE, FIRST) > 0).await;
    three.ear.until("told", |ear| ear.interruptions(ONE, FIRST) > 0).await;
    let arrived = timeout(PATIENCE, async {
        while !three.ear.frames(ONE, FIRST).contains(&"straight".into()) {
            one.send(THREE, FIRST, "straight").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    arrived.await.expect("a frame on the direct way");
    // At most one for each direction that changed its way.
    assert!(one.ear.interruptions(THREE, FIRST) <= 2 && one.ear.interruptions(THREE, FIRST) >= 1);
    assert!(one.reaches(THREE) && three.reaches(ONE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_for_a_relay_is_refused_and_does_no_other_harm() {
    let town = Town::new();
    let map = Map::new(&town, 3, &[(1, 2), (2, 3)]);
    let others = [ONE, THREE].map(|node| at(node, map.of(node.0).links.local_addr()));
    map.of(2).knows(&[&others[..], &[at(FOUR, map.nowhere)]].concat());
    map.of(1).send(THREE, FIRST, "before").await;
    let rogue = rogue(&town, "n4", Some(FOUR));
    let address = map.of(2).links.local_addr().to_string();
    let linked = rogue.dial(&address, None, Purpose::Relay).await.expect("linked");
    for garbage in [&[9, 2, b'n', b'3'][..], &[0, 255, b'n'], &[0, 0], &[0, 2, 0xff, 0xff]] {
        let (mut send, mut recv) = linked.connection.open_bi().await.expect("a stream");
        send.write_all(garbage).await.expect("written");
        let answer = timeout(PATIENCE, recv.read_to_end(9)).await.expect("answered");
        let error = answer.expect_err("refused").to_string();
        assert!(error.contains("18"), "{error}");
    }
    // A passage to a node that the relay reaches, and then no packets.
    let (mut send, mut recv) = linked.connection.open_bi().await.expect("a stream");
    send.write_all(&[0, 2, b'n', b'3']).await.expect("written");
    let mut opened = [0];
    recv.read_exact(&mut opened).await.expect("opened");
    send.write_all(&[0, 3, 1, 2, 3, 0xff, 0xff, 1]).await.expect("written");
    let ended = timeout(PATIENCE, recv.read_to_end(9)).await.expect("ended");
    assert!(ended.is_ok_and(|rest| rest.is_empty()));
    map.of(1).send(THREE, FIRST, "after").await;
    map.of(3).ear.until("both", |ear| ear.frames(ONE, FIRST) == ["before", "after"]).await;
}

/// Opens a passage as its first bytes say, or gives why it was refused.
async fn opening(linked: &Linked, opening: &[u8]) -> Result<(SendStream, RecvStream), String> {
    let (mut send, mut recv) = linked.connection.open_bi().await.expect("a stream");
    send.write_all(opening).await.expect("written");
    let mut opened = [0];
    let answered = timeout(PATIENCE, recv.read_exact(&mut opened)).await.expect("answered");
    answered.map(|()| (send, recv)).map_err(|error| format!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_known_has_nothing_carried_until_it_is() {
    let town = Town::new();
    let map = Map::new(&town, 3, &[(1, 2), (2, 3)]);
    map.of(2).until_linked("the far end in reach", |two| two.reaches(THREE)).await;
    let rogue = rogue(&town, "n4", Some(FOUR));
    let address = map.of(2).links.local_addr().to_string();
    let linked = rogue.dial(&address, None, Purpose::Relay).await.expect("linked");
    let refused = opening(&linked, b"\x00\x02n3").await.expect_err("refused");
    assert!(refused.contains("Reset(19)"), "{refused}");
    let others = [ONE, THREE].map(|node| at(node, map.of(node.0).links.local_addr()));
    map.of(2).knows(&[&others[..], &[at(FOUR, map.nowhere)]].concat());
    opening(&linked, b"\x00\x02n3").await.expect("carried");
    // And no longer once it was removed.
    map.of(2).knows(&others);
    let refused = opening(&linked, b"\x00\x02n3").await.expect_err("refused");
    assert!(refused.contains("Reset(19)"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_leads_no_more_passages_to_a_node_than_it_would_carry_for_one() {
    let town = Town::new();
    let three = Node::new(&town, THREE);
    three.knows(&[at(TWO, anywhere())]);
    let two = rogue(&town, "n2", Some(TWO));
    let address = three.links.local_addr().to_string();
    let linked = two.dial(&address, None, Purpose::Relay).await.expect("linked");
    let mut open = Vec::new();
    for _ in 0..PASSAGES_PER_ORIGIN_MAX {
        open.push(opening(&linked, b"\x01\x02n1").await.expect("open"));
    }
    let refused = opening(&linked, b"\x01\x02n1").await.expect_err("refused");
    assert!(refused.contains("Reset(17)"), "{refused}");
    // One that ended makes room.
    drop(open.pop());
    let again = timeout(PATIENCE, async {
        while opening(&linked, b"\x01\x02n1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    again.await.expect("room");
}
