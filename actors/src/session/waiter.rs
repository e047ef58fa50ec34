//! Who waits for an answer. Each gets exactly one: a waiter that is dropped unanswered, because
//! its room crashed or stopped, answers `unavailable` by itself.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::link::{SessionLink, is_send};
use super::words::{Change, Posted};
use crate::remote::PeerWaiter;
use crate::traces::{Traces, Under};
use crate::vocab::{Epoch, Key, Refusal, RoomId, RoomRef, SessionId, UserId};
use crate::world::World;

pub(crate) fn room_stopped() -> Refusal {
    Refusal::unavailable("the room stopped before it answered; repeat with the same key")
}

type Caller<T> = Box<dyn FnOnce(Result<T, Refusal>) + Send + Sync>;

enum Way<T> {
    Channel(oneshot::Sender<Result<T, Refusal>>),
    Call(Caller<T>),
}

/// Waits for one value.
pub(crate) struct Reply<T>(Option<Way<T>>);

impl<T> Reply<T> {
    /// A reply and where it arrives.
    pub(crate) fn channel() -> (Self, oneshot::Receiver<Result<T, Refusal>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Way::Channel(sender))), receiver)
    }

    /// A reply that is called where the answer is made, in the order of answers.
    pub(crate) fn calling(call: impl FnOnce(Result<T, Refusal>) + Send + Sync + 'static) -> Self {
        Self(Some(Way::Call(Box::new(call))))
    }

    pub(crate) fn send(mut self, result: Result<T, Refusal>) {
        self.deliver(result);
    }

    /// Whether anybody still wants to hear it.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(&self.0, Some(Way::Channel(sender)) if sender.is_closed())
    }

    fn deliver(&mut self, result: Result<T, Refusal>) {
        match self.0.take() {
            // Nobody may be listening any more; then nobody misses it.
            Some(Way::Channel(sender)) => drop(sender.send(result)),
            Some(Way::Call(call)) => call(result),
            None => {}
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.deliver(Err(room_stopped()));
    }
}

/// Waits for a change.
pub(crate) enum Waiter {
    /// A call: HTTP.
    Call(Reply<Posted>),
    /// A session's frame.
    Session(SessionWaiter),
    /// Somebody on another node.
    Peer(PeerWaiter),
}

/// A change that is traced, between its request and its answer.
pub(crate) struct Accepting {
    traces: Arc<Traces>,
    under: Under,
    bytes: usize,
}

impl Accepting {
    /// `None` for a change that is not traced.
    pub(crate) fn begin(
        world: &World,
        at: RoomRef,
        sender: UserId,
        key: Key,
        change: &Change,
    ) -> Option<Box<Self>> {
        let traces = world.traces.as_ref()?;
        let under = traces.begin(at, sender, key)?;
        Some(Box::new(Self { traces: traces.clone(), under, bytes: change.weight() }))
    }

    pub(crate) fn answered(&self, result: &Result<Posted, Refusal>) {
        let result = result.as_ref();
        let result = result.map(|posted| (posted.seq, posted.repeated)).map_err(|why| why.code);
        self.traces.accepted(self.under, self.bytes, result);
    }
}

/// A session that waits for a change of its own.
pub(crate) struct SessionWaiter {
    link: Arc<SessionLink>,
    id: Option<u64>,
    room: RoomId,
    key: Key,
    place: u64,
    is_send: bool,
    /// It went to its room's owner, and counts among the session's sends there.
    went: bool,
    answered: bool,
    traced: Option<Box<Accepting>>,
}

impl Waiter {
    /// A session's change, already admitted with its place among the session's changes.
    pub(crate) fn of_session(
        link: Arc<SessionLink>,
        id: Option<u64>,
        room: RoomId,
        (key, place): (Key, u64),
        change: &Change,
        traced: Option<Box<Accepting>>,
    ) -> Self {
        let is_send = is_send(change);
        Self::Session(SessionWaiter {
            link,
            id,
            room,
            key,
            place,
            is_send,
            went: false,
            answered: false,
            traced,
        })
    }

    pub(crate) fn answer(self, result: Result<Posted, Refusal>) {
        match self {
            Self::Call(reply) => reply.send(result),
            Self::Session(mut waiter) => waiter.settle(result),
            Self::Peer(mut waiter) => waiter.settle(result),
        }
    }

    /// Why this change may not go yet: an earlier one of the session was refused in the room.
    pub(crate) fn stalled(&self, key: Key, change: &Change) -> Option<Refusal> {
        match self {
            Self::Session(waiter) if is_send(change) => {
                waiter.link.stalled(waiter.room, key, waiter.place)
            }
            Self::Peer(waiter) => waiter.stalled(),
            _ => None,
        }
    }

    /// Lets a change go to its room's owner of this epoch; the sends of a session stay in order over
    /// a change of owner.
    pub(crate) fn goes(&mut self, epoch: Epoch) -> bool {
        match self {
            Self::Session(waiter) if waiter.is_send => {
                waiter.went = waiter.link.goes(waiter.room, epoch);
                waiter.went
            }
            _ => true,
        }
    }

    /// The session that waits, with the change's place among its changes.
    pub(crate) fn session(&self) -> Option<(SessionId, u64)> {
        match self {
            Self::Session(waiter) => Some((waiter.link.id, waiter.place)),
            Self::Call(_) | Self::Peer(_) => None,
        }
    }
}

impl SessionWaiter {
    fn settle(&mut self, result: Result<Posted, Refusal>) {
        self.answered = true;
        if let Some(traced) = self.traced.take() {
            traced.answered(&result);
        }
        if self.went {
            self.link.came_back(self.room);
        }
        let change = (self.room, self.key, self.place, self.is_send);
        self.link.settle_change(self.id, change, result);
    }
}

impl Drop for SessionWaiter {
    fn drop(&mut self) {
        if !self.answered {
            self.settle(Err(room_stopped()));
        }
    }
}
