//! The promises' checker: takes what every client sent, was answered and received, and the log
//! that the server holds in the end, and names every place where they disagree about a promise (README).
//! Pure: it reads nothing by itself, so that every kind of violation can be shown to it in a test.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};

use parlance_protocol::{Event, Kind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod violation;

pub use violation::Violation;

/// A body in eight bytes: the same function for what was sent, received and read.
#[must_use]
pub fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// How a send ended for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Acknowledged at this seq.
    Acked(u64),
    /// Refused for good: it must not be in the log.
    Refused,
    /// No answer, or one that leaves it open: it may be in the log, at most once.
    Open,
}

/// One message that a client sent, however often it was repeated.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sent {
    /// The room.
    pub room: Uuid,
    /// The sender's account.
    pub sender: Uuid,
    /// The idempotency key.
    pub key: Uuid,
    /// The body's [`digest`].
    pub body: u64,
    /// How it ended.
    pub fate: Fate,
    /// Its place among those of this sender's messages in this room that were each begun after the
    /// one before had its ack. `None` when it was sent beside others.
    pub order: Option<u64>,
}

/// One event as a client received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Its place.
    pub seq: u64,
    /// Its key.
    pub key: Uuid,
    /// Its sender.
    pub sender: Uuid,
    /// The body's [`digest`]; `None` where it has none.
    pub body: Option<u64>,
}

/// What one client received of one room over all of its sockets, in the order in which it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stream {
    /// A name for the client.
    pub client: String,
    /// The room.
    pub room: Uuid,
    /// The cursor with which the client began: the first event must be the one after it. `None`
    /// when it began at whatever was the head.
    pub after: Option<u64>,
    /// The client waited for the end: the last event must be the head.
    pub complete: bool,
    /// The events.
    pub received: Vec<Received>,
}

/// One entry of a room's log as the server holds it in the end.
#[derive(Debug, Clone, Copy)]
pub struct Logged {
    /// What was received of it.
    pub entry: Received,
    /// Its kind.
    pub kind: Kind,
    /// The message that it is about.
    pub target: Option<u64>,
}

impl From<&Event<'_>> for Received {
    fn from(event: &Event<'_>) -> Self {
        Self {
            seq: event.seq,
            key: event.key,
            sender: event.sender.id,
            body: event.body.as_ref().map(|body| digest(body.as_bytes())),
        }
    }
}

impl From<&Event<'_>> for Logged {
    fn from(event: &Event<'_>) -> Self {
        Self { entry: event.into(), kind: event.kind, target: event.target }
    }
}

/// Everything about one run.
#[derive(Debug, Default)]
pub struct Run {
    /// What was sent.
    pub sent: Vec<Sent>,
    /// What was received.
    pub streams: Vec<Stream>,
    /// Each room's whole log, from its first entry.
    pub logs: BTreeMap<Uuid, Vec<Logged>>,
    /// Nobody else wrote messages to these rooms: one that is not in `sent` is a violation.
    pub exclusive: bool,
}

/// What was looked at, so that a clean result says of how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Rooms.
    pub rooms: usize,
    /// Entries of logs.
    pub logged: usize,
    /// Sent messages.
    pub sent: usize,
    /// Of these, acknowledged ones.
    pub acked: usize,
    /// Received events.
    pub received: usize,
}

/// At most this many violations are kept: one defect often shows in every event.
pub const VIOLATIONS_MAX: usize = 100;

impl Run {
    /// Everything that breaks a promise, and what was looked at.
    #[must_use]
    pub fn check(&self) -> (Looked, Vec<Violation>) {
        let mut found = Vec::new();
        let rooms: BTreeMap<Uuid, Room> = self
            .logs
            .iter()
            .map(|(room, log)| (*room, Room::read(*room, log, &mut found)))
            .collect();
        self.check_sent(&rooms, &mut found);
        for stream in &self.streams {
            check_stream(stream, rooms.get(&stream.room), &mut found);
        }
        if self.exclusive {
            self.check_strangers(&mut found);
        }
        found.truncate(VIOLATIONS_MAX);
        (self.looked(), found)
    }

    fn looked(&self) -> Looked {
        Looked {
            rooms: self.logs.len(),
            logged: self.logs.values().map(Vec::len).sum(),
            sent: self.sent.len(),
            acked: self.sent.iter().filter(|s| matches!(s.fate, Fate::Acked(_))).count(),
            received: self.streams.iter().map(|s| s.received.len()).sum(),
        }
    }

