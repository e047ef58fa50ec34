//! The lane of one process: appends and opens wait in a queue, and one task commits what has
//! gathered, a batch at a time, and tells the rooms.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::database::{Broken, Database};
use crate::limits;
use crate::ports::history::{Append, AppendSink, DatabaseId, HistoryError, Outcome, Settled};
use crate::vocab::{Epoch, Key, RoomRef, ShardId, Turn};

pub(super) enum Request {
    Append(Box<Append>),
    Open { shard: ShardId, epoch: Epoch, reply: oneshot::Sender<Result<DatabaseId, HistoryError>> },
}

#[derive(Default)]
pub(super) struct Queue {
    /// The database that `owned` was raised in.
    database: DatabaseId,
    pub(super) requests: VecDeque<Request>,
    owned: HashMap<ShardId, (Epoch, Turn)>,
    pub(super) refused: HashSet<Key>,
    pub(super) failing_opens: u32,
    pub(super) held: bool,
    pub(super) away: bool,
    pub(super) closing: bool,
    /// How long a batch takes; it is committed in the middle.
    pub(super) slow: Duration,
}

#[derive(Default)]
pub(super) struct Process {
    pub(super) queue: Mutex<Queue>,
    pub(super) changed: Notify,
}

/// The lane: commits what has gathered, one batch at a time.
pub(super) async fn run(database: Arc<Mutex<Database>>, process: Arc<Process>) {
    loop {
        let changed = process.changed.notified();
        let (taken, slow) = {
            let mut queue = process.queue.lock();
            let stopped = queue.held || queue.away;
            if queue.closing && (stopped || queue.requests.is_empty()) {
                let rest = std::mem::take(&mut queue.requests);
                drop(queue);
                refuse_all(rest);
                return;
            }
            let taken = if stopped { Vec::new() } else { take_batch(&mut queue.requests) };
            (taken, queue.slow)
        };
        if taken.is_empty() {
            changed.await;
            // Lets what comes at the same moment into the same batch.
            tokio::task::yield_now().await;
            continue;
        }
        if !slow.is_zero() {
            tokio::time::sleep(slow / 2).await;
        }
        let told = settle(&database, &process, taken);
        if !slow.is_zero() {
            tokio::time::sleep(slow / 2).await;
        }
        while !told.is_empty() && process.queue.lock().held {
            process.changed.notified().await;
        }
        tell(told);
        tokio::task::yield_now().await;
    }
}

/// An open by itself, or appends up to the next open.
fn take_batch(requests: &mut VecDeque<Request>) -> Vec<Request> {
    if matches!(requests.front(), Some(Request::Open { .. })) {
        return requests.pop_front().into_iter().collect();
    }
    let appends = requests.iter().take_while(|request| matches!(request, Request::Append(_)));
    let count = appends.count().min(limits::LANE_BATCH_EVENTS_MAX);
    requests.drain(..count).collect()
}

/// Does it; gives whom to tell.
fn settle(database: &Mutex<Database>, process: &Process, taken: Vec<Request>) -> Vec<Told> {
    let mut appends = Vec::new();
    for request in taken {
        match request {
            Request::Append(append) => appends.push(*append),
            Request::Open { shard, epoch, reply } => {
                // The asker may have gone; then nobody needs the answer.
                let _ = reply.send(open(database, process, shard, epoch));
            }
        }
    }
    if appends.is_empty() { Vec::new() } else { commit(database, process, appends) }
}

