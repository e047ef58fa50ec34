//! The socket task's grip on its session. Changes go straight to their room from here; what
//! takes reading goes through the session's actor, one after the other.

use std::sync::Arc;
use std::time::Duration;

use super::actor::SessionMsg;
use super::holds::{Passed, Patience, release_late};
use super::link::SessionLink;
use super::mailbox::Mailbox;
use super::waiter::{Accepting, Waiter};
use super::words::{Answer, Command, Request};
use crate::limits;
use crate::room::state::Post;
use crate::vocab::{Code, Refusal, RoomId, RoomRef, SessionId};
use crate::world::World;

/// `retry_after` of a presence frame too many: by then one is allowed again.
const EPHEMERAL_RETRY: Duration =
    Duration::from_millis(1_000 / limits::EPHEMERAL_RATE_PER_SECOND as u64);

/// A live session. Dropping it ends the session.
pub struct SessionHandle {
    pub(crate) link: Arc<SessionLink>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) world: Arc<World>,
}

impl std::fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionHandle").field("id", &self.link.id).finish_non_exhaustive()
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.mailbox.stop();
    }
}

impl SessionHandle {
    /// The session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.link.id
    }

    /// Takes a request. Never blocks; the answer or the refusal comes out of the outbox.
    pub fn submit(&self, request: Request) {
        let Request { id, command } = request;
        match command {
            Command::Ping => self.link.answer(id, Ok(&Answer::Done)),
            Command::Typing { room } => self.typing(id, self.at(room)),
            Command::Post { .. } => self.post(id, command),
            // It goes on to the mailboxes of other actors, and has no answer that would hold it up.
            Command::Presence { .. } if !self.link.admit_ephemeral() => {
                let detail = format!(
                    "{} typing and presence frames a second are allowed",
                    limits::EPHEMERAL_RATE_PER_SECOND
                );
                let refusal = Refusal::new(Code::RateLimited, detail).retry_after(EPHEMERAL_RETRY);
                self.link.answer(id, Err(&refusal));
            }
            command => match self.link.admit_request() {
                Err(refusal) => self.link.answer(id, Err(&refusal)),
                Ok(()) => {
                    command.rooms_from_now().for_each(|room| {
                        self.link.holds.hold(room, Patience::Short);
                    });
                    self.hand_over(Request { id, command });
                }
            },
        }
    }

    /// Follows a room for a client that has no words to ask for it, before anything is submitted: what the
    /// client sends goes to the room after that, so it hears all of its own. A room that cannot be followed
    /// now is asked again for some seconds; then the session ends with the reason, and the client comes back.
    pub fn attach(&self, room: RoomId) {
        self.link.holds.hold(room, Patience::Long);
        // A session that is over tells its client so.
        let _ = self.mailbox.tell(SessionMsg::Attach(room));
    }

    /// Refuses a frame that was no request, in order with the answers.
    pub fn refuse(&self, id: Option<u64>, refusal: &Refusal) {
        self.link.answer(id, Err(refusal));
    }

    fn at(&self, room: RoomId) -> RoomRef {
        RoomRef { tenant: self.link.caller.tenant, room }
    }

    fn hand_over(&self, request: Request) {
        let id = request.id;
        if self.mailbox.tell(SessionMsg::Request(request)).is_err() {
            self.link.settle_request(id, Err(&Refusal::unavailable("the session is closing")));
        }
    }

    fn typing(&self, id: Option<u64>, at: RoomRef) {
        let caller = &self.link.caller;
        let follows = !self.link.admit_ephemeral() || {
            let (session, user) = (self.link.id, caller.user);
            let follows = self.world.hub.typing(at, session, user, &caller.username);
            if follows {
                self.world.typing_elsewhere(at, session, user, &caller.username);
            }
            follows
        };
        if follows {
            self.link.answer(id, Ok(&Answer::Done));
        } else {
            let refusal = Refusal::forbidden("subscribe to the room first");
            self.link.answer(id, Err(&refusal));
        }
    }

    fn post(&self, id: Option<u64>, command: Command) {
        let Command::Post { room, key, change } = command else { return };
        let (world, caller) = (&self.world, &self.link.caller);
        let traced = Accepting::begin(world, self.at(room), caller.user, key, &change);
        let place = match self.link.admit_change(room, key, &change) {
            Ok(place) => place,
            Err(refusal) => return self.link.answer(id, Err(&refusal)),
        };
        let waiter = Waiter::of_session(self.link.clone(), id, room, (key, place), &change, traced);
        let post = Post { caller: self.link.caller.clone(), key, change, waiter };
        let meta = self.world.meta_here(self.at(room));
        let is_unknown = meta.is_none();
        if is_unknown {
            self.link.holds.hold(room, Patience::Short);
        }
        match (self.link.holds.pass(room, post), meta) {
            (Passed::Goes(post), Some(meta)) => self.world.post(&meta, post),
            // The session is over, and this answers by being dropped.
            (Passed::Goes(_), None) | (Passed::Waits, _) => {}
            (Passed::WaitsFirst(hold), _) => {
                let (world, link) = (self.world.clone(), self.link.clone());
                self.mailbox.after(limits::BEHIND_SUBSCRIBE_MAX, async move {
                    release_late(&world, &link, room, hold).await;
                });
            }
        }
        if is_unknown {
            // Not in this node's memory; the actor asks the directory before it says no. A session that is over
            // answers what waits.
            let _ = self.mailbox.tell(SessionMsg::Release(room));
        }
    }
}
