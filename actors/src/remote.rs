//! Rooms on other nodes: requests that go to their owners, events that come back, and who follows
//! what from where. Each node keeps, for the rooms that it owns, which nodes follow them, and never
//! which sessions or members: a room costs its owner one envelope a node.
//!
//! It decides nothing about rooms and nothing about who owns them: that is the room's and the
//! directory's.

mod continuity;
mod followers;
mod held;
mod inbox;
mod mend;
mod pending;
mod waiter;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::continuity::{Route, follow_shards};
use self::followers::FollowerNodes;
pub(crate) use self::held::Held;
pub(crate) use self::inbox::WorldInbox;
use self::mend::Mending;
use self::pending::Pending;
pub(crate) use self::waiter::PeerWaiter;
use self::waiter::Stalled;
use crate::limits;
use crate::ports::peers::{Channel, NotSent, Peers};
use crate::room::actor::{RoomMsg, refuse};
use crate::vocab::{Epoch, Event, Gen, NodeId, Refusal, RoomMeta, RoomRef, Seq, SessionId, UserId};
use crate::wire::{Envelope, WireEvent};

/// This node's side of its links.
pub(crate) struct Remote {
    peers: Arc<dyn Peers>,
    pending: Pending,
    followers: FollowerNodes,
    stalled: Stalled,
    mending: Mending,
    /// Rooms that are followed here and whose following must be established, or again.
    wanted: Mutex<HashSet<RoomRef>>,
    /// Rooms whose owner was told that this node follows them, and has not answered yet, with when
    /// it was told. Without an answer it is told again.
    told: Mutex<HashMap<RoomRef, Instant>>,
    stirred: Notify,
    /// Grows with everything that this node says of following.
    follow_number: AtomicU64,
    /// Short tasks: reads for followers that missed something, barriers.
    tasks: Mutex<JoinSet<()>>,
    /// Envelopes to nodes that follow. Kept, because to look a counter up costs more than to count.
    envelopes: Counter,
}

/// What the requester of a room that moved is told. Its session keeps the order of its sends.
pub(crate) fn moved() -> Refusal {
    Refusal::unavailable("the room has no owner here now; repeat with the same key")
        .retry_after(limits::MOVED_RETRY)
}

/// What the requester of a room is told whose node ended or cannot be reached: soon again, because
/// then the request waits here for the next owner.
pub(crate) fn cut_off(why: &'static str) -> Refusal {
    Refusal::unavailable(why).retry_after(limits::MOVED_RETRY)
}

impl Remote {
    pub(crate) fn new(peers: Arc<dyn Peers>) -> Arc<Self> {
        Arc::new(Self {
            peers,
            pending: Pending::default(),
            followers: FollowerNodes::default(),
            stalled: Stalled::new(),
            mending: Mending::default(),
            wanted: Mutex::default(),
            told: Mutex::default(),
            stirred: Notify::new(),
            follow_number: AtomicU64::new(1),
            tasks: Mutex::default(),
            envelopes: metrics::counter!("parlance_envelopes_total"),
        })
    }

    pub(crate) fn peers(&self) -> &Arc<dyn Peers> {
        &self.peers
    }

    /// Whether a request for a room would get on its way to its owner now.
    fn reaches(&self, owner: NodeId, at: RoomRef) -> bool {
        self.peers.reaches(owner, Channel::of_room(at))
    }

    fn send(&self, to: NodeId, channel: Channel, envelope: &Envelope) -> Result<(), NotSent> {
        self.peers.send(to, channel, envelope.encode())
    }

    /// Sends a request to its room's owner. What cannot be sent is refused here.
    pub(crate) fn ask(&self, owner: NodeId, meta: &Arc<RoomMeta>, message: RoomMsg, follow: bool) {
        let at = meta.at();
        let channel = Channel::of_room(at);
        // Looked at first: an interruption from here on may refuse an earlier send of the session,
        // and this one must not go before that is repeated.
        let round = self.peers.round(owner, channel);
        if let RoomMsg::Post(post) = &message
            && let Some(refusal) = post.waiter.stalled(post.key, &post.change)
        {
            return refuse(message, &refusal);
        }
        let number = follow.then(|| self.next_follow_number());
        let Some((id, envelope)) = self.pending.enter(owner, channel, meta, message, number) else {
            return;
        };
        if let Err(error) = self.peers.send_in(round, owner, channel, envelope.encode()) {
            // Entered before it was sent, so that no answer can come too early.
            let refusal = match error {
                NotSent::NoWay => cut_off("the room's node cannot be reached now"),
                NotSent::Interrupted => moved(),
                NotSent::TooLarge => Refusal::internal(),
            };
            self.pending.refuse(id, &refusal);
        }
    }

