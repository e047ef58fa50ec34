//! A crowd that only listens: many sessions of few people, each in one room, kept up by the client's
//! own rules. It says how many are live, and in the end what each of them heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use parlance_benches::checker::{Logged, Received, Stream};
use parlance_client::protocol::client::Cursor;
use parlance_client::{ClientError, Connection, Options, Server, Update};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::aside::Aside;
use crate::town::{Person, Town, so_many_at_once};

/// How many come at the same time: some of them are told to wait meanwhile.
const AT_ONCE: usize = 32;
/// How long one of them may take to be there in the beginning, behind all the others.
const OPEN: Duration = Duration::from_secs(300);
/// How long a crowd may take to be live again, on a busy machine.
const LIVE: Duration = Duration::from_secs(300);
/// Between two looks at a crowd.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Crowd {
    ears: Vec<Ear>,
    over: watch::Sender<bool>,
}

/// One session of the crowd.
struct Ear {
    name: String,
    room: Uuid,
    signs: Arc<Mutex<Signs>>,
    task: JoinHandle<Vec<Received>>,
}

/// What can be seen of one of them while it listens.
#[derive(Debug, Default)]
struct Signs {
    is_up: bool,
    heard: u64,
    /// Sockets that it lost or did not get, by what it was told.
    losses: BTreeMap<String, u64>,
}

impl Crowd {
    /// Has every one of the people, aside from those who write, follow a room of theirs, so many times each.
    pub(crate) async fn gather(aside: &Aside, server: &Server, town: &Town, times: usize) -> Self {
        let gens = town.gens(&parlance_client::Http::new(server.clone())).await;
        let (over, is_over) = watch::channel(false);
        let ears = so_many_at_once(AT_ONCE, town.people.len() * times, |number| {
            let (who, nth) = (number % town.people.len(), number / town.people.len());
            let rooms: Vec<Uuid> = town.rooms_of(who).collect();
            // The lobby is the first, and everybody would be in it.
            let room = rooms[1 + nth % (rooms.len() - 1)];
            let from = Cursor { r#gen: gens[&room], seq: 0 };
            let name = format!("{} at {nth}", town.people[who].name);
            let (server, person) = (server.clone(), town.people[who].clone());
            let ear = Ear::open(server, person, name, (room, from), is_over.clone());
            let opened = aside.handle().spawn(ear);
            async move { opened.await.expect("a place for everybody") }
        });
        Self { ears: ears.await, over }
    }

    pub(crate) fn len(&self) -> usize {
        self.ears.len()
    }

    /// How many have a socket and a session.
    pub(crate) fn up(&self) -> usize {
        self.ears.iter().filter(|ear| ear.signs().is_up).count()
    }

    /// Waits until fewer than all are connected: what was done to them has reached them.
    pub(crate) async fn is_hit(&self) {
        self.is("hit", || self.up() < self.len()).await;
    }

    /// Waits until all of them are connected, and have heard everything that there is when they
    /// are. Says how long both took since then.
    pub(crate) async fn is_live(&self, town: &Town, server: &Server, since: Instant) {
        self.is("connected", || self.up() == self.len()).await;
        let connected = since.elapsed();
        let heads = town.ends(&parlance_client::Http::new(server.clone())).await;
        self.is("up to date", || {
            self.ears.iter().all(|ear| ear.signs().heard >= heads[&ear.room].1)
        })
        .await;
        println!(
            "all {} connected after {connected:?}, live after {:?}",
            self.len(),
            since.elapsed()
        );
    }

    async fn is(&self, what: &str, holds: impl Fn() -> bool) {
        let waited = timeout(LIVE, async {
            while !holds() {
                sleep(LOOK).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "never {what}; {} of {} are connected, losses {:#?}",
            self.up(),
            self.len(),
            self.losses()
        );
    }

    /// How often sockets were lost or not had, by what the clients were told.
    pub(crate) fn losses(&self) -> BTreeMap<String, u64> {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for ear in &self.ears {
            for (why, times) in &ear.signs().losses {
                *all.entry(why.clone()).or_default() += times;
            }
        }
        all
    }

    /// How often somebody was told to come back later.
    pub(crate) fn told_to_wait(&self) -> u64 {
        let losses = self.losses().into_iter();
        losses.filter(|(why, _)| why.starts_with("busy")).map(|(_, times)| times).sum()
    }

    /// Ends once each has heard its room's log to the end. Nothing more may be written.
    pub(crate) async fn end(self, logs: &BTreeMap<Uuid, Vec<Logged>>) -> Vec<Stream> {
        let head = |room: &Uuid| logs[room].last().map_or(0, |logged| logged.entry.seq);
        self.is("at the end", || self.ears.iter().all(|ear| ear.signs().heard >= head(&ear.room)))
            .await;
        self.over.send_replace(true);
        let mut streams = Vec::new();
        for Ear { name: client, room, task, .. } in self.ears {
            let received = task.await.expect("a listener hears to the end");
            streams.push(Stream { client, room, after: Some(0), complete: true, received });
        }
        streams
    }
}

impl Ear {
    async fn open(
        server: Server,
        person: Person,
        name: String,
        (room, from): (Uuid, Cursor),
        is_over: watch::Receiver<bool>,
    ) -> Self {
        let options = Options { server, token: person.token, refresh_token: None };
        let connection = timeout(OPEN, open(options)).await.expect("a place for everybody");
        connection.subscribe(room, Some(from)).await.expect("a member can follow the room");
        let signs = Arc::new(Mutex::new(Signs { is_up: true, ..Signs::default() }));
        let task = tokio::spawn(listen(connection, Arc::clone(&signs), is_over));
        Self { name, room, signs, task }
    }

    fn signs(&self) -> std::sync::MutexGuard<'_, Signs> {
        self.signs.lock().expect("nothing panics with this lock")
    }
}

async fn open(options: Options) -> Connection {
    loop {
        match Connection::open(options.clone()).await {
            Ok(connection) => return connection,
            Err(ClientError::Refused { retry_after: Some(pause), .. }) => sleep(pause).await,
            Err(error) if error.can_repeat() => sleep(LOOK).await,
            Err(error) => panic!("a session is refused: {error}"),
        }
    }
}

async fn listen(
    mut connection: Connection,
    signs: Arc<Mutex<Signs>>,
    mut is_over: watch::Receiver<bool>,
) -> Vec<Received> {
    let mut heard = Vec::new();
    loop {
        let update = tokio::select! {
            update = connection.next() => update.expect("it says why it ends"),
            _ = is_over.wait_for(|over| *over) => return heard,
        };
        let mut signs = signs.lock().expect("nothing panics with this lock");
        match update {
            Update::Event { event, .. } => {
                signs.heard = event.seq;
                heard.push(Received::from(&*event));
            }
            Update::Connected { .. } => signs.is_up = true,
            Update::Disconnected { why, .. } => {
                signs.is_up = false;
                *signs.losses.entry(why).or_default() += 1;
            }
            Update::Reset { room, .. } => panic!("the history of {room} was lost"),
            Update::Refused { room, why } => panic!("{room} was refused: {why}"),
            Update::Ended { why } => panic!("a session ended for good: {why}"),
            _ => {}
        }
    }
}
