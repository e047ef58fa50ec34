//! Several live nodes over one PostgreSQL that trade shards back and forth while all of them
//! write, connections are cut and appends are in flight. Seeded; the seed is printed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use parlance_actors::ports::history::{History, Outcome, Range};
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::vocab::{Draft, Epoch, Key, RoomId, RoomRef, Seq, TenantId, UserId};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Process, audit, operator};
use crate::StorageConfig;
use crate::testkit::PostgresServer;

const POLL: Duration = Duration::from_millis(3);
/// Messages of one writer in flight at most.
const FLIGHT: u64 = 6;

/// Numbers from a seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        let seed = std::env::var("PARLANCE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        println!("PARLANCE_SEED={seed}");
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }
}

/// What the nodes and their clients share: who owns which room, and what was sent and acked.
#[derive(Default)]
struct Table {
    owner: Mutex<(usize, Epoch)>,
    /// Sent, not acked, in nobody's hands: its client repeats it.
    pending: Mutex<VecDeque<Draft>>,
    acked: Mutex<HashMap<Key, Seq>>,
}

/// Nodes that write to one room a shard, each to those that it owns.
pub(super) struct Town {
    pub(super) nodes: Vec<Process>,
    pub(super) rooms: Vec<RoomRef>,
    tables: Arc<Vec<Table>>,
    acks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writers: JoinSet<()>,
    epoch: u64,
}

impl Town {
    pub(super) async fn new(url: &str, nodes: usize, rooms: usize) -> Self {
        let mut town = Self {
            nodes: Vec::new(),
            rooms: (0..rooms).map(|shard| room_of(u8::try_from(shard).expect("a shard"))).collect(),
            tables: Arc::new((0..rooms).map(|_| Table::default()).collect()),
            acks: Arc::default(),
            stop: Arc::default(),
            writers: JoinSet::new(),
            epoch: 1,
        };
        for node in 0..nodes {
            let mut config = StorageConfig::new(url);
            config.node = format!("node{node}");
            config.lanes = Some(2);
            config.lock_wait = Duration::from_millis(500);
            town.nodes.push(Process::open(&config).await);
        }
        for room in 0..rooms {
            *town.tables[room].owner.lock() = (room % nodes, Epoch(1));
            for node in 0..nodes {
                town.writers.spawn(write(
                    (node, room),
                    town.nodes[node].storage.history(),
                    town.rooms[room],
                    town.tables.clone(),
                    town.acks.clone(),
                    town.stop.clone(),
                ));
            }
        }
        town
    }

    pub(super) fn acks(&self) -> u64 {
        self.acks.load(Ordering::Relaxed)
    }

