//! People talking while the server comes and goes: each hears everything in their rooms over one
//! connection, and writes in one of several manners. What all of them saw is the verdict's input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parlance_benches::checker::{Logged, Received, Run, Sent, Stream};
use parlance_client::connection::Sender;
use parlance_client::protocol::client::Cursor;
use parlance_client::{Connection, Http, Options, Server, Update};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::writer::{Ledger, pause};
use super::{Pace, Person, Talker, Town, Writer};

/// How long everything may take to come to rest in the end. A client that hears nothing more from
/// a machine that is gone without a word finds out after 75 s.
const REST: Duration = Duration::from_secs(120);
/// How long somebody tries to connect in the beginning.
const OPEN: Duration = Duration::from_secs(60);

/// What a listener waits for before it ends.
#[derive(Debug)]
struct End {
    heads: BTreeMap<Uuid, u64>,
    /// It ends now even if it did not hear everything.
    latest: Instant,
}

type Heads = Option<End>;

/// When a message was first sent, and when its sender had the ack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    pub(crate) room: Uuid,
    /// The user's id.
    pub(crate) sender: Uuid,
    pub(crate) key: Uuid,
    pub(crate) begun: std::time::Instant,
    pub(crate) acked: std::time::Instant,
    /// By whom it was sent: somebody who uses the service, or a measurement.
    pub(crate) by: By,
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// Somebody who reaches the service as clients do, and waits as long as it asks.
    Client,
    /// Somebody who asks the nodes themselves, all the time; see [`Writer::presses`].
    #[allow(dead_code, reason = "only the cluster's tests measure")]
    Press,
}

/// What somebody heard of a room.
#[derive(Debug, Default)]
struct Heard {
    /// Where they began.
    after: u64,
    received: Vec<Received>,
    /// The generations of the room that they were told of in the middle, and what they had heard
    /// of it until then.
    before: Vec<(u64, Box<Heard>)>,
}

impl Heard {
    fn last(&self) -> u64 {
        self.received.last().map_or(self.after, |last| last.seq)
    }

