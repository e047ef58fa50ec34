//! History in memory, with faults. One [`MemoryHistory`] is one process; several can share the
//! committed log as they would share a database. It keeps the promises of the real ones (fence,
//! group commit, dedupe, rows of membership) and nothing else: no files, no encryption.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::limits;
use crate::ports::history::{
    Append, AppendSink, DatabaseId, History, HistoryError, LogPage, NotTaken, NotTakenWhy, Opened,
    Outcome, Range, Settled, TimelinePage,
};
use crate::room::fold::pinned;
use crate::vocab::event::Kind;
use crate::vocab::{
    Content, Draft, Epoch, Event, Key, MemberChange, Role, RoomId, RoomMeta, RoomRef, Seq, ShardId,
    TenantId, Timestamp, Turn, UserId,
};

/// A row of membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemberRow {
    pub(super) role: Role,
    pub(super) joined_at: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) events: Vec<Event>,
    keys: HashMap<(UserId, Key), Seq>,
    pub(super) members: BTreeMap<UserId, MemberRow>,
    /// When the message first mentioned the user.
    pub(super) mentions: BTreeMap<(UserId, Seq), Timestamp>,
}

/// What survives every crash.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) rooms: HashMap<RoomRef, Log>,
    fences: HashMap<ShardId, (Epoch, Turn)>,
    pub(super) usernames: HashMap<UserId, Arc<str>>,
    pub(super) marks: HashMap<(TenantId, UserId, RoomId), Seq>,
    pub(super) revisions: HashMap<(TenantId, UserId), u64>,
    projected: BTreeMap<RoomRef, RoomMeta>,
    id: DatabaseId,
    batches: Vec<Vec<(RoomRef, Seq)>>,
    /// The epoch of each event, as every row has it.
    epochs: HashMap<RoomRef, Vec<Epoch>>,
    broken: Option<Broken>,
}

/// A build that keeps a promise no longer, to show that a test notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Appends are committed under whatever epoch.
    NoFence,
    /// An owner that is fenced goes on, and answers as if it had committed.
    AcksWhenFenced,
    /// A repeated key is added again.
    NoDedupe,
}

enum Request {
    Append(Box<Append>),
    Open { shard: ShardId, epoch: Epoch, reply: oneshot::Sender<Result<DatabaseId, HistoryError>> },
}

#[derive(Default)]
struct Queue {
    /// The database that `owned` was raised in.
    database: DatabaseId,
    requests: VecDeque<Request>,
    owned: HashMap<ShardId, (Epoch, Turn)>,
    refused: HashSet<Key>,
    failing_opens: u32,
    held: bool,
    away: bool,
    closing: bool,
    /// How long a batch takes; it is committed in the middle.
    slow: Duration,
}

#[derive(Default)]
struct Process {
    queue: Mutex<Queue>,
    changed: Notify,
}

/// History of one process over a log in memory.
pub struct MemoryHistory {
    pub(super) database: Arc<Mutex<Database>>,
    process: Arc<Process>,
    lane: Mutex<Option<JoinHandle<()>>>,
}