    fn next_follow_number(&self) -> u64 {
        self.follow_number.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Tells the nodes that follow a room of a committed event: one envelope each, encoded once.
    pub(crate) fn publish(&self, at: RoomRef, r#gen: Gen, event: &Arc<Event>) {
        let nodes = self.followers.of(at);
        if nodes.is_empty() {
            return;
        }
        let envelope = Envelope::Event { room: at, r#gen, event: WireEvent::from(&**event) };
        self.send_to_all(&nodes, at, envelope.encode());
    }

    /// Tells the nodes that follow a room where it stands: it opened here.
    pub(crate) fn opened(&self, at: RoomRef, epoch: Epoch, r#gen: Gen, head: Seq) {
        let nodes = self.followers.of(at);
        if !nodes.is_empty() {
            let envelope = Envelope::Head { room: at, epoch, r#gen, head };
            self.send_to_all(&nodes, at, envelope.encode());
        }
    }

    fn send_to_all(&self, nodes: &[NodeId], at: RoomRef, frame: Bytes) {
        self.envelopes.increment(nodes.len() as u64);
        for node in nodes {
            // A node that does not get it hears of an interruption, and follows again.
            let _ = self.peers.send(*node, Channel::of_room(at), frame.clone());
        }
    }

    /// Whether other nodes follow the room, as far as they said.
    pub(crate) fn is_followed(&self, at: RoomRef) -> bool {
        !self.followers.of(at).is_empty()
    }

    /// Whether other nodes follow the room; asks them, so that those that do not any more say so.
    pub(crate) fn ask_followers(&self, at: RoomRef) -> bool {
        let nodes = self.followers.of(at);
        if !nodes.is_empty() {
            self.send_to_all(&nodes, at, Envelope::StillFollowing { room: at }.encode());
        }
        !nodes.is_empty()
    }

    /// Has the following of a room established again: its owner changed, ended, or a way to it was
    /// interrupted.
    pub(crate) fn want(&self, at: RoomRef) {
        self.wanted.lock().insert(at);
        self.stirred.notify_one();
    }

    /// The room's owner answered whether it is followed.
    fn answered(&self, at: RoomRef) {
        self.told.lock().remove(&at);
    }

    /// Follows again what was not answered in time.
    fn follow_unanswered(&self) {
        let mut told = self.told.lock();
        let late = |since: &Instant| since.elapsed() >= limits::FOLLOW_ANSWER_WAIT;
        let again: Vec<RoomRef> =
            told.iter().filter(|(_, since)| late(since)).map(|(at, _)| *at).collect();
        for at in again {
            told.remove(&at);
            self.want_later(at);
        }
    }

    /// As [`want`](Self::want), and not at once: the owner could not do it now.
    pub(crate) fn want_later(&self, at: RoomRef) {
        self.wanted.lock().insert(at);
    }

    /// Shows other nodes' followers of a room that somebody here types.
    pub(crate) fn typing(
        &self,
        owner: Option<NodeId>,
        at: RoomRef,
        session: SessionId,
        user: UserId,
        username: &str,
    ) {
        let to = match owner {
            Some(owner) => vec![owner],
            None => self.followers.of(at),
        };
        if to.is_empty() {
            return;
        }
        let typing = Envelope::Typing { room: at, session, user, username: username.to_owned() };
        self.whisper(&to, at, &typing);
    }

    fn whisper(&self, to: &[NodeId], at: RoomRef, envelope: &Envelope) {
        let frame = envelope.encode();
        for node in to {
            self.peers.whisper(*node, Channel::of_room(at), frame.clone());
        }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(crate) fn stop(&self) {
        self.tasks.lock().abort_all();
    }
}
