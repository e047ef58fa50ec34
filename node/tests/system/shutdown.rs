//! SIGTERM under load: every send that the node has read is answered or refused, it ends in time,
//! and what was acknowledged is there afterwards.

use std::collections::BTreeMap;

use parlance_benches::checker::{Fate, Run, Sent, digest};
use parlance_benches::lean::Socket;
use parlance_client::Server;
use parlance_client::protocol::ServerFrame;
use parlance_client::protocol::client::{ClientFrame, Hello, Send};
use parlance_client::protocol::server::Answer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::crash::verdict;
use crate::harness::{Node, Person, Talk, Talker, Town};

/// Sends that each socket puts on the wire at once: below what a session may have in flight.
const AT_ONCE: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_send_under_way_is_answered_before_the_node_ends() {
    let mut node = Node::start(None).await;
    let town = Town::found(&node.http(), 4, 2).await;
    let (first, mut firsts) = mpsc::channel(town.people.len());
    let mut senders = JoinSet::new();
    for (number, person) in town.people.iter().enumerate() {
        let room = town.rooms[number % town.rooms.len()];
        senders.spawn(send_many(node.server(), person.clone(), room, first.clone()));
    }
    drop(first);
    // Everything is on the wire, and each session has begun to answer.
    for _ in &town.people {
        firsts.recv().await.expect("every socket gets a first answer");
    }
    let status = node.terminate().await;
    assert!(status.success(), "it ended with {status}; its log:\n{}", node.log());
    let sent: Vec<Sent> = senders.join_all().await.into_iter().flatten().collect();
    assert_eq!(sent.len() as u64, AT_ONCE * town.people.len() as u64);

    node.start_again().await;
    let logs = town.logs(&node.http()).await;
    let run = Run { sent, streams: Vec::new(), logs, exclusive: true };
    verdict(&run, &node, town.people.len() as u64);
}

/// Puts all frames on the wire with one write and reads until the server closes. Every one must
/// have exactly one answer by then.
async fn send_many(
    server: Server,
    person: Person,
    room: Uuid,
    first: mpsc::Sender<()>,
) -> Vec<Sent> {
    let mut socket = Socket::connect(&server).await.expect("a running node takes a socket");
    let hello = Hello { id: None, token: Some(person.token.as_str().into()), session: None };
    socket.put(ClientFrame::Hello(hello).encode().as_bytes());
    let keys: BTreeMap<u64, Uuid> = (1..=AT_ONCE).map(|id| (id, Uuid::now_v7())).collect();
    for (id, key) in &keys {
        let body = format!("{} at the end {id}", person.name).into();
        let (id, key) = (Some(*id), *key);
        let send = Send { id, room, key, body, reply_to: None, thread: None, enc: false };
        socket.put(ClientFrame::Send(send).encode().as_bytes());
    }
    socket.flush().await.expect("the node reads");
    let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
    let mut said_bye = false;
    while let Ok(text) = socket.text().await {
        let (id, fate) = match ServerFrame::parse(&text).expect("a frame of the protocol") {
            ServerFrame::Ok(ok) => match ok.answer {
                Answer::Posted(posted) => (ok.id, Fate::Acked(posted.seq)),
                other => panic!("a send was answered with {other:?}"),
            },
            // `unavailable` leaves open whether it was done; repeating the key would tell.
            ServerFrame::Error(error) => (error.id.expect("it is for a send"), Fate::Open),
            ServerFrame::Bye(_) => {
                said_bye = true;
                continue;
            }
            _ => continue,
        };
        assert!(fates.insert(id, fate).is_none(), "{id} was answered twice");
        // The channel has a place for each of us.
        if fates.len() == 1 {
            let _ = first.send(()).await;
        }
    }
    assert!(said_bye, "the node went without a bye");
    let sent = keys.iter().map(|(id, key)| {
        let fate = fates.get(id).copied().unwrap_or_else(|| panic!("{id} was never answered"));
        let body = digest(format!("{} at the end {id}", person.name).as_bytes());
        Sent { room, sender: person.id, key: *key, body, fate, order: None }
    });
    sent.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_go_on_over_an_orderly_restart() {
    let mut node = Node::start(None).await;
    let town = Town::found(&node.http(), 3, 1).await;
    let manners = [
        (0, town.rooms[0], Talker::InTurn),
        (1, town.rooms[1], Talker::BesideEachOther),
        (2, town.rooms[1], Talker::OverHttp),
    ];
    let talk = Talk::start(&node, &town, manners).await;
    talk.goes_on(60).await;
    assert!(node.terminate().await.success(), "an asked-for end is a success");
    node.start_again().await;
    talk.goes_on(60).await;
    let run = talk.end(&node, &town).await;
    verdict(&run, &node, 120);
}