impl MemoryHistory {
    /// A process over an empty log. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::over(Arc::default())
    }

    fn over(database: Arc<Mutex<Database>>) -> Arc<Self> {
        let process = Arc::<Process>::default();
        let lane = tokio::spawn(run(database.clone(), process.clone()));
        Arc::new(Self { database, process, lane: Mutex::new(Some(lane)) })
    }

    /// Another process over the same log, while this one lives on.
    #[must_use]
    pub fn another_process(&self) -> Arc<Self> {
        Self::over(self.database.clone())
    }

    /// Ends this process as `kill -9` would: what was not committed is gone and nobody hears of
    /// it. Gives the next process over the same log.
    #[must_use]
    pub fn restart(&self) -> Arc<Self> {
        if let Some(lane) = self.lane.lock().take() {
            lane.abort();
        }
        let mut queue = self.process.queue.lock();
        queue.closing = true;
        let gone = std::mem::take(&mut queue.requests);
        drop(queue);
        drop(gone);
        Self::over(self.database.clone())
    }

    /// Gives an account a name, as the table of users does.
    pub fn add_user(&self, user: UserId, username: &str) {
        self.database.lock().usernames.insert(user, username.into());
    }

    /// Commits nothing until [`Self::release_commits`]; appends are taken and wait.
    pub fn hold_commits(&self) {
        self.change(|queue| queue.held = true);
    }

    /// Commits again.
    pub fn release_commits(&self) {
        self.change(|queue| queue.held = false);
    }

    /// While away, appends are not taken, and opens and reads answer `Unavailable`. What was
    /// accepted before waits and is committed afterwards.
    pub fn set_away(&self, away: bool) {
        self.change(|queue| queue.away = away);
    }

    /// From now on a batch takes so long, and is committed in the middle: a process that ends after
    /// that has not told anybody.
    pub fn slow_down(&self, slow: Duration) {
        self.change(|queue| queue.slow = slow);
    }

    /// Breaks a promise for every process.
    pub fn break_promise(&self, broken: Broken) {
        self.database.lock().broken = Some(broken);
    }

    /// The epochs under which a room's events were committed, in the order of the log.
    #[must_use]
    pub fn epochs(&self, room: RoomRef) -> Vec<Epoch> {
        self.database.lock().epochs.get(&room).cloned().unwrap_or_default()
    }

    /// The next `count` opens answer `Unavailable`.
    pub fn fail_opens(&self, count: u32) {
        self.change(|queue| queue.failing_opens = count);
    }

    /// The draft with this key is answered `Failed`, as a row that the database refuses.
    pub fn refuse_key(&self, key: Key) {
        self.change(|queue| _ = queue.refused.insert(key));
    }

    /// Another owner takes the shard with a higher epoch, without opening a room.
    pub fn take_over(&self, shard: ShardId, epoch: Epoch) {
        self.database.lock().fences.insert(shard, (epoch, Turn(1)));
    }

    /// Fails over to another server with the same history. Rooms that are open hear of it with
    /// their next append, and must be opened again.
    pub fn fail_over(&self) {
        self.database.lock().id.timeline += 1;
    }

    /// Forgets a room's newest events, as a standby does that had not received them. Goes with
    /// [`Self::fail_over`].
    pub fn forget_after(&self, room: RoomRef, head: Seq) {
        if let Some(log) = self.database.lock().rooms.get_mut(&room) {
            log.events.retain(|event| event.seq <= head);
            log.keys.retain(|_, seq| *seq <= head);
            log.mentions.retain(|(_, seq), _| *seq <= head);
        }
    }

    /// Every room that was projected.
    #[must_use]
    pub fn projected_rooms(&self) -> Vec<RoomMeta> {
        self.database.lock().projected.values().cloned().collect()
    }

    /// Forgets every key, as a database whose unique index is gone: a repeat is added again.
    pub fn forget_keys(&self) {
        self.database.lock().rooms.values_mut().for_each(|log| log.keys.clear());
    }

    /// Appends that wait for their commit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.process.queue.lock().requests.len()
    }

    /// The committed log of a room.
    #[must_use]
    pub fn committed(&self, room: RoomRef) -> Vec<Event> {
        self.database.lock().rooms.get(&room).map(|log| log.events.clone()).unwrap_or_default()
    }

    /// What each commit added, in the order of commits.
    #[must_use]
    pub fn batches(&self) -> Vec<Vec<(RoomRef, Seq)>> {
        self.database.lock().batches.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.process.queue.lock());
        self.process.changed.notify_one();
    }

    pub(super) fn present(&self) -> Result<(), HistoryError> {
        if self.process.queue.lock().away {
            return Err(HistoryError::Unavailable("the database is away".to_owned()));
        }
        Ok(())
    }

    fn page(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
        wanted: impl Fn(Kind) -> bool,
    ) -> Result<(Vec<Event>, bool, Seq), HistoryError> {
        self.present()?;
        let database = self.database.lock();
        let Some(log) = database.rooms.get(&room) else { return Ok((Vec::new(), false, Seq(0))) };
        let head = log.head();
        let events = log.events.iter().filter(|event| wanted(event.content.kind()));
        let limit = usize::from(limit);
        let (page, more) = match range {
            Range::After(after) => {
                let mut page: Vec<_> =
                    events.filter(|e| e.seq > after).take(limit + 1).cloned().collect();
                let more = page.len() > limit;
                page.truncate(limit);
                (page, more)
            }
            Range::Before(_) | Range::Latest => {
                let end = if let Range::Before(end) = range { end } else { head.next() };
                let mut page: Vec<_> =
                    events.rev().filter(|e| e.seq < end).take(limit + 1).cloned().collect();
                let more = page.len() > limit;
                page.truncate(limit);
                page.reverse();
                (page, more)
            }
        };
        let page = page.into_iter().map(|event| database.named(event)).collect();
        Ok((page, more, head))
    }
}

impl Drop for MemoryHistory {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.lock().take() {
            lane.abort();
        }
    }
}

