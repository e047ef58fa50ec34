//! At the owner: who waits on another node for an answer, and which of its sessions' sends wait for
//! an earlier one that was refused.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use super::Remote;
use crate::ports::peers::Channel;
use crate::session::{Posted, Stalls};
use crate::vocab::{Key, NodeId, Refusal, RoomRef, SessionId};
use crate::wire::{Envelope, WirePost, WirePosted, WireRefusal};

/// The sends that hold back others, by session of another node.
pub(super) struct Stalled {
    sessions: DashMap<SessionId, Stalls>,
    started: Instant,
}

impl Stalled {
    pub(super) fn new() -> Self {
        Self { sessions: DashMap::new(), started: Instant::now() }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Forgets what holds back nobody any more.
    pub(super) fn sweep(&self) {
        let now = self.now();
        self.sessions.retain(|_, stalls| !stalls.is_over(now));
    }
}

/// Waits on another node for a change. One that is dropped unanswered, because its room crashed or
/// stopped, answers `unavailable` by itself.
pub(crate) struct PeerWaiter {
    remote: Arc<Remote>,
    node: NodeId,
    id: u64,
    at: RoomRef,
    key: Key,
    /// The session and its change's place, for a send: those keep their order.
    session: Option<(SessionId, u64)>,
    answered: bool,
}

impl PeerWaiter {
    pub(super) fn new(remote: &Arc<Remote>, node: NodeId, post: &WirePost) -> Self {
        let session = post.session.filter(|_| post.change.is_send());
        let (remote, id, at, key) = (remote.clone(), post.id, post.room, post.key);
        Self { remote, node, id, at, key, session, answered: false }
    }

    pub(super) fn of_refresh(remote: &Arc<Remote>, node: NodeId, id: u64, at: RoomRef) -> Self {
        let key = Key(uuid::Uuid::nil());
        Self { remote: remote.clone(), node, id, at, key, session: None, answered: false }
    }

    pub(crate) fn stalled(&self) -> Option<Refusal> {
        let (session, place) = self.session?;
        let stalled = &self.remote.stalled;
        let mut stalls = stalled.sessions.get_mut(&session)?;
        stalls.stalled(stalled.now(), self.at.room, self.key, place)
    }

    pub(crate) fn settle(&mut self, result: Result<Posted, Refusal>) {
        self.answered = true;
        if let Some((session, place)) = self.session {
            self.keep_order(session, place, result.as_ref().err());
        }
        let result = match result {
            Ok(posted) => Ok(WirePosted::from(posted)),
            Err(refusal) => Err(WireRefusal::from(&refusal)),
        };
        let envelope = Envelope::Posted { id: self.id, result };
        // A node that does not get it hears of an interruption, and answers its waiter itself.
        let _ = self.remote.send(self.node, Channel::of_room(self.at), &envelope);
    }

    fn keep_order(&self, session: SessionId, place: u64, refusal: Option<&Refusal>) {
        let stalled = &self.remote.stalled;
        match refusal {
            Some(refusal) if refusal.retry_after.is_some() => {
                let mut stalls = stalled.sessions.entry(session).or_default();
                stalls.stall(stalled.now(), self.at.room, (self.key, place), refusal);
            }
            _ => {
                if let Some(mut stalls) = stalled.sessions.get_mut(&session) {
                    stalls.clear(self.at.room, self.key);
                }
            }
        }
    }
}

impl Drop for PeerWaiter {
    fn drop(&mut self) {
        if !self.answered {
            self.settle(Err(crate::session::waiter::room_stopped()));
        }
    }
}