    /// Returns when this many more messages were acked.
    pub(super) async fn acked_more(&mut self, more: u64) {
        let enough = self.acks() + more;
        while self.acks() < enough {
            if let Some(ended) = self.writers.try_join_next() {
                ended.expect("a writer goes on until it is stopped");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Gives a room to a node under the next epoch. `unannounced`, the node takes it over before
    /// anybody else hears of it; else it is told as all the others are.
    async fn give(&mut self, room: usize, node: usize, unannounced: bool) {
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        if unannounced {
            let history = self.nodes[node].storage.history();
            history.open(self.rooms[room], epoch, None).await.expect("the highest epoch opens");
        }
        *self.tables[room].owner.lock() = (node, epoch);
    }

    /// Gives many rooms to a node at once; it takes them over before anybody hears of it.
    async fn give_all(&mut self, rooms: &[usize], node: usize) {
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        let history = self.nodes[node].storage.history();
        let opening = rooms.iter().map(|room| history.open(self.rooms[*room], epoch, None));
        for opened in join_all(opening).await {
            opened.expect("the highest epoch opens");
        }
        for room in rooms {
            *self.tables[*room].owner.lock() = (node, epoch);
        }
    }

    /// Lets the clients repeat until everything is acked; then every promise must hold.
    pub(super) async fn ends_well(mut self, url: &str) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended.expect("no panic");
        }
        for (room, table) in self.rooms.iter().zip(self.tables.iter()) {
            let (node, epoch) = *table.owner.lock();
            let history: Arc<dyn History> = self.nodes[node].storage.history();
            let mut last = TestRoom::open(&history, *room, epoch).await.expect("opens");
            let pending = std::mem::take(&mut *table.pending.lock());
            for draft in pending {
                let key = draft.key;
                match last.settle(draft).await {
                    Outcome::Committed { seq } | Outcome::Repeated { seq, .. } => {
                        acked(table, key, seq);
                    }
                    other => panic!("in peace a message got {other:?}"),
                }
            }
            let acked = table.acked.lock().clone();
            let mut after = Seq(0);
            loop {
                let page = history.log(*room, Range::After(after), 200).await.expect("a page");
                for event in &page.events {
                    assert_eq!(event.seq, after.next(), "no hole");
                    assert_eq!(acked.get(&event.key), Some(&event.seq), "once, where it was acked");
                    after = event.seq;
                }
                if !page.more {
                    break;
                }
            }
            assert_eq!(after.0, acked.len() as u64, "everything acked is there");
        }
        for node in &self.nodes {
            node.storage.close().await;
        }
        assert_eq!(audit(url).await, []);
    }
}

pub(super) fn room_of(shard: u8) -> RoomRef {
    let mut id = *RoomId::generate().0.as_bytes();
    id[15] = shard;
    RoomRef { tenant: TenantId::MAIN, room: RoomId(Uuid::from_bytes(id)) }
}

fn acked(table: &Table, key: Key, seq: Seq) {
    let before = table.acked.lock().insert(key, seq);
    assert!(before.is_none_or(|before| before == seq), "{key} was acked at {before:?} and {seq}");
}

/// One node's writer of one room: whenever the node owns the room it opens it, and goes on, also
/// after the room was given away, until it is fenced.
async fn write(
    (node, room): (usize, usize),
    history: Arc<dyn History>,
    at: RoomRef,
    tables: Arc<Vec<Table>>,
    acks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    let (table, user) = (&tables[room], UserId::generate());
    while !stop.load(Ordering::Relaxed) {
        let (owner, epoch) = *table.owner.lock();
        let opened =
            if owner == node { TestRoom::open(&history, at, epoch).await.ok() } else { None };
        let Some(mut open) = opened else {
            tokio::time::sleep(POLL).await;
            continue;
        };
        let mut heard = 0;
        let mut stopped = false;
        while !stopped && !stop.load(Ordering::Relaxed) {
            let mut in_flight = HashMap::new();
            for _ in 0..FLIGHT {
                let repeat = table.pending.lock().pop_front();
                let draft = repeat.unwrap_or_else(|| draft(user, message("hello")));
                match open.post(draft.clone()) {
                    Ok(ticket) => _ = in_flight.insert(ticket, draft),
                    Err(_) => {
                        table.pending.lock().push_back(draft);
                        tokio::time::sleep(POLL).await;
                        break;
                    }
                }
            }
            let outcomes = open.outcomes().await;
            for (ticket, outcome) in &outcomes[heard..] {
                let draft = in_flight.remove(ticket).expect("heard once");
                if let Outcome::Committed { seq } | Outcome::Repeated { seq, .. } = outcome {
                    acked(table, draft.key, *seq);
                    acks.fetch_add(1, Ordering::Relaxed);
                } else {
                    stopped = true;
                    table.pending.lock().push_back(draft);
                }
            }
            heard = outcomes.len();
            assert!(in_flight.is_empty(), "everything that was taken is settled");
        }
    }
}

/// Cuts every connection of a node's lanes.
async fn cut(connection: &mut PgConnection, node: usize) {
    let sql =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1";
    let lanes = format!("parlance/node{node}/lane%");
    sqlx::query(sql).bind(lanes).fetch_all(connection).await.expect(sql);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_move_under_load_lose_and_repeat_nothing() {
    let server = PostgresServer::start(false).await;
    let mut dice = Dice::new();
    let mut town = Town::new(&server.url(), 3, 16).await;
    let mut connection = operator(&server.url()).await;
    for step in 0..120 {
        town.acked_more(8).await;
        let (room, node) = (dice.below(16), dice.below(3));
        town.give(room, node, dice.below(2) == 0).await;
        if step % 8 == 0 {
            cut(&mut connection, dice.below(3)).await;
        }
    }
    town.acked_more(100).await;
    println!("{} messages acked", town.acks());
    town.ends_well(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_shards_that_move_at_once_under_load_lose_and_repeat_nothing() {
    let server = PostgresServer::start(false).await;
    let mut dice = Dice::new();
    let mut town = Town::new(&server.url(), 3, 16).await;
    let mut connection = operator(&server.url()).await;
    for step in 0..30 {
        town.acked_more(16).await;
        let rooms: Vec<usize> = (0..16).filter(|_| dice.below(2) == 0).collect();
        town.give_all(&rooms, dice.below(3)).await;
        if step % 5 == 0 {
            cut(&mut connection, dice.below(3)).await;
        }
    }
    town.acked_more(100).await;
    println!("{} messages acked", town.acks());
    town.ends_well(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_comes_back_at_a_higher_epoch_and_never_at_a_lower_one() {
    let server = PostgresServer::start(false).await;
    let (one, two) = (
        Process::open(&StorageConfig::new(server.url())).await,
        Process::open(&StorageConfig::new(server.url())).await,
    );
    let histories: [Arc<dyn History>; 2] = [one.storage.history(), two.storage.history()];
    let (at, user) = (room_of(3), UserId::generate());
    let mut rooms: Vec<TestRoom> = Vec::new();
    for epoch in 1..=8 {
        let history = &histories[usize::try_from(epoch % 2).expect("small")];
        rooms.push(TestRoom::open(history, at, Epoch(epoch)).await.expect("opens"));
        let last = rooms.last_mut().expect("just opened");
        assert_eq!(last.opened.head, Seq(epoch - 1));
        let outcome = last.settle(draft(user, message("mine"))).await;
        assert_eq!(outcome, Outcome::Committed { seq: Seq(epoch) });
        for history in &histories {
            for lower in 1..epoch {
                history.open(at, Epoch(lower), None).await.expect_err("a lower epoch is fenced");
            }
        }
    }
    rooms.pop();
    for room in &mut rooms {
        assert_eq!(room.settle(draft(user, message("late"))).await, Outcome::Fenced);
    }
    assert_eq!(audit(&server.url()).await, []);
}
