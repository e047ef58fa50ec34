//! People talking while the server comes and goes: each hears everything in every room over one
//! connection, and writes in one of several manners. What all of them saw is the verdict's input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parlance_benches::checker::{Fate, Received, Run, Sent, Stream, digest};
use parlance_client::connection::Sender;
use parlance_client::protocol::client::Cursor;
use parlance_client::{Change, ClientError, Connection, Http, Options, Update};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Node, Person, Town};

/// Changes of one writer that are under way at once.
const BESIDE_EACH_OTHER: usize = 8;
/// Between two messages of a writer, so that the test is about order and not about rate limits.
const PACE: Duration = Duration::from_millis(15);
/// How long everything may take to come to rest in the end.
const REST: Duration = Duration::from_secs(60);

/// The heads that a listener waits for before it ends.
type Heads = Option<BTreeMap<Uuid, u64>>;

/// Somebody who hears everything in every room.
struct Listener {
    sender: Sender,
    name: String,
    task: JoinHandle<BTreeMap<Uuid, Vec<Received>>>,
}

impl Listener {
    /// Connects and follows every room from its first event on.
    async fn start(
        node: &Node,
        person: &Person,
        gens: &BTreeMap<Uuid, u64>,
        heads: watch::Receiver<Heads>,
    ) -> Self {
        let token = person.token.clone();
        let options = Options { server: node.server(), token, refresh_token: None };
        let connection = Connection::open(options).await.expect("a running node takes a session");
        for (room, r#gen) in gens {
            let from = Some(Cursor { r#gen: *r#gen, seq: 0 });
            connection.subscribe(*room, from).await.expect("a member can follow the room");
        }
        let sender = connection.sender();
        let task = tokio::spawn(listen(connection, heads));
        Self { sender, name: person.name.clone(), task }
    }
}

async fn listen(
    mut connection: Connection,
    mut heads: watch::Receiver<Heads>,
) -> BTreeMap<Uuid, Vec<Received>> {
    let mut heard: BTreeMap<Uuid, Vec<Received>> = BTreeMap::new();
    loop {
        let at = |room: &Uuid| heard.get(room).and_then(|r| r.last()).map_or(0, |r| r.seq);
        let done = heads
            .borrow()
            .as_ref()
            .is_some_and(|heads| heads.iter().all(|(room, head)| at(room) >= *head));
        if done {
            return heard;
        }
        tokio::select! {
            update = connection.next() => match update {
                Some(Update::Event { room, event, .. }) => {
                    heard.entry(room).or_default().push(Received::from(&*event));
                }
                Some(Update::Reset { room, r#gen, .. }) => {
                    panic!("the history of {room} was lost: generation {}", r#gen)
                }
                Some(Update::Refused { room, why }) => panic!("{room} was refused: {why}"),
                Some(Update::Ended { why }) => panic!("the connection ended: {why}"),
                Some(_) => {}
                None => panic!("the connection ended without a reason"),
            },
            changed = heads.changed() => changed.expect("the talk outlives its listeners"),
        }
    }
}

/// How somebody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talker {
    /// One message after the other, each after the ack of the one before, on the socket.
    InTurn,
    /// Several under way at once, on the socket.
    BesideEachOther,
    /// One after the other, over HTTP, each repeated with its key until it has an answer.
    OverHttp,
}

/// A conversation under way.
pub(crate) struct Talk {
    listeners: Vec<Listener>,
    writers: JoinSet<Vec<Sent>>,
    acked: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    heads: watch::Sender<Heads>,
}

impl Talk {
    /// Everybody listens to everything; `manners` says who writes where and how.
    pub(crate) async fn start(
        node: &Node,
        town: &Town,
        manners: impl IntoIterator<Item = (usize, Uuid, Talker)>,
    ) -> Self {
        let gens = town.gens(&node.http()).await;
        let (heads, _) = watch::channel(None);
        let mut talk = Self {
            listeners: Vec::new(),
            writers: JoinSet::new(),
            acked: Arc::default(),
            over: Arc::default(),
            heads,
        };
        for person in &town.people {
            let listener = Listener::start(node, person, &gens, talk.heads.subscribe()).await;
            talk.listeners.push(listener);
        }
        for (who, room, manner) in manners {
            let writer = Writer {
                person: town.people[who].clone(),
                room,
                acked: talk.acked.clone(),
                over: talk.over.clone(),
            };
            let sender = talk.listeners[who].sender.clone();
            match manner {
                Talker::InTurn => talk.writers.spawn(writer.in_turn(sender)),
                Talker::BesideEachOther => talk.writers.spawn(writer.beside_each_other(sender)),
                Talker::OverHttp => talk.writers.spawn(writer.over_http(node.http())),
            };
        }
        talk
    }

    /// How many messages have their ack.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Waits for this many more acks.
    pub(crate) async fn goes_on(&self, more: u64) {
        let goal = self.acked() + more;
        super::until(&format!("{more} more acks"), || self.acked() >= goal).await;
    }

    /// Ends the talk once everything that was sent has its answer and everybody has heard
    /// everything, and gives what the checker needs.
    pub(crate) async fn end(mut self, node: &Node, town: &Town) -> Run {
        self.over.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        while let Some(written) = timeout(REST, self.writers.join_next())
            .await
            .unwrap_or_else(|_| panic!("a send never got its answer; the log:\n{}", node.log()))
        {
            sent.extend(written.expect("a writer does not panic"));
        }
        let logs = town.logs(&node.http()).await;
        let head =
            |log: &Vec<parlance_benches::checker::Logged>| log.last().map_or(0, |l| l.entry.seq);
        self.heads.send_replace(Some(logs.iter().map(|(room, log)| (*room, head(log))).collect()));
        let mut streams = Vec::new();
        for listener in self.listeners {
            let heard = timeout(REST, listener.task).await.unwrap_or_else(|_| {
                panic!("{} never heard everything; the log:\n{}", listener.name, node.log())
            });
            let mut heard = heard.expect("a listener hears to the end");
            for room in logs.keys() {
                streams.push(Stream {
                    client: listener.name.clone(),
                    room: *room,
                    after: Some(0),
                    complete: true,
                    received: heard.remove(room).unwrap_or_default(),
                });
            }
        }
        Run { sent, streams, logs, exclusive: true }
    }
}

struct Writer {
    person: Person,
    room: Uuid,
    acked: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Writer {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn sent(&self, key: Uuid, body: &str, fate: Fate, order: Option<u64>) -> Sent {
        if matches!(fate, Fate::Acked(_)) {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
        let body = digest(body.as_bytes());
        Sent { room: self.room, sender: self.person.id, key, body, fate, order }
    }

    async fn in_turn(self, sender: Sender) -> Vec<Sent> {
        let mut all = Vec::new();
        let mut number = 0;
        while !self.is_over() {
            number += 1;
            let (key, body) = (Uuid::now_v7(), format!("{} says {number}", self.person.name));
            let change = Change::Send { body: body.clone(), reply_to: None };
            let fate = fate(sender.post(self.room, key, change).await.map(|posted| posted.seq));
            all.push(self.sent(key, &body, fate, Some(number)));
            sleep(PACE).await;
        }
        all
    }

    async fn beside_each_other(self, sender: Sender) -> Vec<Sent> {
        let mut all = Vec::new();
        let mut under_way = JoinSet::new();
        let mut number = 0;
        loop {
            while !self.is_over() && under_way.len() < BESIDE_EACH_OTHER {
                number += 1;
                let (key, body) = (Uuid::now_v7(), format!("{} adds {number}", self.person.name));
                let change = Change::Send { body: body.clone(), reply_to: None };
                let (sender, room) = (sender.clone(), self.room);
                under_way.spawn(async move {
                    (key, body, sender.post(room, key, change).await.map(|posted| posted.seq))
                });
                sleep(PACE).await;
            }
            let Some(answered) = under_way.join_next().await else { return all };
            let (key, body, answer) = answered.expect("a send does not panic");
            all.push(self.sent(key, &body, fate(answer), None));
        }
    }

    async fn over_http(self, http: Http) -> Vec<Sent> {
        let mut all = Vec::new();
        let mut number = 0;
        while !self.is_over() {
            number += 1;
            let (key, body) = (Uuid::now_v7(), format!("{} posts {number}", self.person.name));
            let answer = loop {
                match http.send(&self.person.token, self.room, key, &body).await {
                    Err(error) if error.can_repeat() => sleep(PACE).await,
                    // The front closes what comes in while there is no node.
                    answer => break answer,
                }
            };
            let fate = fate(answer.map(|posted| posted.seq));
            all.push(self.sent(key, &body, fate, Some(number)));
            sleep(PACE).await;
        }
        all
    }
}

fn fate(answer: Result<u64, ClientError>) -> Fate {
    match answer {
        Ok(seq) => Fate::Acked(seq),
        Err(ClientError::Refused { .. }) => Fate::Refused,
        Err(_) => Fate::Open,
    }
}
