//! Requests that wait while nobody takes them: their shard is moving, nobody serves it now, or its
//! owner cannot be reached. In order, for at most [`limits::HELD_MAX`], and bounded in number and
//! bytes; then they are told to come again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::moved;
use crate::limits;
use crate::room::actor::{RoomMsg, refuse};
use crate::session::STALL;
use crate::vocab::{Refusal, RoomMeta, SHARD_COUNT, ShardId};

/// Who stood behind a refused send is told to come again before the refusal is forgotten.
const _: () = assert!(limits::HELD_MAX.as_millis() <= STALL.as_millis());

struct Waiting {
    meta: Arc<RoomMeta>,
    message: RoomMsg,
    since: Instant,
}

impl Waiting {
    fn weight(&self) -> usize {
        weight(&self.message)
    }
}

fn weight(message: &RoomMsg) -> usize {
    match message {
        RoomMsg::Post(post) => post.change.weight(),
        _ => 0,
    }
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
    bytes: AtomicUsize,
}

impl Held {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARD_COUNT).map(|_| Queue::default()).collect();
        Self { shards, total: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
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
        let bytes = weight(&message);
        // Two that come at once may go over by one request: the bound is of memory, not of numbers.
        // Clients that come back by the thousand and look at their rooms leave room for sends.
        let most = match &message {
            RoomMsg::Post(_) => limits::HELD_REQUESTS_MAX,
            _ => limits::HELD_REQUESTS_MAX / 2,
        };
        if self.total.load(Ordering::Acquire) >= most
            || self.bytes.load(Ordering::Acquire) + bytes > limits::HELD_BYTES_MAX
        {
            let why = "too many requests wait for rooms that are moving";
            let refusal = Refusal::busy(why).retry_after(limits::UNAVAILABLE_RETRY);
            return refuse(message, &refusal);
        }
        self.total.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        waiting.push_back(Waiting { meta: meta.clone(), message, since: Instant::now() });
        queue.some.store(true, Ordering::Release);
    }

    fn forget(&self, bytes: usize) {
        self.total.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Lets a shard's requests go, in their order, until `go` gives one back. Those that come
    /// meanwhile wait for the lock and go behind them. Those that waited for too long do not go: a
    /// send whose earlier one expired may stand behind it no more, as long as its repeat is held back.
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
        while let Some(first) = waiting.pop_front() {
            let bytes = first.weight();
            if first.since.elapsed() >= limits::HELD_MAX {
                self.forget(bytes);
                refuse(first.message, &moved());
                continue;
            }
            let Waiting { meta, message, since } = first;
            if let Some(message) = go(&meta, message) {
                waiting.push_front(Waiting { meta, message, since });
                return;
            }
            self.forget(bytes);
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
                self.forget(first.weight());
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::room::state::Post;
    use crate::session::waiter::{Reply, Waiter};
    use crate::session::{Caller, Change};
    use crate::vocab::{Key, RoomId, RoomKind, RoomSettings, TenantId, Timestamp, Topic, UserId};

    type Answer = tokio::sync::oneshot::Receiver<Result<crate::session::Posted, Refusal>>;

    fn meta() -> Arc<RoomMeta> {
        let user = UserId(Uuid::from_u128(1));
        Arc::new(RoomMeta {
            tenant: TenantId::MAIN,
            id: RoomId(Uuid::from_u128(77)),
            kind: RoomKind::Public,
            name: None,
            topic: Topic::default(),
            settings: RoomSettings::default(),
            version: 1,
            created_by: user,
            created_at: Timestamp(0),
            key: Key(Uuid::from_u128(2)),
            changed_by: user,
        })
    }

    fn send(bytes: usize) -> (RoomMsg, Answer) {
        let (reply, answer) = Reply::channel();
        let caller = Caller {
            tenant: TenantId::MAIN,
            user: UserId(Uuid::from_u128(1)),
            username: "alice".into(),
            device: None,
            admin: false,
        };
        let body = "x".repeat(bytes).into();
        let change = Change::Send { body, reply_to: None, thread: None, enc: true };
        let (key, waiter) = (Key(Uuid::now_v7()), Waiter::Call(reply));
        let post = Post { caller: Arc::new(caller), key, change, waiter };
        (RoomMsg::Post(Box::new(post)), answer)
    }

    #[test]
    fn requests_that_wait_are_bounded_in_bytes_and_make_room_when_they_go() {
        let (held, meta, shard) = (Held::new(), meta(), ShardId(77));
        let fit = limits::HELD_BYTES_MAX / limits::ENC_BODY_BYTES_MAX;
        let mut answers: Vec<Answer> = Vec::new();
        for _ in 0..fit {
            let (message, answer) = send(limits::ENC_BODY_BYTES_MAX);
            held.begin(shard, &meta, message);
            answers.push(answer);
        }
        let (message, mut refused) = send(1);
        assert!(held.join(shard, &meta, message).is_none(), "it goes behind the others");
        assert!(refused.try_recv().expect("an answer at once").is_err(), "there is no room");
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "the others wait");

        let mut gone = 0;
        held.release(shard, |_, _| {
            gone += 1;
            None
        });
        assert_eq!(gone, fit);
        let (message, mut waits) = send(limits::ENC_BODY_BYTES_MAX);
        held.begin(shard, &meta, message);
        assert!(waits.try_recv().is_err(), "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_for_too_long_does_not_go_although_there_is_a_way_again() {
        let (held, meta, shard) = (Held::new(), meta(), ShardId(77));
        let (old, mut refused) = send(1);
        held.begin(shard, &meta, old);
        tokio::time::advance(limits::HELD_MAX).await;
        let (new, _waits) = send(1);
        assert!(held.join(shard, &meta, new).is_none(), "it goes behind");
        let mut gone = 0;
        held.release(shard, |_, _| {
            gone += 1;
            None
        });
        assert_eq!(gone, 1, "only the one that has just come");
        assert!(refused.try_recv().expect("an answer").is_err(), "it is told to come again");
    }

    #[test]
    fn looks_leave_room_for_sends() {
        let (held, meta, shard) = (Held::new(), meta(), ShardId(77));
        let refresh = || RoomMsg::Refresh {
            meta: meta.clone(),
            by: crate::vocab::Sender { id: UserId(Uuid::from_u128(1)), username: "a".into() },
            waiter: None,
        };
        for _ in 0..limits::HELD_REQUESTS_MAX {
            held.begin(shard, &meta, refresh());
        }
        let (message, mut waits) = send(1);
        held.begin(shard, &meta, message);
        assert!(waits.try_recv().is_err(), "it is not refused");
        let mut gone = 0;
        held.release(shard, |_, _| {
            gone += 1;
            None
        });
        assert_eq!(gone, limits::HELD_REQUESTS_MAX / 2 + 1);
    }
}
