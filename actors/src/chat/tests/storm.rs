//! Seeded storms: nodes die, come back, are cut off and fenced while shards move, and clients
//! send, resume and fill gaps as the protocol says. In the end everything heals, and the promises
//! hold for what each client sent, was acked and saw.
//!
//! `PARLANCE_SEED=n` runs one storm, `PARLANCE_STORMS=n` so many. The seed decides the faults; ids
//! are random, so that the same seed is the same weather and not the same wind.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::*;
use crate::ports::directory::Ownership;
use crate::room::fold::Entries;
use crate::vocab::{Epoch, Event};

const NODES: u64 = 3;
const ROOMS: usize = 4;
const CLIENTS: u64 = 5;
const STEPS: u32 = 25;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

type Nodes = Arc<parking_lot::Mutex<BTreeMap<u64, Arc<Chat>>>>;

/// What one client knows at the end.
#[derive(Default)]
struct Known {
    acked: Vec<(RoomId, Key, u64)>,
    seen: HashMap<RoomId, BTreeMap<u64, Key>>,
    repeats: Vec<(RoomId, u64)>,
    cursors: HashMap<RoomId, u64>,
}

struct Sender {
    caller: Caller,
    rooms: Vec<RoomId>,
    nodes: Nodes,
    dice: Dice,
    known: Known,
    /// Sends that are not answered yet, each room's in their order.
    open: HashMap<RoomId, Vec<Key>>,
    left: u32,
}

