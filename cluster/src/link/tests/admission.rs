//! Who is let in and who is refused, and that both sides know why.

use std::net::IpAddr;
use std::time::Instant;

use parlance_actors::vocab::NodeId;
use uuid::Uuid;

use super::*;
use crate::limits::REFUSALS_EVERY;
use crate::link::refusals::Refusals;

fn why_wrong(result: Result<String, CallError>) -> String {
    match result {
        Err(CallError::WrongPeer { why, .. }) => why,
        other => panic!("not refused as the wrong peer: {other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_answered_and_the_answerer_knows_who_asked() {
    let town = Town::new();
    let (one, two) =
        (node(town.identity("n1"), Hello::default()), node(town.identity("n2"), Hello::default()));
    let known = one.ask(&two.place(Some("n2")), "hi").await.expect("answered");
    assert_eq!(known, "n1 Raft hi");
    let seed = one.ask_for(&two.place(None), Service::Snapshot, "hi").await.expect("answered");
    assert_eq!(seed, "n1 Snapshot hi");
    one.links.close().await;
    two.links.close().await;
}

#[tokio::test]
async fn a_node_of_another_name_is_refused() {
    let town = Town::new();
    let one = node(town.identity("n1"), Hello::default());
    let two = node(town.identity("n2"), Hello::default());
    let why = why_wrong(one.ask(&two.place(Some("n3")), "hi").await);
    assert!(why.contains("node n2 is there") && why.contains("n3 was expected"), "{why}");
    let why = why_wrong(one.ask(&one.place(None), "hi").await);
    assert!(why.contains("this node itself"), "{why}");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_even_when_its_authority_is_trusted() {
    let (town, city) = (Town::named("town"), Town::named("city"));
    let both = format!("{}{}", town.authority.certificate(), city.authority.certificate());
    let open = |files| Identity::open(files).expect("an identity");
    let one = node(open(town.issue("n1", &town.authority, &both)), Hello::default());
    let two = node(open(city.issue("n2", &city.authority, &both)), Hello::default());
    let why = why_wrong(one.ask(&two.place(None), "hi").await);
    assert!(why.contains("belongs to cluster city, not to cluster town"), "{why}");
}

#[tokio::test]
async fn an_authority_that_one_side_does_not_trust_is_refused_on_both() {
    let (town, other) = (Town::named("town"), Town::named("town"));
    let both = format!("{}{}", town.authority.certificate(), other.authority.certificate());
    let one = node(town.identity("n1"), Hello::default());
    let trusting = other.issue("n2", &other.authority, &both);
    let two = node(Identity::open(trusting).expect("an identity"), Hello::default());
    // The dialer refuses what it sees.
    let why = why_wrong(one.ask(&two.place(None), "hi").await);
    assert!(why.contains("UnknownIssuer"), "{why}");
    // The dialer takes the other, and is refused by it, and is told why.
    let why = why_wrong(two.ask(&one.place(None), "hi").await);
    assert!(why.contains("aborted by peer") && why.contains("UnknownIssuer"), "{why}");
}

/// Three releases in a row: each speaks its own version and the one before.
const RELEASES: [Protocols; 3] = [
    Protocols { raft: &[Version(1)], ..Protocols::NOW },
    Protocols { raft: &[Version(2), Version(1)], ..Protocols::NOW },
    Protocols { raft: &[Version(3), Version(2)], ..Protocols::NOW },
];

#[tokio::test]
async fn an_unknown_protocol_version_is_refused_and_named() {
    let town = Town::new();
    let one = node_speaking(town.identity("n1"), Hello::default(), RELEASES[2]);
    let two = node_speaking(town.identity("n2"), Hello::default(), RELEASES[0]);
    let why = why_wrong(one.ask(&two.place(None), "hi").await);
    assert!(why.contains("no version"), "{why}");
    assert!(why.contains("parlance-raft/3, parlance-raft/2"), "{why}");
    let why = why_wrong(two.ask(&one.place(None), "hi").await);
    assert!(why.contains("no version") && why.contains("parlance-raft/1"), "{why}");
}

#[tokio::test]
async fn nodes_speak_the_newest_version_that_both_know() {
    let town = Town::new();
    for (ours, theirs, spoken) in [(0, 0, 1), (0, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 3)] {
        let one = node_speaking(town.identity("n1"), Hello::default(), RELEASES[ours]);
        let two = node_speaking(town.identity("n2"), Hello::default(), RELEASES[theirs]);
        assert_eq!(one.ask(&two.place(None), "hi").await.expect("answered"), "n1 Raft hi");
        assert_eq!(two.ask(&one.place(None), "hi").await.expect("answered"), "n2 Raft hi");
        for node in [&one, &two] {
            let versions: Vec<_> =
                node.links.links().into_iter().map(|link| link.version).collect();
            assert_eq!(versions, [Some(spoken)], "releases {ours} and {theirs}");
        }
        one.links.close().await;
        two.links.close().await;
    }
}

#[tokio::test]
async fn another_cluster_id_is_refused_and_one_that_is_not_known_yet_is_not() {
    let town = Town::new();
    let of = |cluster| Hello { cluster, ..Hello::default() };
    let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let one = node(town.identity("n1"), of(Some(ours)));
    let two = node(town.identity("n2"), of(None));
    assert_eq!(one.ask(&two.place(None), "hi").await.expect("answered"), "n1 Raft hi");
    let three = node(town.identity("n3"), of(Some(theirs)));
    let why = why_wrong(one.ask(&three.place(None), "hi").await);
    assert!(why.contains("refused") && why.contains(&ours.to_string()), "{why}");
    // What a node says of itself may change while it runs.
    three.links.set_hello(of(Some(ours)));
    let four = node(town.identity("n4"), of(Some(ours)));
    assert_eq!(four.ask(&three.place(None), "hi").await.expect("answered"), "n4 Raft hi");
}

#[tokio::test]
async fn a_node_that_claims_the_id_of_another_is_refused() {
    struct OneIsN1;
    impl Names for OneIsN1 {
        fn name_of(&self, node: NodeId) -> Option<PeerName> {
            (node == NodeId(1)).then(|| PeerName("n1".into()))
        }
    }
    let town = Town::new();
    let claims = |node| Hello { node: Some(NodeId(node)), ..Hello::default() };
    let one = node(town.identity("n1"), claims(1));
    let two = node(town.identity("n2"), claims(1));
    let knowing = node(town.identity("n3"), claims(3));
    knowing.links.set_names(Arc::new(OneIsN1));
    assert!(one.ask(&knowing.place(None), "hi").await.is_ok());
    let why = why_wrong(two.ask(&knowing.place(None), "hi").await);
    assert!(why.contains("refused") && why.contains("node 1, which is n1"), "{why}");
    let why = why_wrong(knowing.ask(&two.place(None), "hi").await);
    assert!(why.contains("node n2 says that it is node 1"), "{why}");
}

#[test]
fn a_refusal_is_logged_once_a_minute_for_an_address_and_a_kind() {
    let (refusals, now) = (Refusals::default(), Instant::now());
    let here = IpAddr::from([127, 0, 0, 1]);
    assert!(refusals.say(here, "wrong peer", now));
    assert!(!refusals.say(here, "wrong peer", now));
    assert!(refusals.say(here, "malformed", now));
    assert!(refusals.say(IpAddr::from([127, 0, 0, 2]), "wrong peer", now));
    assert!(refusals.say(here, "wrong peer", now + REFUSALS_EVERY));
}

#[test]
fn the_bytes_of_a_hello_do_not_change() {
    let said = Hello {
        cluster: Some(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)),
        node: Some(NodeId(7)),
        incarnation: 0x0102,
    };
    let bytes = hello::encode(Purpose::Actor, &said);
    let golden = [
        0, 33, 3, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
        0xdd, 0xee, 0xff, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 2,
    ];
    assert_eq!(bytes, golden);
    assert_eq!(hello::decode(&bytes[2..]), Some((Purpose::Actor, said)));
    let longer = [&bytes[2..], b"later"].concat();
    assert_eq!(hello::decode(&longer), Some((Purpose::Actor, said)));
    let blank = hello::encode(Purpose::Gossip, &Hello::default());
    assert_eq!(hello::decode(&blank[2..]), Some((Purpose::Gossip, Hello::default())));
    assert_eq!(hello::decode(&bytes[2..20]), None);
    assert_eq!(hello::decode(&[9; 33]), None);
}