impl Database {
    fn named(&self, mut event: Event) -> Event {
        if let Some(name) = self.usernames.get(&event.sender.id) {
            event.sender.username = name.clone();
        }
        event
    }

    /// The accounts that a draft names, of the room or not.
    fn named_in(&self, draft: &Draft) -> Vec<UserId> {
        let names = draft.content.names();
        if names.is_empty() {
            return Vec::new();
        }
        let named = self.usernames.iter().filter(|(_, name)| names.contains(&name.to_lowercase()));
        named.map(|(user, _)| *user).collect()
    }

    /// Raises the shard's fence; the new turn, or `None` when a later owner was here.
    fn raise(&mut self, shard: ShardId, epoch: Epoch) -> Option<Turn> {
        let fence = self.fences.entry(shard).or_insert((epoch, Turn(0)));
        if fence.0 > epoch {
            return None;
        }
        let turn = if fence.0 == epoch { Turn(fence.1.0 + 1) } else { Turn(1) };
        *fence = (epoch, turn);
        Some(turn)
    }
}

impl Log {
    fn head(&self) -> Seq {
        Seq(self.events.len() as u64)
    }

    fn add(&mut self, tenant: TenantId, room: RoomId, draft: Draft, mut named: Vec<UserId>) -> Seq {
        let event = draft.at(self.head().next());
        let in_room =
            |user: &UserId| room == RoomId::lobby(tenant) || self.members.contains_key(user);
        named.retain(|user| *user != event.sender.id && in_room(user));
        self.change_mentions(&event, &named);
        match &event.content {
            Content::Delete { target } => {
                for old in &mut self.events {
                    if old.is_blanked_by_delete_of(*target) {
                        *old = old.blanked();
                    }
                }
            }
            Content::Member { user, change, .. } if room != RoomId::lobby(tenant) => {
                self.change_member(*user, *change, event.sent_at);
            }
            _ => {}
        }
        self.keys.insert((event.sender.id, event.key), event.seq);
        let seq = event.seq;
        self.events.push(event);
        seq
    }

    fn change_mentions(&mut self, event: &Event, named: &[UserId]) {
        let message = match &event.content {
            Content::Message { .. } => event.seq,
            Content::Edit { target, .. } | Content::Delete { target } => *target,
            _ => return,
        };
        self.mentions.retain(|(user, seq), _| *seq != message || named.contains(user));
        for user in named {
            self.mentions.entry((*user, message)).or_insert(event.sent_at);
        }
    }

    fn change_member(&mut self, user: UserId, change: MemberChange, at: Timestamp) {
        let known = self.members.get(&user).map(|row| row.joined_at);
        match change {
            MemberChange::Joined { role } => {
                self.members.insert(user, MemberRow { role, joined_at: at });
            }
            MemberChange::Role { role } => {
                let joined_at = known.unwrap_or(at);
                self.members.insert(user, MemberRow { role, joined_at });
            }
            MemberChange::Left | MemberChange::Kicked => {
                self.members.remove(&user);
            }
        }
    }
}