impl Sender {
    /// Sends all it has to send, and then listens until it saw everything up to `heads`.
    async fn live(mut self, mut heads: tokio::sync::watch::Receiver<Option<Heads>>) -> Known {
        loop {
            let chat = {
                let nodes = self.nodes.lock();
                let place = self.dice.below(nodes.len() as u64);
                nodes.values().nth(usize::try_from(place).expect("small")).cloned()
            };
            if let Some(chat) = chat
                && let Ok(open) = chat.open_session(self.caller.clone(), Dialect::V1, Some(0), None)
            {
                let client = Client {
                    session: open.session,
                    outbox: open.outbox,
                    seen: Vec::new(),
                    ended: None,
                };
                if self.talk(&chat, client, &mut heads).await {
                    return self.known;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_done(&self, heads: &tokio::sync::watch::Receiver<Option<Heads>>) -> bool {
        let heads = heads.borrow();
        let Some(heads) = &*heads else { return false };
        self.left == 0
            && self.open.values().all(Vec::is_empty)
            && self.rooms.iter().all(|room| self.known.cursors[room] >= heads[room])
    }

    /// One session, until it ends or everything is done.
    async fn talk(
        &mut self,
        chat: &Chat,
        mut client: Client,
        heads: &mut tokio::sync::watch::Receiver<Option<Heads>>,
    ) -> bool {
        let mut unfollowed = self.rooms.clone();
        let mut id = 1;
        // Requests of this session: sends with their keys, subscribes without.
        let mut asked: HashMap<u64, Option<(RoomId, Key)>> = HashMap::new();
        loop {
            if self.is_done(heads) {
                return true;
            }
            if !unfollowed.is_empty() {
                let at = |room: &RoomId| {
                    (*room, Some(Cursor { r#gen: Gen(1), seq: Seq(self.known.cursors[room]) }))
                };
                let rooms = unfollowed.iter().map(at).collect();
                unfollowed.clear();
                client.ask(id, Command::Subscribe(rooms));
                asked.insert(id, None);
                id += 1;
            }
            for room in self.rooms.clone() {
                let open = self.open.entry(room).or_default();
                let in_flight = asked.values().flatten().any(|(of, _)| *of == room);
                // All of a room's are answered: repeat the refused ones, or go on with new ones.
                if in_flight {
                    continue;
                }
                while open.len() < 3 && self.left > 0 {
                    self.left -= 1;
                    open.push(Key::generate());
                }
                for key in open.iter() {
                    client.send(id, room, *key, &key.to_string());
                    asked.insert(id, Some((room, *key)));
                    id += 1;
                }
            }
            let read = tokio::time::timeout(Duration::from_millis(120), client.read()).await;
            for frame in std::mem::take(&mut client.seen) {
                let room = || -> RoomId {
                    frame["room"].as_str().expect("a room").parse().expect("an id")
                };
                match frame["type"].as_str().expect("a type") {
                    "event" => self.saw(room(), frame["seq"].as_u64().expect("a seq"), &frame),
                    "gap" => {
                        let to = frame["to"].as_u64().expect("a seq");
                        if !self.fill(chat, room(), to).await {
                            return false;
                        }
                    }
                    "ok" | "error" => {
                        let Some(was) = asked.remove(&frame["id"].as_u64().unwrap_or(0)) else {
                            continue;
                        };
                        match was {
                            Some((room, key)) if frame["type"] == "ok" => {
                                let seq = frame["seq"].as_u64().expect("a seq");
                                self.known.acked.push((room, key, seq));
                                let open = self.open.get_mut(&room).expect("it sent there");
                                open.retain(|other| *other != key);
                            }
                            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                            None => {
                                let told = frame["rooms"].as_object().expect("rooms");
                                let lost =
                                    told.iter().filter(|(_, told)| told["error"].is_string());
                                let parse = |room: &String| room.parse().expect("an id");
                                unfollowed.extend(lost.map(|(room, _)| -> RoomId { parse(room) }));
                            }
                        }
                    }
                    _ => {}
                }
            }
            if read.is_ok() && client.ended.is_some() {
                return false;
            }
            if !unfollowed.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn saw(&mut self, room: RoomId, seq: u64, frame: &Value) {
        let cursor = self.known.cursors.get_mut(&room).expect("its room");
        if seq <= *cursor {
            self.known.repeats.push((room, seq));
            return;
        }
        assert_eq!(seq, *cursor + 1, "a hole that no gap marks");
        *cursor = seq;
        let key: Key = frame["key"].as_str().expect("a key").parse().expect("a key");
        self.known.seen.entry(room).or_default().insert(seq, key);
    }

    /// Fills a gap from history with the log view.
    async fn fill(&mut self, chat: &Chat, room: RoomId, to: u64) -> bool {
        for _ in 0..50 {
            let cursor = self.known.cursors[&room];
            if cursor >= to {
                return true;
            }
            let range = Range::After(Seq(cursor));
            let page = chat.history(&self.caller, room, range, 200, View::Log).await;
            let entries = page.ok().map(|(_, page)| page.entries);
            let Some(Entries::Log(events)) = entries else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            for event in events {
                if event.seq.0 == self.known.cursors[&room] + 1 && event.seq.0 <= to {
                    self.known.cursors.insert(room, event.seq.0);
                    self.known.seen.entry(room).or_default().insert(event.seq.0, event.key);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

type Heads = HashMap<RoomId, u64>;

/// The weather: faults one after the other, at most one node away at a time.
struct Weather {
    cluster: Cluster,
    nodes: Nodes,
    dice: Dice,
    away: Option<u64>,
}

impl Weather {
    async fn blow(&mut self) {
        let one = 1 + self.dice.below(NODES);
        let other = 1 + (one % NODES);
        match self.dice.below(9) {
            0 if self.away.is_none() => self.kill(one).await,
            1 => self.bring_back().await,
            2 => self.cluster.mesh.interrupt(NodeId(one), NodeId(other)),
            3 => {
                self.cluster.mesh.cut(NodeId(one), NodeId(other));
                self.pause(1_500).await;
                self.cluster.mesh.heal(NodeId(one), NodeId(other));
            }
            4 | 5 => self.move_some(one),
            6 => {
                // The database is away for this node for a moment.
                let history = self.cluster.history(one);
                history.set_away(true);
                self.pause(800).await;
                history.set_away(false);
            }
            7 => {
                // A takeover that the owner does not hear of first.
                let room = self.dice.below(256);
                let shard = crate::vocab::ShardId(u8::try_from(room).expect("a shard"));
                self.fence_and_assign(shard, other).await;
            }
            _ => {}
        }
        self.pause(400).await;
    }

    async fn pause(&mut self, millis: u64) {
        let millis = 1 + self.dice.below(millis);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn live(&self) -> Vec<u64> {
        (1..=NODES).filter(|node| Some(*node) != self.away).collect()
    }

    async fn kill(&mut self, node: u64) {
        self.nodes.lock().remove(&node);
        self.cluster.end(node);
        self.away = Some(node);
        self.pause(1_000).await;
        let live = self.live();
        let to = live[usize::try_from(self.dice.below(2)).expect("small")];
        self.cluster.directory().take_over(NodeId(node), NodeId(to));
    }

    async fn bring_back(&mut self) {
        if let Some(node) = self.away.take() {
            let chat = self.cluster.restart(node).await;
            self.nodes.lock().insert(node, chat);
        }
    }

    fn move_some(&mut self, to: u64) {
        if Some(to) == self.away {
            return;
        }
        for shard in crate::vocab::ShardId::all() {
            if self.dice.below(4) == 0 {
                self.cluster.directory().move_shard(shard, NodeId(to));
            }
        }
    }

    async fn fence_and_assign(&mut self, shard: crate::vocab::ShardId, to: u64) {
        let Some(owned) = self.cluster.directory().ownership(shard) else { return };
        if Some(to) == self.away || owned.owner == NodeId(to) {
            return;
        }
        let epoch = Epoch(owned.epoch.0 + 1);
        self.cluster.history(to).take_over(shard, epoch);
        self.pause(700).await;
        if self.cluster.directory().ownership(shard) == Some(owned) {
            let owned = Ownership { owner: NodeId(to), epoch, moving_to: None, ..owned };
            self.cluster.directory().set_ownership(shard, Some(owned));
        }
    }
}

async fn storm(seed: u64) {
    let mut dice = Dice(seed);
    let cluster = Cluster::start(NODES).await;
    let ann = cluster.nodes[0].user("ann").await;
    let mut rooms = Vec::new();
    for n in 0..ROOMS {
        rooms.push(cluster.nodes[0].room(&ann, &format!("r{n}"), RoomKind::Public).await);
    }
    let nodes: Nodes = Arc::default();
    nodes.lock().extend((1..).zip(cluster.nodes.iter().map(|node| node.chat.clone())));
    let (heads_known, heads) = tokio::sync::watch::channel(None);
    let mut senders = JoinSet::new();
    for n in 0..CLIENTS {
        let caller = cluster.nodes[0].user(&format!("user{n}")).await;
        for room in &rooms {
            let join = cluster.nodes[0].chat.post(&caller, *room, Key::generate(), Change::Join);
            join.await.expect("joined");
        }
        let known =
            Known { cursors: rooms.iter().map(|room| (*room, 0)).collect(), ..Known::default() };
        let sender = Sender {
            caller,
            rooms: rooms.clone(),
            nodes: nodes.clone(),
            dice: Dice(dice.roll()),
            known,
            open: HashMap::new(),
            left: 60,
        };
        senders.spawn(Box::pin(sender.live(heads.clone())));
    }
    let mut weather = Weather { cluster, nodes, dice, away: None };
    for _ in 0..STEPS {
        weather.blow().await;
    }
    weather.bring_back().await;
    // Healed: all that was left to send is sent now, and then the heads stand still.
    let logs = settle(&weather.cluster, &rooms).await;
    let ends = logs.iter().map(|(room, log)| (*room, log.len() as u64)).collect();
    heads_known.send_replace(Some(ends));
    let finished = async {
        let mut all = Vec::new();
        while let Some(known) = senders.join_next().await {
            all.push(known.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
        }
        all
    };
    let all = tokio::time::timeout(Duration::from_secs(300), finished).await;
    let all = all.unwrap_or_else(|_| panic!("seed {seed}: it did not heal"));
    check(seed, &logs, &all);
}

/// Waits until the logs have not grown for a while.
async fn settle(cluster: &Cluster, rooms: &[RoomId]) -> HashMap<RoomId, Vec<Event>> {
    let read = || {
        let at = |room: &RoomId| RoomRef { tenant: TenantId::MAIN, room: *room };
        let logs = rooms.iter().map(|room| (*room, cluster.history(1).committed(at(room))));
        logs.collect::<HashMap<_, _>>()
    };
    let (mut before, mut still) = (read(), 0);
    while still < 20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = read();
        let grew = now.iter().any(|(room, log)| log.len() != before[room].len());
        still = if grew { 0 } else { still + 1 };
        before = now;
    }
    before
}

fn check(seed: u64, logs: &HashMap<RoomId, Vec<Event>>, all: &[Known]) {
    for log in logs.values() {
        for (place, event) in (1..).zip(log) {
            assert_eq!(event.seq.0, place, "seed {seed}: the log has a hole");
        }
        let mut keys: Vec<_> = log.iter().map(|event| (event.sender.id, event.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), log.len(), "seed {seed}: a key is there twice");
    }
    for known in all {
        assert_eq!(known.repeats, [], "seed {seed}: shown twice");
        assert_eq!(known.acked.len(), 60, "seed {seed}: everything is acked in the end");
        let mut last: HashMap<RoomId, u64> = HashMap::new();
        let mut sent = known.acked.clone();
        sent.sort_by_key(|(_, key, _)| *key);
        for (room, key, seq) in &known.acked {
            let event = &logs[room][usize::try_from(*seq - 1).expect("small")];
            assert_eq!(event.key, *key, "seed {seed}: an acked event is not where it was acked");
        }
        // Keys are made in the order of sending (UUIDv7), so a room's seqs grow with them.
        for (room, _, seq) in sent {
            let before = last.insert(room, seq).unwrap_or(0);
            assert!(seq > before, "seed {seed}: sends of a session changed places");
        }
        for (room, log) in logs {
            let seen = &known.seen[room];
            assert_eq!(seen.len(), log.len(), "seed {seed}: not everything was seen");
            for event in log {
                assert_eq!(seen[&event.seq.0], event.key, "seed {seed}: seen at another place");
            }
        }
    }
}

#[test]
fn the_promises_hold_in_every_storm() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match number("PARLANCE_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("PARLANCE_STORMS").unwrap_or(40)),
    };
    for seed in first..first + count {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(Box::pin(storm(seed)));
    }
}
