//! The driver: its loop with packets in memory and time that is paused.

use std::collections::BTreeMap;

use parlance_actors::vocab::NodeId;

use super::*;

/// Hands packets from each node to the others at once.
#[derive(Default)]
struct Wire {
    inboxes: Mutex<BTreeMap<SocketAddr, mpsc::Sender<Received>>>,
}

/// One node's end of it.
struct End {
    wire: Arc<Wire>,
    name: PeerName,
    address: SocketAddr,
}

impl Packets for End {
    fn packet(&self, to: SocketAddr, packet: Bytes) {
        let inbox = self.wire.inboxes.lock().get(&to).cloned();
        if let Some(inbox) = inbox {
            // A full inbox loses packets, as the network does.
            let _ = inbox.try_send((self.name.clone(), self.address, packet));
        }
    }
}

fn address(node: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_000 + u16::try_from(node).expect("few nodes")))
}

fn name(node: u64) -> PeerName {
    PeerName(format!("node-{node}").into())
}

fn said(rooms: u64) -> Said {
    Said {
        draining: false,
        rooms,
        sessions: 0,
        events_per_second: 0.0,
        data: address(100),
        version: "0.1.0".into(),
    }
}

fn expected(node: u64, name: PeerName) -> Expected {
    Expected { node: NodeId(node), name, address: address(node) }
}

fn start(wire: &Arc<Wire>, node: u64, name: PeerName, incarnation: u64) -> Gossip {
    let (sender, inbox) = mpsc::channel(limits::PACKETS_QUEUE_MAX);
    wire.inboxes.lock().insert(address(node), sender);
    Gossip::start(GossipOptions {
        identity: Identity::new(NodeId(node), incarnation, address(node)),
        seeds: vec![address(1)],
        said: said(node),
        packets: Arc::new(End { wire: Arc::clone(wire), name, address: address(node) }),
        inbox,
        seed: node,
    })
}

/// Waits until the view is so; virtual time bounds it.
async fn until(gossip: &Gossip, what: &str, so: impl Fn(&View) -> bool) {
    let mut view = gossip.view();
    let found = tokio::time::timeout(Duration::from_secs(60), view.wait_for(|view| so(view))).await;
    match found {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => panic!("{what}: the loop ended"),
        Err(_) => panic!("{what}: {:?}", gossip.view().borrow()),
    }
}

fn alive(nodes: &[u64]) -> impl Fn(&View) -> bool {
    let nodes = nodes.iter().copied().map(NodeId).collect();
    move |view| *view.alive() == nodes
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_hear_loads_and_notice_who_leaves_and_who_dies() {
    let wire = Arc::new(Wire::default());
    let nodes: Vec<Gossip> = (1..=4).map(|node| start(&wire, node, name(node), 1)).collect();
    for gossip in &nodes {
        until(gossip, "all are there", alive(&[1, 2, 3, 4])).await;
    }
    nodes[2].say(said(5_000));
    let rooms = |view: &View| view.node(NodeId(3))?.said.as_ref().map(|said| said.rooms);
    until(&nodes[0], "the load is heard", |view| rooms(view) == Some(5_000)).await;

    nodes[3].leave().await;
    nodes[3].leave().await;
    until(&nodes[0], "one left", alive(&[1, 2, 3])).await;

    let mut nodes = nodes;
    wire.inboxes.lock().remove(&address(2));
    drop(nodes.remove(1));
    until(&nodes[0], "one died", alive(&[1, 3])).await;
    assert!(nodes[0].view().borrow().node(NodeId(2)).is_some_and(|seen| !seen.alive));

    let again = start(&wire, 2, name(2), 2);
    until(&again, "it is back", alive(&[1, 2, 3])).await;
    until(&nodes[0], "it is back", alive(&[1, 2, 3])).await;
    assert_eq!(nodes[0].view().borrow().node(NodeId(2)).map(|seen| seen.incarnation), Some(2));
}

#[tokio::test(start_paused = true)]
async fn nobody_speaks_for_a_node_that_the_directory_knows_by_another_name() {
    let wire = Arc::new(Wire::default());
    let one = start(&wire, 1, name(1), 1);
    one.expect(vec![expected(1, name(1)), expected(2, name(2))]);
    let liar = start(&wire, 2, name(9), 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(alive(&[1])(&one.view().borrow()), "{:?}", one.view().borrow());

    one.expect(vec![expected(1, name(1)), expected(2, name(9))]);
    until(&one, "now it is who it should be", alive(&[1, 2])).await;
    until(&liar, "both see it", alive(&[1, 2])).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_seeds_is_found_by_those_who_expect_it() {
    let wire = Arc::new(Wire::default());
    let two = start(&wire, 2, name(2), 1);
    let three = start(&wire, 3, name(3), 1);
    two.expect(vec![expected(2, name(2)), expected(3, name(3))]);
    until(&two, "they met", alive(&[2, 3])).await;
    until(&three, "they met", alive(&[2, 3])).await;
}
