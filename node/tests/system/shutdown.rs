//! SIGTERM under load: every send that the node has read is answered or refused, it ends in time,
//! and what was acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use parlance_benches::checker::{Fate, Run, Sent, digest};
use parlance_benches::lean::Socket;
use parlance_client::Server;
use parlance_client::protocol::ServerFrame;
use parlance_client::protocol::client::{ClientFrame, Hello, Send};
use parlance_client::protocol::server::Answer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{Node, PACE};
use crate::town::{Person, Talk, Talker, Town, verdict};

/// Sends that each socket has under way all the time: below what a session may.
const UNDER_WAY: u64 = 40;
/// Answers that each socket has before the node is asked to end.
const ANSWERS_BEFORE: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_send_under_way_is_answered_before_the_node_ends() {
    let mut node = Node::start(None).await;
    let town = Town::found(&node.http(), 4, 2, 4).await;
    let (begun, mut beginnings) = mpsc::channel(town.people.len());
    let mut senders = JoinSet::new();
    for (number, person) in town.people.iter().enumerate() {
        let room = town.rooms[number % town.rooms.len()];
        let flood = Flood::open(&node.server(), person.clone(), room).await;
        senders.spawn(flood.run(begun.clone()));
    }
    drop(begun);
    for _ in &town.people {
        beginnings.recv().await.expect("every socket gets its first answers");
    }
    let status = node.terminate().await;
    assert!(status.success(), "it ended with {status}; its log:\n{}", node.log());
    let sent: Vec<Sent> = senders.join_all().await.into_iter().flatten().collect();

    node.start_again().await;
    let logs = town.logs(&node.http()).await;
    let run = Run { sent, streams: Vec::new(), logs, exclusive: true };
    verdict(&run, town.people.len() as u64);
}

/// One socket that always has as many sends under way as it may.
struct Flood {
    socket: Socket,
    person: Person,
    room: Uuid,
    /// By number: the key and what the answer was.
    sends: BTreeMap<u64, (Uuid, Option<Fate>)>,
}

impl Flood {
    async fn open(server: &Server, person: Person, room: Uuid) -> Self {
        let mut socket = Socket::connect(server).await.expect("a running node takes a socket");
        let token = Some(person.token.as_str().into());
        let hello = ClientFrame::Hello(Hello { id: None, token, session: None });
        socket.put(hello.encode().as_bytes());
        Self { socket, person, room, sends: BTreeMap::new() }
    }

    fn body(&self, id: u64) -> String {
        format!("{} at the end {id}", self.person.name)
    }

    fn put(&mut self) {
        let id = self.sends.len() as u64 + 1;
        let (room, key, body) = (self.room, Uuid::now_v7(), self.body(id).into());
        let id_of = Some(id);
        let send = Send { id: id_of, room, key, body, reply_to: None, thread: None, enc: false };
        self.socket.put(ClientFrame::Send(send).encode().as_bytes());
        self.sends.insert(id, (key, None));
    }

    /// Sends until the node says bye, and reads until it closes. The node reads a socket in order,
    /// so what it answered must be everything up to some send: one without an answer before one
    /// with an answer was read and forgotten.
    async fn run(mut self, begun: mpsc::Sender<()>) -> Vec<Sent> {
        for _ in 0..UNDER_WAY {
            self.put();
        }
        self.socket.flush().await.expect("the node reads");
        let (mut answers, mut said_bye) = (0, false);
        while let Ok(text) = self.socket.text().await {
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
            let send = self.sends.get_mut(&id).expect("an answer is for a send");
            assert!(send.1.replace(fate).is_none(), "{id} was answered twice");
            answers += 1;
            if answers == ANSWERS_BEFORE {
                // The channel has a place for each of us.
                let _ = begun.send(()).await;
            }
            if !said_bye {
                if fate == Fate::Open {
                    // Refused for its rate: a pause, so that refusals are not all there is.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                self.put();
                // The node may have gone meanwhile; reading on tells.
                let _ = self.socket.flush().await;
            }
        }
        assert!(said_bye, "the node went without a bye");
        self.outcome()
    }

    fn outcome(self) -> Vec<Sent> {
        let last_answered = self.sends.iter().rev().find(|(_, (_, fate))| fate.is_some());
        let last_answered = last_answered.map_or(0, |(id, _)| *id);
        let (room, sender) = (self.room, self.person.id);
        let sent = self.sends.iter().map(|(id, (key, fate))| {
            assert!(fate.is_some() || *id > last_answered, "{id} was read and never answered");
            let body = digest(self.body(*id).as_bytes());
            let fate = fate.unwrap_or(Fate::Open);
            Sent { room, sender, key: *key, body, fate, order: None }
        });
        sent.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_go_on_over_an_orderly_restart() {
    let mut node = Node::start(None).await;
    let town = Town::found(&node.http(), 3, 1, 3).await;
    let manners = [
        (0, town.rooms[0], Talker::InTurn),
        (1, town.rooms[1], Talker::BesideEachOther),
        (2, town.rooms[1], Talker::OverHttp),
    ];
    let mut talk = Talk::start(node.server(), &town, PACE, manners).await;
    talk.goes_on(60).await;
    assert!(node.terminate().await.success(), "an asked-for end is a success");
    node.start_again().await;
    talk.goes_on(60).await;
    let (run, _) = talk.end(&town).await.kept();
    verdict(&run, 120);
}
