//! How somebody writes while nodes come and go: each message is repeated with its key until it has
//! an answer, and what became of it is written down for the checker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use parlance_benches::checker::{Fate, Sent, digest};
use parlance_client::connection::Sender;
use parlance_client::{Change, ClientError, Http};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Ack, By, Person};

/// Changes of one writer that are under way at once.
const BESIDE_EACH_OTHER: usize = 8;
/// Before a request that was not answered is repeated, where the server names no pause.
const REPEAT: Duration = Duration::from_millis(50);

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

/// How much somebody writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Between two messages.
    pub(crate) every: Duration,
    /// A message has at least this length.
    pub(crate) body_bytes: usize,
}

impl From<Duration> for Pace {
    fn from(every: Duration) -> Self {
        Self { every, body_bytes: 0 }
    }
}

/// What the writers of a talk share.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) acks: Mutex<Vec<Ack>>,
    pub(super) over: AtomicBool,
}

/// Somebody who writes in a room.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(super) person: Person,
    pub(super) room: Uuid,
    pub(super) pace: Pace,
    pub(super) ledger: Arc<Ledger>,
}

impl Writer {
    pub(super) fn is_over(&self) -> bool {
        self.ledger.over.load(Ordering::Relaxed)
    }

    /// The answer to a message, at the time when it comes.
    pub(super) fn answered(&self, message: &Message, answer: Result<u64, ClientError>) -> Fate {
        let fate = fate(answer);
        if matches!(fate, Fate::Acked(_)) {
            let Self { room, person, .. } = self;
            let (room, sender, key) = (*room, person.id, message.key);
            let (begun, acked, by) = (message.begun, Instant::now(), message.by);
            let ack = Ack { room, sender, key, begun, acked, by };
            self.ledger.acks.lock().expect("nothing panics with this lock").push(ack);
        }
        fate
    }

    pub(super) fn sent(&self, message: &Message, fate: Fate, order: Option<u64>) -> Sent {
        let (key, body) = (message.key, digest(message.body.as_bytes()));
        Sent { room: self.room, sender: self.person.id, key, body, fate, order }
    }

    pub(super) fn message(&self, verb: &str, number: u64) -> Message {
        let mut body = format!("{} {verb} {number}", self.person.name);
        while body.len() < self.pace.body_bytes {
            body.push_str(" and so on");
        }
        Message { key: Uuid::now_v7(), body, begun: Instant::now(), by: By::Client }
    }

    pub(super) async fn write(self, how: Talker, sender: Sender, http: Http) -> Vec<Sent> {
        match how {
            Talker::InTurn => self.in_turn(sender).await,
            Talker::BesideEachOther => self.beside_each_other(sender).await,
            Talker::OverHttp => self.over_http(vec![http]).await,
        }
    }

    async fn in_turn(self, sender: Sender) -> Vec<Sent> {
        let mut all = Vec::new();
        let mut number = 0;
        while !self.is_over() {
            number += 1;
            let message = self.message("says", number);
            let answer = sender.post(self.room, message.key, message.change()).await;
            let fate = self.answered(&message, answer.map(|posted| posted.seq));
            all.push(self.sent(&message, fate, Some(number)));
            sleep(self.pace.every).await;
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
                let message = self.message("adds", number);
                let (sender, writer) = (sender.clone(), self.clone());
                under_way.spawn(async move {
                    let answer = sender.post(writer.room, message.key, message.change()).await;
                    let fate = writer.answered(&message, answer.map(|posted| posted.seq));
                    (message, fate)
                });
                sleep(self.pace.every).await;
            }
            let Some(answered) = under_way.join_next().await else { return all };
            let (message, fate) = answered.expect("a send does not panic");
            all.push(self.sent(&message, fate, None));
        }
    }

    /// Each message goes to every one of these at the same time, each time with the same key.
    pub(crate) async fn over_http(self, places: Vec<Http>) -> Vec<Sent> {
        let mut all = Vec::new();
        let mut number = 0;
        while !self.is_over() {
            number += 1;
            let message = self.message("posts", number);
            let mut posts = JoinSet::new();
            for http in places.clone() {
                let (token, room) = (self.person.token.clone(), self.room);
                let (key, body) = (message.key, message.body.clone());
                posts.spawn(async move { post(&http, &token, room, key, &body).await });
            }
            // A place in the order is one message's, however often it was sent.
            let orders = std::iter::once(Some(number)).chain(std::iter::repeat(None));
            for (answer, order) in posts.join_all().await.into_iter().zip(orders) {
                let fate = self.answered(&message, answer);
                all.push(self.sent(&message, fate, order));
            }
            sleep(self.pace.every).await;
        }
        all
    }
}

pub(super) struct Message {
    pub(super) key: Uuid,
    pub(super) body: String,
    pub(super) begun: Instant,
    pub(super) by: By,
}

impl Message {
    fn change(&self) -> Change {
        Change::Send { body: self.body.clone(), reply_to: None }
    }
}

pub(super) async fn post(
    http: &Http,
    token: &str,
    room: Uuid,
    key: Uuid,
    body: &str,
) -> Result<u64, ClientError> {
    loop {
        match http.send(token, room, key, body).await {
            Err(error) if error.can_repeat() => sleep(pause(&error)).await,
            answer => return answer.map(|posted| posted.seq),
        }
    }
}

pub(super) fn pause(error: &ClientError) -> Duration {
    match error {
        ClientError::Refused { retry_after: Some(pause), .. } => *pause,
        _ => REPEAT,
    }
}

fn fate(answer: Result<u64, ClientError>) -> Fate {
    match answer {
        Ok(seq) => Fate::Acked(seq),
        Err(error @ ClientError::Refused { .. }) => {
            println!("refused for good: {error}");
            Fate::Refused
        }
        Err(_) => Fate::Open,
    }
}