    fn check_sent(&self, rooms: &BTreeMap<Uuid, Room>, found: &mut Vec<Violation>) {
        let mut orders: BTreeMap<(Uuid, Uuid), Vec<(u64, u64)>> = BTreeMap::new();
        for sent in &self.sent {
            let Sent { room, sender, key, fate, .. } = *sent;
            let logged = rooms.get(&room).and_then(|log| log.by_key.get(&(sender, key)));
            match (fate, logged) {
                (Fate::Acked(acked), None) => {
                    found.push(Violation::Lost { room, sender, key, acked });
                }
                (Fate::Acked(acked), Some(logged)) if logged.entry.seq != acked => {
                    let logged = logged.entry.seq;
                    found.push(Violation::AckDisagrees { room, key, acked, logged });
                }
                (Fate::Refused, Some(logged)) => {
                    found.push(Violation::RefusedButDone { room, key, seq: logged.entry.seq });
                }
                _ => {}
            }
            let Some(logged) = logged else { continue };
            if logged.entry.body.is_some_and(|body| body != sent.body) {
                found.push(Violation::BodyChanged { room, key, seq: logged.entry.seq });
            }
            if let Some(order) = sent.order {
                orders.entry((room, sender)).or_default().push((order, logged.entry.seq));
            }
        }
        for ((room, sender), mut order) in orders {
            order.sort_unstable();
            for pair in order.windows(2) {
                if pair[0].1 >= pair[1].1 {
                    let (earlier, later) = (pair[0].1, pair[1].1);
                    found.push(Violation::OutOfOrder { room, sender, earlier, later });
                }
            }
        }
    }

    fn check_strangers(&self, found: &mut Vec<Violation>) {
        let known: HashSet<(Uuid, Uuid, Uuid)> =
            self.sent.iter().map(|sent| (sent.room, sent.sender, sent.key)).collect();
        for (room, log) in &self.logs {
            for logged in log.iter().filter(|logged| logged.kind == Kind::Message) {
                let Received { seq, key, sender, .. } = logged.entry;
                if !known.contains(&(*room, sender, key)) {
                    found.push(Violation::NeverSent { room: *room, seq, key });
                }
            }
        }
    }
}

/// A room's log, ready to be compared with.
struct Room {
    by_seq: HashMap<u64, Logged>,
    by_key: HashMap<(Uuid, Uuid), Logged>,
    deleted: HashSet<u64>,
    head: u64,
}

impl Room {
    fn read(room: Uuid, log: &[Logged], found: &mut Vec<Violation>) -> Self {
        let mut read = Self {
            by_seq: HashMap::with_capacity(log.len()),
            by_key: HashMap::with_capacity(log.len()),
            deleted: HashSet::new(),
            head: 0,
        };
        for logged in log {
            let Received { seq, key, sender, .. } = logged.entry;
            if seq != read.head + 1 {
                found.push(Violation::LogHasAHole { room, after: read.head, next: seq });
            }
            read.head = seq;
            if let Some(first) = read.by_key.insert((sender, key), *logged) {
                let first = first.entry.seq;
                found.push(Violation::Twice { room, sender, key, first, second: seq });
            }
            if let (Kind::Delete, Some(target)) = (logged.kind, logged.target) {
                read.deleted.insert(target);
            }
            read.by_seq.insert(seq, *logged);
        }
        read
    }

    /// Whether the body at this place may be absent although somebody saw it.
    fn is_blanked(&self, logged: &Logged) -> bool {
        let about = match logged.kind {
            Kind::Edit => logged.target,
            _ => Some(logged.entry.seq),
        };
        about.is_some_and(|seq| self.deleted.contains(&seq))
    }
}

fn check_stream(stream: &Stream, log: Option<&Room>, found: &mut Vec<Violation>) {
    let room = stream.room;
    let client = || stream.client.clone();
    let mut last = stream.after;
    for received in &stream.received {
        let seq = received.seq;
        match last {
            Some(last) if seq <= last => {
                found.push(Violation::Repeated { client: client(), room, last, seq });
            }
            Some(last) if seq != last + 1 => {
                found.push(Violation::Skipped { client: client(), room, last, seq });
            }
            _ => {}
        }
        last = Some(seq);
        let Some((log, logged)) = log.and_then(|log| Some((log, log.by_seq.get(&seq)?))) else {
            let key = received.key;
            found.push(Violation::NotCommitted { client: client(), room, seq, key });
            continue;
        };
        let entry = logged.entry;
        let blanked = (entry.body.is_none() || received.body.is_none()) && log.is_blanked(logged);
        let same = entry.key == received.key
            && entry.sender == received.sender
            && (entry.body == received.body || blanked);
        if !same {
            let (saw, logged) = (received.key, entry.key);
            found.push(Violation::Different { client: client(), room, seq, saw, logged });
        }
    }
    let head = log.map_or(0, |log| log.head);
    if stream.complete && last.unwrap_or(head) < head {
        let last = last.unwrap_or_default();
        found.push(Violation::Unfinished { client: client(), room, last, head });
    }
}

#[cfg(test)]
mod tests;
