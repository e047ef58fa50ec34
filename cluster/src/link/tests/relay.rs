//! Calls to nodes that can only be reached over others.

use std::net::UdpSocket;

use parlance_actors::vocab::NodeId;

use super::*;
use crate::limits::CALL_BYTES_MAX;

/// Node 1 is n1, and so on.
struct Numbered;

impl Names for Numbered {
    fn name_of(&self, node: NodeId) -> Option<PeerName> {
        Some(PeerName(format!("n{node}").into()))
    }
}

/// Three nodes, the second of which reaches the others and is reached by them.
async fn bridge(town: &Town) -> [Node; 3] {
    let nodes = [1, 2, 3].map(|number| {
        let hello = Hello { node: Some(NodeId(number)), ..Hello::default() };
        let node = node(town.identity(&format!("n{number}")), hello);
        node.links.set_names(Arc::new(Numbered));
        node
    });
    let [one, two, three] = &nodes;
    for (from, to) in [(one, two), (two, three), (three, two), (two, one)] {
        from.ask(&to.place(None), "hi").await.expect("answered");
    }
    nodes
}

/// Where a node of this name is said to be and nobody answers, as long as the socket is there.
fn nowhere(name: Option<&str>) -> (Place, UdpSocket) {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = socket.local_addr().expect("bound").to_string().into();
    (Place { address, name: name.map(|name| PeerName(name.into())) }, socket)
}

fn over(node: &Node, place: &Place) -> Option<PeerName> {
    let links = node.links.links();
    let link = links.iter().find(|link| link.address == place.address).expect("a line");
    assert!(link.connected, "{link:?}");
    link.over.clone()
}

#[tokio::test]
async fn a_call_over_a_third_node_is_answered_by_whom_it_is_for_and_shows_who_asks() {
    let town = Town::new();
    let [one, _two, three] = bridge(&town).await;
    let (place, _socket) = nowhere(Some("n3"));
    assert_eq!(one.ask(&place, "hi").await.expect("answered"), "n1 Raft hi");
    assert_eq!(over(&one, &place), Some(PeerName("n2".into())));
    let (back, _socket) = nowhere(Some("n1"));
    let answer = three.ask_for(&back, Service::Snapshot, "hi").await;
    assert_eq!(answer.expect("answered"), "n3 Snapshot hi");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_as_large_as_its_bound_goes_over_a_third_node() {
    let town = Town::new();
    let [one, two, _three] = bridge(&town).await;
    struct Back;
    #[async_trait]
    impl Answers for Back {
        async fn answer(&self, _: PeerName, _: Service, request: Bytes) -> Option<Bytes> {
            Some(request)
        }
    }
    let options = options(town.identity("n4"), Hello::default());
    let (four, _packets) = ControlLinks::bind(options).expect("bound");
    four.serve(Arc::new(Back));
    let there = Place { address: four.local_addr().to_string().into(), name: None };
    two.ask(&there, "hi").await.expect("answered");
    let (place, _socket) = nowhere(Some("n4"));
    let largest = Bytes::from(vec![7; CALL_BYTES_MAX]);
    let answer = one.links.call(&place, Service::Snapshot, largest.clone(), PATIENCE).await;
    assert!(answer.expect("answered") == largest);
}

#[tokio::test]
async fn a_node_that_opens_asks_no_relay_and_asks_once_it_knows_who_it_is() {
    let town = Town::new();
    let [one, _two, _three] = bridge(&town).await;
    one.links.set_hello(Hello::default());
    let (place, _socket) = nowhere(Some("n3"));
    let error = one.ask(&place, "hi").await.expect_err("refused");
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    one.links.set_hello(Hello { node: Some(NodeId(1)), ..Hello::default() });
    let answered = tokio::time::timeout(PATIENCE, async {
        while one.ask(&place, "hi").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    answered.await.expect("answered");
}

#[tokio::test]
async fn a_seed_of_whom_only_the_address_is_known_is_not_looked_for_elsewhere() {
    let town = Town::new();
    let [one, _two, _three] = bridge(&town).await;
    let (place, _socket) = nowhere(None);
    let error = one.ask(&place, "hi").await.expect_err("unreachable");
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn who_is_somebody_else_at_its_place_is_not_looked_for_elsewhere() {
    let town = Town::new();
    let [one, two, _three] = bridge(&town).await;
    let error = one.ask(&two.place(Some("n3")), "hi").await.expect_err("the wrong one");
    assert!(matches!(error, CallError::WrongPeer { .. }), "{error}");
}

#[tokio::test]
async fn a_direct_line_takes_the_place_of_a_relayed_one_when_it_works() {
    let town = Town::new();
    let [one, _two, _three] = bridge(&town).await;
    let (place, socket) = nowhere(Some("n3"));
    assert_eq!(one.ask(&place, "hi").await.expect("answered"), "n1 Raft hi");
    assert!(over(&one, &place).is_some());
    let listen = socket.local_addr().expect("bound");
    drop(socket);
    let options = LinkOptions { listen, ..options(town.identity("n3"), Hello::default()) };
    let (there, _packets) = ControlLinks::bind(options).expect("bound");
    there.serve(Arc::new(Echo));
    let direct = tokio::time::timeout(PATIENCE, async {
        while over(&one, &place).is_some() {
            // No call fails meanwhile.
            assert_eq!(one.ask(&place, "hi").await.expect("answered"), "n1 Raft hi");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    direct.await.expect("a direct line");
    assert_eq!(one.ask(&place, "hi").await.expect("answered"), "n1 Raft hi");
}