fn open(
    database: &Mutex<Database>,
    process: &Process,
    shard: ShardId,
    epoch: Epoch,
) -> Result<DatabaseId, HistoryError> {
    let mut queue = process.queue.lock();
    if queue.failing_opens > 0 {
        queue.failing_opens -= 1;
        return Err(HistoryError::Unavailable("told to fail".to_owned()));
    }
    let mut database = database.lock();
    queue.look_at(database.id);
    let stored = database.fences.get(&shard).map(|(stored, _)| *stored);
    let fenced = stored.is_some_and(|stored| stored > epoch);
    if fenced && database.broken == Some(Broken::NoFence) {
        queue.owned.insert(shard, (epoch, Turn(1)));
        return Ok(database.id);
    }
    if fenced {
        return Err(HistoryError::Fenced);
    }
    if queue.owned.get(&shard).is_none_or(|(owned, _)| *owned != epoch) {
        let turn = database.raise(shard, epoch).ok_or(HistoryError::Fenced)?;
        queue.owned.insert(shard, (epoch, turn));
    }
    Ok(database.id)
}

impl Queue {
    /// What was raised in another database counts no more.
    fn look_at(&mut self, database: DatabaseId) {
        if self.database != database {
            self.database = database;
            self.owned.clear();
        }
    }
}

type Told = (RoomRef, Arc<dyn AppendSink>, Settled);

fn commit(database: &Mutex<Database>, process: &Process, appends: Vec<Append>) -> Vec<Told> {
    let mut queue = process.queue.lock();
    let mut database = database.lock();
    queue.look_at(database.id);
    let mut batch = Vec::new();
    let mut told = Vec::new();
    for Append { room, epoch, head, ticket, draft, sink } in appends {
        let shard = room.shard();
        let fence = database.fences.get(&shard).copied();
        let owned = queue.owned.get(&shard).copied().filter(|(owned, _)| *owned == epoch);
        let is_fenced =
            database.broken != Some(Broken::NoFence) && (owned.is_none() || owned != fence);
        let outcome = if is_fenced && database.broken == Some(Broken::AcksWhenFenced) {
            let seq = head.get().next();
            head.set(seq);
            Outcome::Committed { seq }
        } else if head.database() != Some(database.id) {
            Outcome::DatabaseChanged
        } else if is_fenced {
            if owned.is_some() {
                queue.owned.remove(&shard);
            }
            Outcome::Fenced
        } else if queue.refused.contains(&draft.key) {
            Outcome::Failed { why: "the row was refused".to_owned() }
        } else {
            let dedupes = database.broken != Some(Broken::NoDedupe);
            let named = database.named_in(&draft);
            let log = database.rooms.entry(room).or_default();
            let known = log.keys.get(&(draft.sender.id, draft.key)).copied();
            if let Some(seq) = known.filter(|_| dedupes) {
                let first = &log.events[usize::try_from(seq.0 - 1).expect("a log in memory")];
                Outcome::Repeated { seq, sent_at: first.sent_at }
            } else {
                let seq = log.add(room.tenant, room.room, draft.clone(), named);
                head.set(seq);
                batch.push((room, seq));
                database.epochs.entry(room).or_default().push(epoch);
                Outcome::Committed { seq }
            }
        };
        told.push((room, sink, Settled { ticket, draft, outcome, batch: 1 }));
    }
    database.batches.push(batch);
    told
}

fn refuse_all(requests: VecDeque<Request>) {
    let mut told = Vec::new();
    for request in requests {
        if let Request::Append(append) = request {
            let Append { room, ticket, draft, sink, .. } = *append;
            let outcome = Outcome::Failed { why: "the lane is closing".to_owned() };
            told.push((room, sink, Settled { ticket, draft, outcome, batch: 1 }));
        }
    }
    tell(told);
}

/// Tells each room once, in the order in which its appends were queued.
fn tell(told: Vec<Told>) {
    let mut rooms: Vec<(RoomRef, Arc<dyn AppendSink>, Vec<Settled>)> = Vec::new();
    let mut places: HashMap<RoomRef, usize> = HashMap::new();
    for (room, sink, settled) in told {
        let place = *places.entry(room).or_insert_with(|| {
            rooms.push((room, sink, Vec::new()));
            rooms.len() - 1
        });
        rooms[place].2.push(settled);
    }
    for (_, sink, outcomes) in rooms {
        sink.settled(outcomes);
    }
}
