//! Who may send, and what garbage does.

use quinn::ConnectionError;

use super::super::wire::{Layout, StreamHeader, stop_code};
use super::*;
use crate::link::{Close, LinkEndpoint, Linked, Protocols, Purpose, transport};

/// Node 2 as an endpoint that can say what no node says.
pub(super) fn rogue(town: &Town, name: &str, node: Option<NodeId>) -> Arc<LinkEndpoint> {
    let hello = Hello { node, incarnation: 1, ..Hello::default() };
    let options = options(town.identity(name), hello);
    LinkEndpoint::bind(options, &[Purpose::Actor], Protocols::NOW, transport()).expect("bound")
}

pub(super) async fn dial(rogue: &LinkEndpoint, to: &Node) -> Linked {
    let address = to.links.local_addr().to_string();
    rogue.dial(&address, None, Purpose::Actor).await.expect("linked")
}

/// Whoever dials the rogue is let in and not answered.
pub(super) fn let_in(rogue: &Arc<LinkEndpoint>) {
    rogue.accept_with(|linked| async move {
        linked.connection.closed().await;
    });
}

async fn closed(linked: &Linked) -> ConnectionError {
    timeout(PATIENCE, linked.connection.closed()).await.expect("closed")
}

fn malformed(ended: &ConnectionError) -> bool {
    matches!(ended, ConnectionError::ApplicationClosed(close)
        if close.error_code == Close::Malformed.code())
}

/// Why a dial is refused: within it, or right after it.
async fn refused(rogue: &LinkEndpoint, by: &Node) -> String {
    let address = by.links.local_addr().to_string();
    match rogue.dial(&address, None, Purpose::Actor).await {
        Ok(linked) => closed(&linked).await.to_string(),
        Err(error) => error.to_string(),
    }
}

/// As this build begins a stream to another one of this build.
pub(super) fn header(round: u64) -> Vec<u8> {
    let newest = Protocols::NOW.actor[0];
    Layout::of(newest).encode(StreamHeader { channel: FIRST, round })
}

#[tokio::test]
async fn who_is_no_peer_is_sent_away_and_let_in_once_it_is_one() {
    let town = Town::new();
    let (one, two) = (Node::new(&town, ONE), Node::new(&town, TWO));
    two.knows(&[at(ONE, one.links.local_addr())]);
    let stranger = rogue(&town, "n2", Some(TWO));
    let why = refused(&stranger, &one).await;
    assert!(why.contains("node 2 (n2) is not known here yet"), "{why}");
    one.knows(&[at(TWO, two.links.local_addr())]);
    two.send(ONE, FIRST, "hi").await;
    one.ear.until("a frame", |ear| ear.frames(TWO, FIRST).len() == 1).await;
}

#[tokio::test]
async fn who_claims_the_id_of_another_or_none_is_refused() {
    let town = Town::new();
    let one = Node::new(&town, ONE);
    one.knows(&[at(TWO, anywhere())]);
    for (node, why) in
        [(Some(TWO), "n3 says that it is node 2, which is n2"), (None, "n3 has no id")]
    {
        let refused = refused(&rogue(&town, "n3", node), &one).await;
        assert!(refused.contains(why), "{refused}");
    }
    assert!(one.ear.heard.lock().is_empty());
}

#[tokio::test]
async fn a_node_whose_disk_was_wiped_is_not_sent_to_under_its_old_id() {
    let town = Town::new();
    let (one, two) = (Node::new(&town, ONE), Node::new(&town, NodeId(7)));
    let wrong = PeerAddress { name: PeerName("n7".into()), ..at(TWO, two.links.local_addr()) };
    one.knows(&[wrong]);
    two.knows(&[at(ONE, one.links.local_addr())]);
    // As long as it takes for another dial to succeed, this one had time to.
    one.knows(&[
        PeerAddress { name: PeerName("n7".into()), ..at(TWO, two.links.local_addr()) },
        at(NodeId(7), two.links.local_addr()),
    ]);
    one.send(NodeId(7), FIRST, "hi").await;
    two.ear.until("a frame", |ear| ear.frames(ONE, FIRST).len() == 1).await;
    assert_eq!(one.links.send(TWO, FIRST, "hi".into()), Err(NotSent::NoWay));
}

#[tokio::test]
async fn a_frame_over_the_bound_ends_its_stream_before_it_is_read() {
    let town = Town::new();
    let one = Node::new(&town, ONE);
    let rogue = rogue(&town, "n2", Some(TWO));
    let_in(&rogue);
    one.knows(&[at(TWO, rogue.local_addr())]);
    let linked = dial(&rogue, &one).await;
    let mut stream = linked.connection.open_uni().await.expect("a stream");
    stream.write_all(&header(0)).await.expect("written");
    let announced = u32::try_from(FRAME_BYTES_MAX + 1).expect("fits");
    stream.write_all(&announced.to_be_bytes()).await.expect("written");
    let stopped = timeout(PATIENCE, stream.stopped()).await.expect("stopped").expect("stopped");
    assert_eq!(stopped, Some(stop_code(1)));
    one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) == 1).await;
    // The connection lives, and the next stream counts.
    let mut stream = linked.connection.open_uni().await.expect("a stream");
    stream.write_all(&header(1)).await.expect("written");
    stream.write_all(&[0, 0, 0, 2, b'h', b'i']).await.expect("written");
    one.ear.until("a frame", |ear| ear.frames(TWO, FIRST) == ["hi"]).await;
    // A stream of a round that is over does not.
    let mut late = linked.connection.open_uni().await.expect("a stream");
    late.write_all(&header(0)).await.expect("written");
    late.write_all(&[0, 0, 0, 2, b'n', b'o']).await.expect("written");
    let stopped = timeout(PATIENCE, late.stopped()).await.expect("stopped").expect("stopped");
    assert_eq!(stopped, Some(stop_code(1)));
    assert_eq!(one.ear.frames(TWO, FIRST), ["hi"]);
}

#[tokio::test]
async fn a_stream_for_no_channel_ends_the_connection_and_does_no_other_harm() {
    let town = Town::new();
    let (one, three) = (Node::new(&town, ONE), Node::new(&town, NodeId(3)));
    one.knows(&[at(TWO, anywhere()), at(NodeId(3), three.links.local_addr())]);
    three.knows(&[at(ONE, one.links.local_addr())]);
    three.send(ONE, FIRST, "before").await;
    let rogue = rogue(&town, "n2", Some(TWO));
    let linked = dial(&rogue, &one).await;
    let mut stream = linked.connection.open_uni().await.expect("a stream");
    stream.write_all(&[0xff; 500]).await.expect("written");
    assert!(malformed(&closed(&linked).await));
    three.send(ONE, FIRST, "after").await;
    one.ear.until("both", |ear| ear.frames(NodeId(3), FIRST) == ["before", "after"]).await;
    assert_eq!(one.ear.interruptions(NodeId(3), FIRST), 0);
}
