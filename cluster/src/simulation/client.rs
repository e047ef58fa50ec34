//! A client that follows the protocol: it sends with keys and repeats what was not answered, on
//! whatever node, resumes from its cursors, and fills gaps from history. It keeps what it was told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use parlance_actors::chat::Chat;
use parlance_actors::outbox::Outbox;
use parlance_actors::ports::Frames;
use parlance_actors::ports::frames::Dialect;
use parlance_actors::ports::history::Range;
use parlance_actors::room::fold::Entries;
use parlance_actors::session::{
    Answer, Caller, Change, Command, Cursor, Output, Request, SessionHandle, View,
};
use parlance_actors::vocab::{Gen, Key, NodeId, RoomId, Seq};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// A client that has waited so long for an answer tries another node.
const PATIENCE: Duration = Duration::from_secs(12);
/// Sends to one room that are not answered yet.
const OPEN_MAX: usize = 3;
/// The pause before a client says more, so that it goes on saying something while faults come.
const PAUSE_MAX_MS: u64 = 4_000;

/// A node as clients reach it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) node: NodeId,
    pub(super) chat: Arc<Chat>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The nodes that can be reached, by place.
pub(super) type Doors = Arc<Mutex<BTreeMap<usize, Door>>>;
/// Where each room's log ends, once nothing more is sent.
pub(super) type Heads = HashMap<RoomId, u64>;

/// What a client was told.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) acked: Vec<(RoomId, Key, u64)>,
    pub(super) seen: HashMap<RoomId, BTreeMap<u64, Key>>,
    pub(super) cursors: BTreeMap<RoomId, u64>,
}

/// A client.
pub(super) struct Client {
    pub(super) number: u16,
    pub(super) caller: Caller,
    pub(super) doors: Doors,
    pub(super) random: SmallRng,
    pub(super) known: Known,
    /// Sends that are not answered yet, each room's in their order.
    pub(super) open: BTreeMap<RoomId, Vec<Key>>,
    pub(super) left: u32,
    pub(super) made: u64,
    /// When it next has something to say.
    pub(super) next: Instant,
    /// Clients that have something unanswered, or left to send.
    pub(super) busy: Arc<AtomicUsize>,
    pub(super) is_idle: bool,
    /// What all clients do, when it is printed.
    pub(super) trace: Option<Trace>,
}

/// Prints what happens, with the time.
pub(super) type Trace = Arc<dyn Fn(String) + Send + Sync>;

/// What a frame says, as this simulation's clients read it.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Posted { id: u64, seq: u64 },
    Subscribed { id: u64, refused: Vec<RoomId> },
    Refused { id: u64 },
    Event { room: RoomId, seq: u64, key: Key },
    Gap { room: RoomId, to: u64 },
}

/// The frames of this simulation.
pub(super) struct Postcards;

impl Frames for Postcards {
    fn encode(&self, _: Dialect, output: &Output<'_>) -> Option<Bytes> {
        let told = match output {
            Output::Ok { id, answer: Answer::Posted(posted) } => {
                Told::Posted { id: *id, seq: posted.seq.0 }
            }
            Output::Ok { id, answer: Answer::Subscribed(rooms) } => {
                let refused = rooms.iter().filter(|(_, told)| told.is_err());
                Told::Subscribed { id: *id, refused: refused.map(|(room, _)| *room).collect() }
            }
            Output::Error { id, .. } => Told::Refused { id: id.unwrap_or(0) },
            Output::Event { room, event, .. } => {
                Told::Event { room: *room, seq: event.seq.0, key: event.key }
            }
            Output::Gap { room, to, .. } => Told::Gap { room: *room, to: to.0 },
            _ => return None,
        };
        Some(postcard::to_allocvec(&told).expect("it encodes").into())
    }
}

