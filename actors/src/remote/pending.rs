//! Requests of this node at other nodes. Each is answered once: by the owner, by an interruption
//! of the way, or by time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use tokio::time::Instant;

use crate::limits;
use crate::ports::peers::{Channel, Malformed};
use crate::room::actor::{RoomMsg, refuse};
use crate::room::state::{Look, Post, Seen};
use crate::session::waiter::{Reply, Waiter};
use crate::vocab::{NodeId, Refusal, RoomMeta, RoomRef};
use crate::wire::{
    Envelope, WireCaller, WireChange, WirePost, WirePosted, WireRefusal, WireSeen, WireSender,
};

/// A look of this node that the room's owner did not answer because it is not its owner any more.
pub(super) struct LookAgain {
    pub(super) meta: Arc<RoomMeta>,
    pub(super) look: Look<Reply<Seen>>,
}

enum Waiting {
    Change(Waiter),
    Look(Arc<RoomMeta>, Look<Reply<Seen>>),
}

impl Waiting {
    fn refuse(self, refusal: &Refusal) {
        match self {
            Self::Change(waiter) => waiter.answer(Err(refusal.clone())),
            Self::Look(_, look) => look.waiter.send(Err(refusal.clone())),
        }
    }
}

struct Request {
    owner: NodeId,
    channel: Channel,
    since: Instant,
    waiting: Waiting,
}

#[derive(Default)]
pub(super) struct Pending {
    requests: DashMap<u64, Request>,
    count: AtomicUsize,
    by_owner: DashMap<NodeId, usize>,
    next: AtomicU64,
}

impl Pending {
    /// Enters a request and gives the envelope to send; `None` when there was nothing to enter.
    pub(super) fn enter(
        &self,
        owner: NodeId,
        channel: Channel,
        meta: &Arc<RoomMeta>,
        message: RoomMsg,
        follow: Option<u64>,
    ) -> Option<(u64, Envelope)> {
        // One node that takes requests and does not answer leaves room for the others.
        let of_owner = self.by_owner.get(&owner).map_or(0, |count| *count);
        if self.count.load(Ordering::Acquire) >= limits::PEER_REQUESTS_MAX
            || of_owner >= limits::PEER_REQUESTS_MAX / 4
        {
            let why = "too many requests wait for other nodes";
            refuse(message, &Refusal::busy(why));
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::AcqRel);
        let (waiting, envelope) = describe(id, meta, message, follow)?;
        self.count.fetch_add(1, Ordering::AcqRel);
        *self.by_owner.entry(owner).or_default() += 1;
        self.requests.insert(id, Request { owner, channel, since: Instant::now(), waiting });
        Some((id, envelope))
    }

    fn take(&self, id: u64) -> Option<Waiting> {
        self.take_if(id, |_| true)
    }

    fn take_if(&self, id: u64, is_it: impl FnOnce(&Request) -> bool) -> Option<Waiting> {
        let (_, request) = self.requests.remove_if(&id, |_, request| is_it(request))?;
        self.count.fetch_sub(1, Ordering::AcqRel);
        if let Some(mut count) = self.by_owner.get_mut(&request.owner) {
            *count -= 1;
        }
        Some(request.waiting)
    }

    pub(super) fn refuse(&self, id: u64, refusal: &Refusal) {
        if let Some(waiting) = self.take(id) {
            waiting.refuse(refusal);
        }
    }

    /// The owner's answer to a change. Of a request that was given up nobody hears it.
    pub(super) fn posted(&self, from: NodeId, id: u64, result: Result<WirePosted, WireRefusal>) {
        if let Some(Waiting::Change(waiter)) = self.take_if(id, |request| request.owner == from) {
            waiter.answer(result.map(Into::into).map_err(Into::into));
        }
    }

    /// The owner's answer to a look; gives it back where the owner is another one.
    pub(super) fn seen(
        &self,
        from: NodeId,
        id: u64,
        result: Result<WireSeen, WireRefusal>,
    ) -> Result<(), Malformed> {
        if let Some(Waiting::Look(_, look)) = self.take_if(id, |request| request.owner == from) {
            look.waiter.send(
                result
                    .map_err(Refusal::from)
                    .and_then(|seen| Seen::try_from(seen).map_err(|_| Refusal::internal())),
            );
        }
        Ok(())
    }

    /// The asked node does not own the room. A change is refused, so that its session keeps its
    /// order; a look is given back, to be sent again.
    pub(super) fn moved(&self, from: NodeId, id: u64) -> Option<LookAgain> {
        match self.take_if(id, |request| request.owner == from)? {
            Waiting::Look(meta, look) if look.waiter.is_awaited() => Some(LookAgain { meta, look }),
            waiting => {
                waiting.refuse(&super::moved());
                None
            }
        }
    }

    /// The way to a node was interrupted: whether these were done is unknown.
    pub(super) fn interrupted(&self, peer: NodeId, channel: Channel) {
        let of_peer = self.requests.iter();
        let of_peer = of_peer.filter(|request| (request.owner, request.channel) == (peer, channel));
        let mut ids: Vec<u64> = of_peer.map(|request| *request.key()).collect();
        // In their order, so that the first one of a session leads those behind it.
        ids.sort_unstable();
        for id in ids {
            self.refuse(id, &super::cut_off("the room's node did not answer"));
        }
    }

    /// Those that the owner did not answer in time. It answers changes itself after
    /// [`limits::COMMIT_WAIT`], so these waited for longer than that.
    pub(super) fn expire(&self) {
        let late = self.requests.iter();
        let late = late.filter(|request| request.since.elapsed() > limits::PEER_ANSWER_WAIT);
        let mut late: Vec<u64> = late.map(|request| *request.key()).collect();
        late.sort_unstable();
        for id in late {
            self.refuse(id, &Refusal::unavailable("the room's node takes too long"));
        }
    }
}

fn describe(
    id: u64,
    meta: &Arc<RoomMeta>,
    message: RoomMsg,
    follow: Option<u64>,
) -> Option<(Waiting, Envelope)> {
    let room: RoomRef = meta.at();
    match message {
        RoomMsg::Post(post) => {
            let Post { caller, key, change, waiter } = *post;
            let session = waiter.session();
            let caller = WireCaller::from(&*caller);
            let change = WireChange::from(&change);
            let post = WirePost { id, room, caller, key, change, session };
            Some((Waiting::Change(waiter), Envelope::Post(Box::new(post))))
        }
        RoomMsg::Look(look) => {
            let caller = WireCaller::from(&*look.caller);
            let cursor = look.cursor.map(Into::into);
            let envelope = Envelope::Look { id, room, caller, cursor, follow };
            Some((Waiting::Look(meta.clone(), *look), envelope))
        }
        RoomMsg::Refresh { meta, by, waiter } => {
            let waiter = waiter?;
            let by = WireSender::from(&by);
            let envelope = Envelope::Refresh { id, room, version: meta.version, by };
            Some((Waiting::Change(waiter), envelope))
        }
        _ => None,
    }
}
