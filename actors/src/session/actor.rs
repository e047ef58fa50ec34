//! The session's actor: subscribes, reads and presence, one request after the other, so that a
//! client's own order holds and it cannot open more than one read at a time. Its mailbox is its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::holds::release;
use super::link::SessionLink;
use super::mailbox::Mailbox;
use super::subscribe::{attach, lost, subscribe};
use super::words::{Answer, Command, Output, PresenceStatus, Request};
use crate::limits;
use crate::room::actor::unavailable;
use crate::vocab::{Code, Refusal, RoomId, RoomRef, Seq, UserId};
use crate::world::{Notice, World};

/// How often a session asks again whether it may still read a room that does not answer now. It
/// ends afterwards, and resumes from its cursors.
const RECHECKS_MAX: u32 = 8;
/// The shortest pause between.
const RECHECK_PAUSE: Duration = Duration::from_millis(500);

/// What a session's actor is told.
pub(crate) enum SessionMsg {
    /// Begin: read the user's revision and say welcome.
    Welcome { id: Option<u64> },
    /// A request, admitted.
    Request(Request),
    /// Follow a room for a client that cannot ask for it; its changes wait behind this.
    Attach(RoomId),
    /// What this node does not know yet of a room is to be asked for, and changes that wait for it sent on.
    Release(RoomId),
    /// A presence shard started anew and knows nobody.
    AnnouncePresence(u8),
    /// What happened in a room could not be shown: it may be lost.
    Recheck { room: RoomId, tries: u32 },
    /// There is room again for these rooms' events.
    Mend(Vec<RoomRef>),
    #[cfg(test)]
    Panic,
}

/// What the session follows. Its end, however it comes, ends that.
pub(crate) struct Session {
    world: Arc<World>,
    link: Arc<SessionLink>,
    follows: HashSet<RoomId>,
    watches: Vec<UserId>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for room in &self.follows {
            self.world.hub.leave(self.at(*room), self.link.id);
        }
        self.world.presence.end(&self.link, &self.watches);
        self.link.holds.end();
        self.world.sessions.remove(&self.link);
        let refusal = Refusal::unavailable("the session ended");
        self.link.close(crate::outbox::CloseCode::GoingAway, refusal);
    }
}

impl Session {
    pub(crate) fn new(world: Arc<World>, link: Arc<SessionLink>) -> Self {
        Self { world, link, follows: HashSet::new(), watches: Vec::new() }
    }

    pub(super) async fn handle(&mut self, myself: &Arc<Mailbox>, message: SessionMsg) {
        match message {
            SessionMsg::Welcome { id } => self.welcome(id).await,
            SessionMsg::Request(Request { id, command }) => self.serve(id, command).await,
            SessionMsg::Attach(room) => {
                Box::pin(self.attach(room)).await;
                Box::pin(release(&self.world, &self.link, room)).await;
            }
            SessionMsg::Release(room) => {
                Box::pin(release(&self.world, &self.link, room)).await;
            }
            SessionMsg::AnnouncePresence(shard) => {
                self.world.presence.announce(&self.link, &self.watches, shard);
            }
            SessionMsg::Recheck { room, tries } => {
                Box::pin(self.recheck(myself, room, tries)).await;
            }
            SessionMsg::Mend(rooms) => {
                rooms.into_iter().for_each(|room| self.world.hub.mend(room, self.link.id));
            }
            #[cfg(test)]
            SessionMsg::Panic => panic!("asked to"),
        }
    }

    fn at(&self, room: RoomId) -> RoomRef {
        RoomRef { tenant: self.link.caller.tenant, room }
    }

    async fn welcome(&self, id: Option<u64>) {
        let caller = &*self.link.caller;
        match self.world.members.revision(caller.tenant, caller.user).await {
            Ok(rev) => {
                let (session, heartbeat) = (self.link.id, limits::HEARTBEAT);
                self.link.welcome(&Output::Welcome { id, session, caller, heartbeat, rev });
                self.world.presence.begin(&self.link);
            }
            Err(error) => {
                self.link.close(crate::outbox::CloseCode::GoingAway, unavailable(&error));
            }
        }
    }

    async fn attach(&mut self, room: RoomId) {
        let attached = attach(&self.world, &self.link, &mut self.follows, room).await;
        let Err(refusal) = attached else { return };
        if refusal.retry_after.is_none() {
            // It has no answer that would say so, and its client would only come back to hear it again.
            self.link.say(&Output::Error { id: None, refusal: &refusal });
        }
        lost(&self.link, refusal);
    }