/// One connection.
struct Talk {
    session: SessionHandle,
    outbox: Arc<Outbox>,
    id: u64,
    /// Requests: sends with their keys, subscribes without.
    asked: HashMap<u64, Option<(RoomId, Key)>>,
    heard: Instant,
}

impl Talk {
    fn ask(&mut self, command: Command, what: Option<(RoomId, Key)>) {
        self.id += 1;
        self.asked.insert(self.id, what);
        self.session.submit(Request { id: Some(self.id), command });
    }
}

impl Client {
    /// Sends all it has to send, and then listens until it saw everything up to `heads`.
    pub(super) async fn live(
        mut self,
        heads: watch::Receiver<Option<Heads>>,
    ) -> Result<Known, String> {
        loop {
            let door = {
                let doors = self.doors.lock();
                let at = self.random.random_range(0..doors.len().max(1));
                doors.values().nth(at).cloned()
            };
            if let Some(door) = door
                && !*door.stopped.borrow()
                && let Ok(open) =
                    door.chat.open_session(self.caller.clone(), Dialect::V1, Some(0), None)
            {
                let (session, outbox) = (open.session, open.outbox);
                let heard = Instant::now();
                let talk = Talk { session, outbox, id: 0, asked: HashMap::new(), heard };
                self.trace(|| format!("a new session on node {}", door.node));
                if self.talk(&door, talk, &heads).await? {
                    return Ok(self.known);
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace(format!("client {}: {}", self.number, what()));
        }
    }

    fn is_done(&mut self, heads: &watch::Receiver<Option<Heads>>) -> bool {
        if !self.is_idle && self.left == 0 && self.open.values().all(Vec::is_empty) {
            self.is_idle = true;
            self.busy.fetch_sub(1, Ordering::AcqRel);
        }
        let heads = heads.borrow();
        let Some(heads) = &*heads else { return false };
        self.is_idle && self.known.cursors.iter().all(|(room, cursor)| cursor >= &heads[room])
    }

    /// One session, until it ends, the client leaves it, or everything is done.
    async fn talk(
        &mut self,
        door: &Door,
        mut talk: Talk,
        heads: &watch::Receiver<Option<Heads>>,
    ) -> Result<bool, String> {
        let mut stopped = door.stopped.clone();
        let mut unfollowed: Vec<RoomId> = self.known.cursors.keys().copied().collect();
        let mut frames = Vec::new();
        loop {
            if self.is_done(heads) {
                return Ok(true);
            }
            if *stopped.borrow() {
                // It hears nothing, and after a while goes elsewhere.
                let patience = Duration::from_millis(self.random.random_range(500..8_000));
                let resumed = timeout(patience, stopped.wait_for(|stopped| !stopped)).await;
                if !matches!(resumed, Ok(Ok(_))) {
                    return Ok(false);
                }
            }
            self.follow(&mut talk, &mut unfollowed);
            self.send(&mut talk);
            let read = timeout(Duration::from_millis(200), talk.outbox.recv(&mut frames)).await;
            if *stopped.borrow() {
                // What was read now was not sent yet.
                frames.clear();
                return Ok(false);
            }
            let mut refused = false;
            for frame in std::mem::take(&mut frames) {
                talk.heard = Instant::now();
                match postcard::from_bytes(&frame).expect("a frame of this simulation") {
                    Told::Event { room, seq, key } => self.saw(room, seq, key)?,
                    Told::Gap { room, to } => {
                        if !self.fill(&door.chat, room, to).await {
                            return Ok(false);
                        }
                    }
                    Told::Posted { id, seq } => {
                        if let Some(Some((room, key))) = talk.asked.remove(&id) {
                            self.acked(room, key, seq);
                        }
                    }
                    Told::Refused { id } => {
                        self.trace(|| format!("request {id} is refused"));
                        refused |= talk.asked.remove(&id).is_some();
                    }
                    Told::Subscribed { id, refused } => {
                        talk.asked.remove(&id);
                        unfollowed.extend(refused);
                    }
                }
            }
            let ended = matches!(read, Ok(Some(_)));
            let too_long = !talk.asked.is_empty() && talk.heard.elapsed() > PATIENCE;
            if ended || too_long || self.random.random_range(0..60) == 0 {
                self.trace(|| format!("leaves: ended {ended}, too long {too_long}"));
                return Ok(false);
            }
            if refused || !unfollowed.is_empty() {
                sleep(Duration::from_millis(self.random.random_range(20..300))).await;
            }
        }
    }

    fn follow(&mut self, talk: &mut Talk, unfollowed: &mut Vec<RoomId>) {
        if unfollowed.is_empty() {
            return;
        }
        let at = |room: RoomId| {
            let seq = Seq(self.known.cursors[&room]);
            (room, Some(Cursor { r#gen: Gen(1), seq }))
        };
        let rooms = unfollowed.drain(..).map(at).collect();
        talk.ask(Command::Subscribe(rooms), None);
    }

    /// Where all of a room's sends are answered: repeats the refused ones, or goes on with new ones.
    fn send(&mut self, talk: &mut Talk) {
        for (room, open) in &mut self.open {
            if talk.asked.values().flatten().any(|(of, _)| of == room) {
                continue;
            }
            let says = Instant::now() >= self.next;
            if says {
                self.next += Duration::from_millis(self.random.random_range(0..PAUSE_MAX_MS));
            }
            while says && open.len() < OPEN_MAX && self.left > 0 {
                self.left -= 1;
                self.made += 1;
                open.push(key(self.number, self.made));
            }
            for key in open.iter() {
                let times = if self.random.random_range(0..8) == 0 { 2 } else { 1 };
                for _ in 0..times {
                    let body = "hello".into();
                    let change = Change::Send { body, reply_to: None, thread: None, enc: false };
                    talk.ask(Command::Post { room: *room, key: *key, change }, Some((*room, *key)));
                }
                if let Some(trace) = &self.trace {
                    trace(format!("client {}: sends {key} to {room}", self.number));
                }
            }
        }
    }

    fn acked(&mut self, room: RoomId, key: Key, seq: u64) {
        self.trace(|| format!("{key} is acked at {seq}"));
        self.known.acked.push((room, key, seq));
        let open = self.open.get_mut(&room).expect("it sent there");
        open.retain(|other| *other != key);
    }

    fn saw(&mut self, room: RoomId, seq: u64, key: Key) -> Result<(), String> {
        self.trace(|| format!("sees {seq} of {room}"));
        let cursor = self.known.cursors.get_mut(&room).expect("its room");
        if seq != *cursor + 1 {
            return Err(format!("client {} saw {seq} of {room} after {cursor}", self.number));
        }
        *cursor = seq;
        self.known.seen.entry(room).or_default().insert(seq, key);
        Ok(())
    }

    /// Fills a gap from history with the log view.
    async fn fill(&mut self, chat: &Chat, room: RoomId, to: u64) -> bool {
        for _ in 0..20 {
            let cursor = self.known.cursors[&room];
            if cursor >= to {
                return true;
            }
            let range = Range::After(Seq(cursor));
            let page = chat.history(&self.caller, room, range, 200, View::Log).await;
            if let Some(Entries::Log(events)) = page.ok().map(|(_, page)| page.entries) {
                for event in events {
                    if event.seq.0 == self.known.cursors[&room] + 1 && event.seq.0 <= to {
                        self.known.cursors.insert(room, event.seq.0);
                        let seen = self.known.seen.entry(room).or_default();
                        seen.insert(event.seq.0, event.key);
                    }
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

/// A client's keys grow in the order of its sends.
pub(super) fn key(client: u16, made: u64) -> Key {
    let high = (made << 16) | 0x7000 | u64::from(client);
    Key(Uuid::from_u64_pair(high, 0x8000_0000_0000_0000 | u64::from(client)))
}