    /// The room has another history now; this one goes on after its head.
    fn is_reset(&mut self, r#gen: u64, head: u64) {
        let mut old = std::mem::replace(self, Self { after: head, ..Self::default() });
        self.before = std::mem::take(&mut old.before);
        self.before.push((r#gen, Box::new(old)));
    }

    fn stream(self, client: &str, room: Uuid, complete: bool) -> Stream {
        let Self { after, received, .. } = self;
        Stream { client: client.to_owned(), room, after: Some(after), complete, received }
    }
}

/// Somebody was told that a room's history is another one from now on.
#[derive(Debug)]
pub(crate) struct Reset {
    pub(crate) r#gen: u64,
    /// What they had heard of it until then.
    pub(crate) before: Stream,
}

/// What became of a talk.
pub(crate) struct Ended {
    pub(crate) run: Run,
    pub(crate) acks: Vec<Ack>,
    pub(crate) resets: Vec<Reset>,
}

impl Ended {
    /// Where no history may have been lost.
    pub(crate) fn kept(self) -> (Run, Vec<Ack>) {
        if let Some(Reset { r#gen, before: Stream { client, room, .. } }) = self.resets.first() {
            panic!("{client} was told that {room} lost its history: generation {}", r#gen);
        }
        (self.run, self.acks)
    }
}

/// Somebody who hears everything in their rooms.
struct Listener {
    sender: Sender,
    name: String,
    rooms: Vec<Uuid>,
    task: JoinHandle<BTreeMap<Uuid, Heard>>,
}

impl Listener {
    /// Connects and follows the rooms from their first event on.
    async fn start(
        server: Server,
        person: Person,
        gens: BTreeMap<Uuid, u64>,
        heads: watch::Receiver<Heads>,
    ) -> Self {
        let token = person.token.clone();
        let options = Options { server, token, refresh_token: None };
        let connection = timeout(OPEN, open(options)).await;
        let connection = connection.expect("a running node takes a session");
        for (room, r#gen) in &gens {
            let from = Some(Cursor { r#gen: *r#gen, seq: 0 });
            connection.subscribe(*room, from).await.expect("a member can follow the room");
        }
        let sender = connection.sender();
        let rooms: Vec<Uuid> = gens.into_keys().collect();
        let task = tokio::spawn(listen(connection, rooms.clone(), heads));
        Self { sender, name: person.name, rooms, task }
    }
}

async fn open(options: Options) -> Connection {
    loop {
        match Connection::open(options.clone()).await {
            Ok(connection) => return connection,
            Err(error) if error.can_repeat() => sleep(pause(&error)).await,
            Err(error) => panic!("a session is refused: {error}"),
        }
    }
}

async fn listen(
    mut connection: Connection,
    rooms: Vec<Uuid>,
    mut heads: watch::Receiver<Heads>,
) -> BTreeMap<Uuid, Heard> {
    let mut heard: BTreeMap<Uuid, Heard> = BTreeMap::new();
    loop {
        let at = |room: &Uuid| heard.get(room).map_or(0, Heard::last);
        let done = heads
            .borrow()
            .as_ref()
            .is_some_and(|end| rooms.iter().all(|room| at(room) >= end.heads[room]));
        if done {
            return heard;
        }
        let end = heads.borrow().as_ref().map(|end| end.latest);
        tokio::select! {
            // The checker says where they stopped.
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return heard,
            update = connection.next() => match update {
                Some(Update::Event { room, event, .. }) => {
                    heard.entry(room).or_default().received.push(Received::from(&*event));
                }
                Some(Update::Reset { room, r#gen, head }) => {
                    heard.entry(room).or_default().is_reset(r#gen, head);
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

/// A conversation under way.
pub(crate) struct Talk {
    server: Server,
    pace: Pace,
    listeners: Vec<Listener>,
    writers: JoinSet<Vec<Sent>>,
    ledger: Arc<Ledger>,
    heads: watch::Sender<Heads>,
}

impl Talk {
    /// Everybody listens to everything in their rooms; `manners` says who writes where and how,
    /// with `pace` between two messages of a writer.
    pub(crate) async fn start(
        server: Server,
        town: &Town,
        pace: impl Into<Pace>,
        manners: impl IntoIterator<Item = (usize, Uuid, Talker)>,
    ) -> Self {
        let http = Http::new(server.clone());
        let gens = town.gens(&http).await;
        let (heads, _) = watch::channel(None);
        let listeners = super::at_once(town.people.len(), |who| {
            let gens = town.rooms_of(who).map(|room| (room, gens[&room])).collect();
            Listener::start(server.clone(), town.people[who].clone(), gens, heads.subscribe())
        });
        let (listeners, writers, ledger) = (listeners.await, JoinSet::new(), Arc::default());
        let pace = pace.into();
        let mut talk = Self { server, pace, listeners, writers, ledger, heads };
        for (who, room, how) in manners {
            let sender = talk.listeners[who].sender.clone();
            let http = http.clone();
            talk.write(&town.people[who], room, |writer| writer.write(how, sender, http));
        }
        talk
    }

    /// Lets somebody write in a way of their own.
    pub(crate) fn write<W>(&mut self, who: &Person, room: Uuid, how: impl FnOnce(Writer) -> W)
    where
        W: Future<Output = Vec<Sent>> + Send + 'static,
    {
        let (person, pace, ledger) = (who.clone(), self.pace, self.ledger.clone());
        self.writers.spawn(how(Writer { person, room, pace, ledger }));
    }

    /// How many messages have their ack.
    pub(crate) fn acked(&self) -> u64 {
        self.acked_of(|_| true)
    }

    /// How many of these have.
    pub(crate) fn acked_of(&self, these: impl Fn(&Ack) -> bool) -> u64 {
        let acks = self.ledger.acks.lock().expect("nothing panics with this lock");
        acks.iter().filter(|ack| these(ack)).count() as u64
    }

    /// How many rooms took the message of a [`By::Press`] so far.
    #[allow(dead_code, reason = "only the cluster's tests measure")]
    pub(crate) fn pressed(&self) -> usize {
        let acks = self.ledger.acks.lock().expect("nothing panics with this lock");
        acks.iter().filter(|ack| ack.by == By::Press).count()
    }

    /// What was acknowledged so far.
    #[allow(dead_code, reason = "only the cluster's tests measure")]
    pub(crate) fn acks(&self) -> Vec<Ack> {
        self.ledger.acks.lock().expect("nothing panics with this lock").clone()
    }

    /// Waits for this many more acks.
    pub(crate) async fn goes_on(&self, more: u64) {
        let goal = self.acked() + more;
        super::until(&format!("{more} more acks"), || self.acked() >= goal).await;
    }

    /// Ends the talk once everything that was sent has its answer and everybody has heard
    /// everything, and gives what the checker needs.
    pub(crate) async fn end(&mut self, town: &Town) -> Ended {
        self.ledger.over.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        while let Some(written) = timeout(REST, self.writers.join_next())
            .await
            .unwrap_or_else(|_| panic!("{} writers never got an answer", self.writers.len()))
        {
            sent.extend(written.expect("a writer does not panic"));
        }
        let logs = town.logs(&Http::new(self.server.clone())).await;
        let head = |log: &Vec<Logged>| log.last().map_or(0, |logged| logged.entry.seq);
        let heads = logs.iter().map(|(room, log)| (*room, head(log))).collect();
        self.heads.send_replace(Some(End { heads, latest: Instant::now() + REST }));
        let (mut streams, mut resets) = (Vec::new(), Vec::new());
        for Listener { task, rooms, name, .. } in self.listeners.drain(..) {
            let mut heard = task.await.expect("a listener hears to the end");
            for room in rooms {
                let mut heard = heard.remove(&room).unwrap_or_default();
                for (r#gen, old) in std::mem::take(&mut heard.before) {
                    resets.push(Reset { r#gen, before: old.stream(&name, room, false) });
                }
                streams.push(heard.stream(&name, room, true));
            }
        }
        let acks = std::mem::take(&mut *self.ledger.acks.lock().expect("nobody writes any more"));
        let of_clients = acks.iter().filter(|ack| ack.by == By::Client);
        let longest = of_clients.max_by_key(|ack| ack.acked - ack.begun);
        if let Some(Ack { room, sender, key, begun, acked, .. }) = longest {
            let (took, of) = (*acked - *begun, acks.len());
            println!(
                "longest from first send to ack: {took:?} of {of}, {key} in {room} by {sender}"
            );
        }
        Ended { run: Run { sent, streams, logs, exclusive: true }, acks, resets }
    }
}
