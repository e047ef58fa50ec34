//! Requests that wait while nobody takes them: their shard is moving, nobody serves it now, or its
//! owner cannot be reached. In order, for at most [`limits::HELD_MAX`], and bounded; then they are told to come again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::moved;
use crate::limits;
use crate::room::actor::{RoomMsg, refuse};
use crate::vocab::{Refusal, RoomMeta, SHARD_COUNT, ShardId};

struct Waiting {
    meta: Arc<RoomMeta>,
    message: RoomMsg,
    since: Instant,
}

#[derive(Default)]
struct Queue {
    /// There is something in the queue. Checked without its lock.
    some: AtomicBool,
    waiting: Mutex<VecDeque<Waiting>>,
}

/// The requests that wait, by shard.
pub(crate) struct Held {
    shards: Vec<Queue>,
    total: AtomicUsize,
}

impl Held {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARD_COUNT).map(|_| Queue::default()).collect();
        Self { shards, total: AtomicUsize::new(0) }
    }

    /// Puts a request behind those of its shard that wait; gives it back when none does.
    pub(crate) fn join(
        &self,
        shard: ShardId,
        meta: &Arc<RoomMeta>,
        message: RoomMsg,
    ) -> Option<RoomMsg> {
        let queue = &self.shards[usize::from(shard.0)];
        if !queue.some.load(Ordering::Acquire) {
            return Some(message);
        }
        let mut waiting = queue.waiting.lock();
        if waiting.is_empty() {
            return Some(message);
        }
        self.push(queue, &mut waiting, meta, message);
        None
    }

    /// Begins to wait.
    pub(crate) fn begin(&self, shard: ShardId, meta: &Arc<RoomMeta>, message: RoomMsg) {
        let queue = &self.shards[usize::from(shard.0)];
        let mut waiting = queue.waiting.lock();
        self.push(queue, &mut waiting, meta, message);
    }

    fn push(
        &self,
        queue: &Queue,
        waiting: &mut VecDeque<Waiting>,
        meta: &Arc<RoomMeta>,
        message: RoomMsg,
    ) {
        if self.total.load(Ordering::Acquire) >= limits::HELD_REQUESTS_MAX {
            let why = "too many requests wait for rooms that are moving";
            return refuse(message, &Refusal::busy(why));
        }
        self.total.fetch_add(1, Ordering::AcqRel);
        waiting.push_back(Waiting { meta: meta.clone(), message, since: Instant::now() });
        queue.some.store(true, Ordering::Release);
    }

    /// Lets a shard's requests go, in their order, until `go` gives one back. Those that come
    /// meanwhile wait for the lock and go behind them.
    pub(crate) fn release(
        &self,
        shard: ShardId,
        mut go: impl FnMut(&Arc<RoomMeta>, RoomMsg) -> Option<RoomMsg>,
    ) {
        let queue = &self.shards[usize::from(shard.0)];
        if !queue.some.load(Ordering::Acquire) {
            return;
        }
        let mut waiting = queue.waiting.lock();
        while let Some(Waiting { meta, message, since }) = waiting.pop_front() {
            if let Some(message) = go(&meta, message) {
                waiting.push_front(Waiting { meta, message, since });
                return;
            }
            self.total.fetch_sub(1, Ordering::AcqRel);
        }
        queue.some.store(false, Ordering::Release);
    }

    /// Tells those that wait for too long to come again.
    pub(crate) fn expire(&self) {
        for queue in &self.shards {
            if !queue.some.load(Ordering::Acquire) {
                continue;
            }
            let mut waiting = queue.waiting.lock();
            while let Some(first) = waiting.front()
                && first.since.elapsed() >= limits::HELD_MAX
            {
                let first = waiting.pop_front().expect("looked at above");
                self.total.fetch_sub(1, Ordering::AcqRel);
                refuse(first.message, &moved());
            }
            if waiting.is_empty() {
                queue.some.store(false, Ordering::Release);
            }
        }
    }

    /// The shards in which something waits.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        ShardId::all()
            .filter(|shard| self.shards[usize::from(shard.0)].some.load(Ordering::Acquire))
    }
}
