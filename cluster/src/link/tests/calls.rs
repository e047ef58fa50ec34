//! Calls and packets: bounds, independence, garbage, and peers that come back.

use quinn::ConnectionError;

use super::*;
use crate::limits::{CALL_BYTES_MAX, PACKET_BYTES_MAX, SNAPSHOT_CALLS_MAX};
use crate::link::endpoint::{Close, LinkEndpoint, transport};
use crate::transport::Packets;

fn pair(town: &Town) -> (Node, Node) {
    (node(town.identity("n1"), Hello::default()), node(town.identity("n2"), Hello::default()))
}

/// An endpoint that can say what no node says.
fn rogue(town: &Town) -> Arc<LinkEndpoint> {
    let options = options(town.identity("rogue"), Hello::default());
    LinkEndpoint::bind(options, &[Purpose::Raft], Protocols::NOW, transport()).expect("bound")
}

fn malformed(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close)
        if close.error_code == Close::Malformed.code())
}

#[tokio::test]
async fn requests_and_answers_may_be_as_large_as_their_bound_and_no_larger() {
    struct Back;
    #[async_trait]
    impl Answers for Back {
        async fn answer(&self, _: PeerName, _: Service, request: Bytes) -> Option<Bytes> {
            Some(request)
        }
    }
    let town = Town::new();
    let (one, _) = pair(&town);
    let options = options(town.identity("n3"), Hello::default());
    let (three, _packets) = ControlLinks::bind(options).expect("bound");
    three.serve(Arc::new(Back));
    let place = Place { address: three.local_addr().to_string().into(), name: None };
    let largest = Bytes::from(vec![7; CALL_BYTES_MAX]);
    let answer = one.links.call(&place, Service::Snapshot, largest.clone(), PATIENCE).await;
    assert!(answer.expect("answered") == largest);
    let larger = Bytes::from(vec![7; CALL_BYTES_MAX + 1]);
    let refused = one.links.call(&place, Service::Snapshot, larger, PATIENCE).await;
    assert!(matches!(refused, Err(CallError::Unreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_frame_over_the_bound_is_refused_before_it_is_read() {
    let town = Town::new();
    let (one, _two) = pair(&town);
    let rogue = rogue(&town);
    let address = one.links.local_addr().to_string();
    let linked = rogue.dial(&address, None, Purpose::Raft).await.expect("linked");
    let (mut send, _recv) = linked.connection.open_bi().await.expect("a stream");
    // Only the announcement: nothing of the frame itself is ever sent.
    let announced = u32::try_from(CALL_BYTES_MAX + 1).expect("fits");
    send.write_all(&announced.to_be_bytes()).await.expect("written");
    let ended = linked.connection.closed().await;
    assert!(malformed(&ended), "{ended}");
}

#[tokio::test]
async fn garbage_ends_its_connection_and_does_no_other_harm() {
    let town = Town::new();
    let (one, two) = pair(&town);
    let place = one.place(None);
    assert!(two.ask(&place, "hi").await.is_ok());
    let rogue = rogue(&town);
    let address = one.links.local_addr().to_string();
    let linked = rogue.dial(&address, None, Purpose::Raft).await.expect("linked");
    let (mut send, _recv) = linked.connection.open_bi().await.expect("a stream");
    send.write_all(&[0, 0, 0, 9, 1, 2]).await.expect("written");
    send.finish().expect("finished");
    assert!(malformed(&linked.connection.closed().await));
    let linked = rogue.dial(&address, None, Purpose::Gossip).await.expect("linked");
    linked.connection.send_datagram(Bytes::from_static(&[0xff; 50])).expect("sent");
    linked.connection.send_datagram(Bytes::new()).expect("sent");
    let garbage = two.ask(&place, "garbage").await;
    assert!(matches!(garbage, Err(CallError::NoAnswer { .. })), "{garbage:?}");
    assert_eq!(two.ask(&place, "again").await.expect("answered"), "n2 Raft again");
}

#[tokio::test]
async fn calls_are_answered_while_pieces_of_snapshots_are_stuck() {
    let town = Town::new();
    let (one, two) = pair(&town);
    let (one, place) = (Arc::new(one), two.place(None));
    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..2 * SNAPSHOT_CALLS_MAX {
        let (one, place) = (Arc::clone(&one), place.clone());
        stuck.spawn(async move { one.ask_for(&place, Service::Snapshot, "stuck").await });
    }
    // Those over the bound are told so; then the rest is known to be stuck.
    for _ in 0..SNAPSHOT_CALLS_MAX {
        let refused = stuck.join_next().await.expect("some are refused").expect("no panic");
        assert!(matches!(refused, Err(CallError::NoAnswer { .. })), "{refused:?}");
    }
    for _ in 0..100 {
        assert_eq!(one.ask(&place, "hi").await.expect("answered"), "n1 Raft hi");
    }
    assert_eq!(stuck.len(), SNAPSHOT_CALLS_MAX);
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_is_not_answered() {
    let town = Town::new();
    let (one, two) = pair(&town);
    let soon = Duration::from_millis(300);
    let late = one.links.call(&two.place(None), Service::Raft, "stuck".into(), soon).await;
    assert!(matches!(late, Err(CallError::NoAnswer { .. } | CallError::Unreachable { .. })));
}

#[tokio::test]
async fn a_peer_that_ended_is_unreachable_and_is_found_again_when_it_is_back() {
    let town = Town::new();
    let one = node(town.identity("n1"), Hello::default());
    let start = |incarnation, listen| {
        let hello = Hello { incarnation, ..Hello::default() };
        ControlLinks::bind(LinkOptions { listen, ..options(town.identity("n2"), hello) })
    };
    let two = Node::serving(start(1, apart()).expect("bound"));
    let (place, address) = (two.place(Some("n2")), two.links.local_addr());
    assert!(one.ask(&place, "hi").await.is_ok());
    two.links.close().await;
    drop(two);
    let gone = one.links.call(&place, Service::Raft, "hi".into(), PATIENCE).await;
    assert!(gone.is_err(), "{gone:?}");
    let back = tokio::time::timeout(PATIENCE, async {
        loop {
            match start(2, address) {
                Ok(bound) => break Node::serving(bound),
                // Its socket may take a moment to be gone.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let _back = back.await.expect("bound again");
    let found = tokio::time::timeout(PATIENCE, async {
        while one.ask(&place, "hi").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.expect("found again");
    let links = one.links.links();
    assert_eq!(links.len(), 1);
    assert!(links[0].connected && links[0].interruptions >= 1, "{links:?}");
    assert_eq!(links[0].name, Some(PeerName("n2".into())));
}

#[tokio::test]
async fn many_callers_share_one_connection() {
    let town = Town::new();
    let (one, two) = pair(&town);
    let (one, place) = (Arc::new(one), two.place(None));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (one, place) = (Arc::clone(&one), place.clone());
        asked.spawn(async move { one.ask(&place, "hi").await });
    }
    while let Some(answer) = asked.join_next().await {
        assert_eq!(answer.expect("no panic").expect("answered"), "n1 Raft hi");
    }
    assert_eq!(one.links.links().len(), 1);
    assert_eq!(two.links.connections(), 1);
}

#[tokio::test]
async fn packets_arrive_with_the_name_and_the_address_of_who_sent_them() {
    let town = Town::new();
    let (one, mut two) = pair(&town);
    let to = two.links.local_addr();
    let largest = Bytes::from(vec![5; PACKET_BYTES_MAX]);
    let (from, address, packet) = tokio::time::timeout(PATIENCE, async {
        // The first ones begin the dial and are dropped.
        loop {
            one.links.packet(to, largest.clone());
            let waited = Duration::from_millis(50);
            if let Ok(received) = tokio::time::timeout(waited, two.packets.recv()).await {
                return received.expect("open");
            }
        }
    })
    .await
    .expect("received");
    assert_eq!(from, PeerName("n1".into()));
    assert_eq!(address, one.links.local_addr());
    assert_eq!(packet, largest);
}