    /// Ends the feed of a room that its user may not read any more.
    async fn recheck(&mut self, myself: &Arc<Mailbox>, room: RoomId, tries: u32) {
        let at = self.at(room);
        if !self.follows.contains(&room) {
            return;
        }
        let Err(refusal) = self.world.look(&self.link.caller, at, None).await else { return };
        if refusal.retry_after.is_some() && tries < RECHECKS_MAX {
            // Everybody in the room asks at the same time, just after it opened.
            let spread = u64::from(self.link.id.0.as_bytes()[15]);
            let wait = RECHECK_PAUSE + Duration::from_millis(2 * spread);
            myself.tell_after(wait, SessionMsg::Recheck { room, tries: tries + 1 });
            return;
        }
        self.follows.remove(&room);
        self.world.hub.leave(at, self.link.id);
        lost(&self.link, refusal);
    }

    async fn serve(&mut self, id: Option<u64>, command: Command) {
        // A subscribe answers in the middle: its replay comes after the answer.
        if let Command::Subscribe(rooms) = command {
            if rooms.len() > limits::SUBSCRIBE_ROOMS_MAX {
                let detail = format!(
                    "{} rooms in one subscribe; allowed are {}",
                    rooms.len(),
                    limits::SUBSCRIBE_ROOMS_MAX
                );
                return self.link.settle_request(id, Err(&Refusal::new(Code::TooLarge, detail)));
            }
            return subscribe(&self.world, &self.link, &mut self.follows, id, rooms).await;
        }
        let result = self.answer(command).await;
        self.link.settle_request(id, result.as_ref());
    }

    async fn answer(&mut self, command: Command) -> Result<Answer, Refusal> {
        let caller = self.link.caller.clone();
        match command {
            Command::Unsubscribe(rooms) => {
                for room in rooms {
                    self.follows.remove(&room);
                    self.world.hub.leave(self.at(room), self.link.id);
                }
                Ok(Answer::Done)
            }
            Command::History { room, range, limit, view } => {
                let at = self.at(room);
                let (r#gen, page) =
                    Box::pin(self.world.read_history(&caller, at, range, limit, view)).await?;
                let stale = !*self.world.directory.lease().borrow();
                Ok(Answer::History { room, r#gen, stale, page: Arc::new(page) })
            }
            Command::Read { room, seq } => {
                self.world.mark_read(&caller, self.at(room), seq).await.map(|()| Answer::Done)
            }
            Command::Presence { status, watch } => {
                self.presence(status, watch)?;
                Ok(Answer::Done)
            }
            Command::Subscribe(_)
            | Command::Post { .. }
            | Command::Typing { .. }
            | Command::Ping => Err(Refusal::internal()),
        }
    }

    fn presence(
        &mut self,
        status: Option<PresenceStatus>,
        watch: Option<Vec<UserId>>,
    ) -> Result<(), Refusal> {
        if let Some(watch) = watch {
            if watch.len() > limits::WATCH_USERS_MAX {
                let detail = format!(
                    "{} users in one presence frame; allowed are {}",
                    watch.len(),
                    limits::WATCH_USERS_MAX
                );
                return Err(Refusal::new(Code::TooLarge, detail));
            }
            self.world.presence.watch(&self.link, &self.watches, &watch);
            self.watches = watch;
        }
        if let Some(status) = status {
            self.world.presence.set(&self.link, status);
        }
        Ok(())
    }
}

impl World {
    /// Moves a user's read mark and tells their devices.
    pub(crate) async fn mark_read(
        self: &Arc<Self>,
        caller: &Arc<super::words::Caller>,
        at: RoomRef,
        seq: Seq,
    ) -> Result<(), Refusal> {
        let seen = self.look(caller, at, None).await?;
        if seq > seen.head || seq == Seq(0) {
            return Err(Refusal::bad_request(format!(
                "seq {seq} is not in the room; allowed are 1 to its head {}",
                seen.head
            )));
        }
        let moved = self.members.mark_read(at, caller.user, seq).await;
        if let Some(rev) = moved.map_err(|error| unavailable(&error))? {
            self.notice(Notice::Read { room: at, user: caller.user, seq, rev });
        }
        Ok(())
    }
}