/// The lane: commits what has gathered, one batch at a time.
async fn run(database: Arc<Mutex<Database>>, process: Arc<Process>) {
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

#[async_trait]
impl History for MemoryHistory {
    fn append(&self, append: Append) -> Result<(), NotTaken> {
        let mut queue = self.process.queue.lock();
        let why = if queue.closing {
            Some(NotTakenWhy::Closing)
        } else if queue.away {
            Some(NotTakenWhy::Away)
        } else if queue.requests.len() >= limits::LANE_QUEUE_MAX {
            Some(NotTakenWhy::Full)
        } else {
            None
        };
        if let Some(why) = why {
            return Err(NotTaken { append: Box::new(append), why });
        }
        queue.requests.push_back(Request::Append(Box::new(append)));
        drop(queue);
        self.process.changed.notify_one();
        Ok(())
    }

    async fn open(
        &self,
        room: RoomRef,
        epoch: Epoch,
        ask: Option<(UserId, Key)>,
    ) -> Result<Opened, HistoryError> {
        self.present()?;
        let (reply, answer) = oneshot::channel();
        self.change(|queue| {
            if !queue.closing {
                let shard = room.shard();
                queue.requests.push_back(Request::Open { shard, epoch, reply });
            }
        });
        let gone = |_| HistoryError::Unavailable("the lane is closing".to_owned());
        let opened_in = answer.await.map_err(gone)??;
        let mut database = self.database.lock();
        if database.id != opened_in {
            let why = "the database changed while the room opened";
            return Err(HistoryError::Unavailable(why.to_owned()));
        }
        let projected = database.projected.get(&room).map_or(0, |meta| meta.version);
        let log = database.rooms.entry(room).or_default();
        Ok(Opened {
            database: opened_in,
            projected,
            head: log.head(),
            first: Seq(1),
            members: log.members.len() as u64,
            asked: ask.and_then(|asked| log.keys.get(&asked).copied()),
        })
    }

    async fn event(&self, room: RoomRef, seq: Seq) -> Result<Option<Event>, HistoryError> {
        let (page, ..) =
            self.page(room, Range::After(Seq(seq.0.saturating_sub(1))), 1, |_| true)?;
        Ok(page.into_iter().find(|event| event.seq == seq))
    }

    async fn key(
        &self,
        room: RoomRef,
        sender: UserId,
        key: Key,
    ) -> Result<Option<(Seq, Timestamp)>, HistoryError> {
        self.present()?;
        let events = self.committed(room);
        let found = events.iter().find(|event| event.sender.id == sender && event.key == key);
        Ok(found.map(|event| (event.seq, event.sent_at)))
    }

    async fn last_message_at(
        &self,
        room: RoomRef,
        sender: UserId,
    ) -> Result<Option<Timestamp>, HistoryError> {
        self.present()?;
        let events = self.committed(room);
        let mine = |e: &&Event| e.sender.id == sender && e.content.kind() == Kind::Message;
        Ok(events.iter().rev().find(mine).map(|event| event.sent_at))
    }

    async fn log(&self, room: RoomRef, range: Range, limit: u16) -> Result<LogPage, HistoryError> {
        let (events, more, as_of) = self.page(room, range, limit, |_| true)?;
        Ok(LogPage { events, more, as_of, first: Seq(1) })
    }

    async fn timeline(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
    ) -> Result<TimelinePage, HistoryError> {
        let timeline = |kind| matches!(kind, Kind::Message | Kind::Member | Kind::Room);
        let (entries, more, as_of) = self.page(room, range, limit, timeline)?;
        let targets: HashSet<Seq> = entries.iter().map(|event| event.seq).collect();
        let is_note = |event: &Event| {
            !timeline(event.content.kind())
                && event.content.target().is_some_and(|target| targets.contains(&target))
        };
        let mut notes: Vec<Event> =
            self.committed(room).into_iter().filter(|event| is_note(event)).collect();
        let surplus = notes.len().saturating_sub(limits::PAGE_NOTES_MAX as usize);
        notes.drain(..surplus);
        let database = self.database.lock();
        let notes = notes.into_iter().map(|event| database.named(event)).collect();
        Ok(TimelinePage { entries, notes, more, as_of, first: Seq(1) })
    }

    async fn pins(&self, room: RoomRef) -> Result<TimelinePage, HistoryError> {
        self.present()?;
        let log = self.committed(room);
        let pins = log.iter().rev().filter(|event| event.content.kind() == Kind::Pin);
        let pinned = pinned(pins.take(limits::PIN_EVENTS_MAX as usize));
        let message = |target: &Seq| {
            let event = log.get(usize::try_from(target.0.checked_sub(1)?).ok()?)?;
            matches!(event.content, Content::Message { .. }).then(|| event.clone())
        };
        let mut entries: Vec<Event> = pinned.iter().filter_map(message).collect();
        let more = entries.len() > limits::PINS_MAX;
        entries.truncate(limits::PINS_MAX);
        let is_note = |event: &&Event| {
            let target = event.content.target();
            let notes = !matches!(event.content.kind(), Kind::Message | Kind::Member | Kind::Room);
            notes && entries.iter().any(|entry| Some(entry.seq) == target)
        };
        let notes: Vec<Event> = log.iter().filter(is_note).cloned().collect();
        let database = self.database.lock();
        let named = |events: Vec<Event>| events.into_iter().map(|e| database.named(e)).collect();
        let as_of = log.last().map_or(Seq(0), |event| event.seq);
        let (entries, notes) = (named(entries), named(notes));
        Ok(TimelinePage { entries, notes, more, as_of, first: Seq(1) })
    }

    async fn project_room(&self, meta: &RoomMeta) -> Result<(), HistoryError> {
        self.present()?;
        let mut database = self.database.lock();
        let stored = database.projected.get(&meta.at()).map_or(0, |known| known.version);
        if meta.version > stored {
            database.projected.insert(meta.at(), meta.clone());
        }
        Ok(())
    }

    async fn healthy(&self) -> Result<(), HistoryError> {
        self.present()
    }

    async fn close(&self) {
        self.change(|queue| queue.closing = true);
        let lane = self.lane.lock().take();
        if let Some(lane) = lane {
            // An aborted lane has nothing left to settle.
            let _ = lane.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::members::Members;
    use crate::testkit::history_room::{TestRoom, draft, keyed, message};
    use crate::testkit::history_suite::{self, Store, new_room};
    use crate::testkit::members_suite;

    struct Memory(Arc<MemoryHistory>);

    #[async_trait]
    impl Store for Memory {
        fn history(&self) -> Arc<dyn History> {
            self.0.clone()
        }
        fn members(&self) -> Arc<dyn Members> {
            self.0.clone()
        }
        async fn add_user(&self, user: UserId, username: &str) {
            self.0.add_user(user, username);
        }
        async fn another_process(&self) -> Box<dyn Store> {
            Box::new(Self(self.0.another_process()))
        }
        async fn projected(&self) -> Vec<RoomMeta> {
            self.0.projected_rooms()
        }
    }

    #[tokio::test]
    async fn memory_keeps_the_contract_of_history() {
        history_suite::all(&Memory(MemoryHistory::new())).await;
    }

    #[tokio::test]
    async fn memory_keeps_the_contract_of_members() {
        members_suite::all(&Memory(MemoryHistory::new())).await;
    }

    #[tokio::test]
    async fn a_restart_keeps_what_was_committed_and_nothing_else() {
        let memory = MemoryHistory::new();
        let history: Arc<dyn History> = memory.clone();
        let user = UserId::generate();
        let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
        room.settle(draft(user, message("kept"))).await;
        memory.hold_commits();
        room.post(draft(user, message("gone"))).expect("taken");
        let next: Arc<dyn History> = memory.restart();
        let again = TestRoom::open(&next, room.at, Epoch(1)).await.expect("opens");
        assert_eq!(again.opened.head, Seq(1));
        assert_eq!(room.heard_so_far().len(), 1);
    }

    #[tokio::test]
    async fn after_a_failover_nothing_is_committed_before_the_room_opens_again() {
        let memory = MemoryHistory::new();
        let history: Arc<dyn History> = memory.clone();
        let user = UserId::generate();
        let at = new_room();
        let mut room = TestRoom::open(&history, at, Epoch(1)).await.expect("opens");
        let kept = draft(user, message("kept"));
        room.settle(kept.clone()).await;
        room.settle(draft(user, message("forgotten"))).await;
        memory.fail_over();
        memory.forget_after(at, Seq(1));
        assert_eq!(room.settle(draft(user, message("early"))).await, Outcome::DatabaseChanged);
        let mut again = TestRoom::open(&history, at, Epoch(1)).await.expect("opens");
        assert_ne!(again.opened.database, room.opened.database);
        assert_eq!(again.opened.head, Seq(1));
        // Its shard is open again, and still a room from before may not go on.
        assert_eq!(room.settle(draft(user, message("late"))).await, Outcome::DatabaseChanged);
        assert!(matches!(again.settle(kept).await, Outcome::Repeated { seq: Seq(1), .. }));
        let next = again.settle(draft(user, message("next"))).await;
        assert_eq!(next, Outcome::Committed { seq: Seq(2) });
    }

    #[tokio::test]
    async fn faults_do_what_they_say() {
        let memory = MemoryHistory::new();
        let history: Arc<dyn History> = memory.clone();
        let user = UserId::generate();
        memory.fail_opens(1);
        assert!(TestRoom::open(&history, new_room(), Epoch(1)).await.is_err());
        let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
        memory.hold_commits();
        let bad = Key::generate();
        memory.refuse_key(bad);
        room.post(draft(user, message("one"))).expect("taken");
        room.post(keyed(user, bad, message("bad"))).expect("taken");
        assert_eq!(memory.waiting(), 2);
        memory.set_away(true);
        let refused = room.post(draft(user, message("away"))).expect_err("not taken");
        assert_eq!(refused.why, NotTakenWhy::Away);
        memory.set_away(false);
        memory.release_commits();
        let outcomes = room.outcomes().await;
        assert_eq!(outcomes[0].1, Outcome::Committed { seq: Seq(1) });
        assert!(matches!(outcomes[1].1, Outcome::Failed { .. }));
        memory.take_over(room.at.shard(), Epoch(9));
        assert_eq!(room.settle(draft(user, message("late"))).await, Outcome::Fenced);
    }
}
