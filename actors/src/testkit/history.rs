//! History in memory, with faults. One [`MemoryHistory`] is one process; several can share the
//! committed log as they would share a database. It keeps the promises of the real ones (fence,
//! group commit, dedupe, rows of membership) and nothing else: no files, no encryption.

mod database;
mod lane;
mod port;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub use self::database::Broken;
pub(super) use self::database::{Database, Log};
use self::lane::{Process, Queue};
use crate::ports::history::HistoryError;
use crate::vocab::{Epoch, Event, Key, RoomMeta, RoomRef, Seq, ShardId, Turn, UserId};

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
        let lane = tokio::spawn(lane::run(database.clone(), process.clone()));
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
}

impl Drop for MemoryHistory {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.lock().take() {
            lane.abort();
        }
    }
}

#[cfg(test)]
mod tests;
