//! The door's sessions: they begin, are counted, told to go elsewhere, and end with the node.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::{Activity, Chat, OpenSession};
use crate::busiest::busiest;
use crate::limits;
use crate::outbox::{CloseCode, Outbox};
use crate::ports::cluster::RoomLoad;
use crate::ports::frames::Dialect;
use crate::session::actor::{Session, SessionMsg};
use crate::session::link::SessionLink;
use crate::session::mailbox::Mailbox;
use crate::session::{Caller, SessionHandle};
use crate::vocab::{Code, Refusal, SessionId, TenantId, UserId};
use crate::wire::presence::{Saying, Word};

/// Sessions that are told `bye` come back spread over at least this long, and one more
/// millisecond for each.
const BYE_SPREAD_MIN: Duration = Duration::from_millis(500);

impl Chat {
    /// Starts a session. Its welcome comes through the outbox first; `hello` is the number that
    /// it carries. `previous`, the client's earlier session, is closed with 4006.
    ///
    /// # Errors
    /// `unavailable` while the node drains.
    pub fn open_session(
        &self,
        caller: Caller,
        dialect: Dialect,
        hello: Option<u64>,
        previous: Option<SessionId>,
    ) -> Result<OpenSession, Refusal> {
        self.refuse_when_draining()?;
        if let Some(session) = previous {
            let (tenant, user, saying) = (caller.tenant, caller.user, Saying::Replace { session });
            self.world.tell_user(Word { tenant, user, saying });
        }
        let address: Arc<OnceLock<Weak<Mailbox>>> = Arc::default();
        let mender = address.clone();
        let outbox = Outbox::new(move |rooms| {
            if let Some(mailbox) = mender.get().and_then(Weak::upgrade) {
                // A session that is gone has nothing to mend.
                let _ = mailbox.tell(SessionMsg::Mend(rooms));
            }
        });
        // The session is entered before it is welcomed, so that no notice falls between.
        let outbox = Arc::new(outbox.silent());
        let frames = self.world.frames.clone();
        let id = SessionId::generate();
        let link = SessionLink::new(id, Arc::new(caller), dialect, outbox.clone(), frames);
        let mailbox = Mailbox::new(
            Session::new(self.world.clone(), link.clone()),
            self.world.sessions.tasks.clone(),
        );
        let is_first = address.set(Arc::downgrade(&mailbox)).is_ok();
        debug_assert!(is_first, "an address is set once");
        // Its end ends the session, wherever this stops.
        let session = SessionHandle { link, mailbox, world: self.world.clone() };
        let SessionHandle { link, mailbox, .. } = &session;
        let too_many = self.world.sessions.insert(link, mailbox.clone());
        for oldest in too_many {
            oldest.replace("you have too many sessions; this was the oldest");
        }
        // The end of all sessions may have gone by between the first look and the entry.
        self.refuse_when_draining()?;
        // In the mailbox before anything that the client can ask.
        let _ = mailbox.tell(SessionMsg::Welcome { id: hello });
        Ok(OpenSession { session, outbox })
    }

    /// What this node does, for placement and operators.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let committed = self.world.committed.iter();
        Activity {
            rooms: self.rooms_awake() as u64,
            sessions: self.sessions() as u64,
            committed: committed.map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }

    /// The rooms that did the most on this node in the last seconds, the busiest first; at most
    /// [`BUSIEST_ROOMS_MAX`](crate::limits::BUSIEST_ROOMS_MAX). Who asks first after a while waits for a second.
    pub async fn busiest(&self) -> Vec<RoomLoad> {
        busiest(&self.world).await
    }

    /// Asks every session to go to another node, spread out over a few seconds, because this one
    /// lost its cluster. New ones are the gateway's to refuse.
    pub fn move_sessions_away(&self) {
        self.say_bye(&self.world.sessions.all(), "this node lost its cluster; come back elsewhere");
    }

    /// How many sessions are alive.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.world.sessions.count()
    }

    /// What waits for the sockets in bytes: in all outboxes together, and in the fullest one.
    #[must_use]
    pub fn outbox_bytes(&self) -> (usize, usize) {
        let each = self.world.sessions.all().into_iter().map(|session| session.outbox.bytes());
        each.fold((0, 0), |(all, most), bytes| (all + bytes, most.max(bytes)))
    }

    /// How many rooms are awake.
    #[must_use]
    pub fn rooms_awake(&self) -> usize {
        self.world.rooms.count()
    }

    /// Ends every session of a user, on every node: they were disabled, or signed out everywhere.
    pub fn end_sessions_of(&self, tenant: TenantId, user: UserId) {
        self.world.end_sessions_here(tenant, user);
        self.world.presence.end_sessions_elsewhere(tenant, user);
    }

    /// Takes no more changes, waits until those in flight are answered, tells every session
    /// `bye` with spread-out delays, and ends the actors. Done within [`limits::DRAIN`].
    pub async fn drain(&self) {
        self.world.draining.store(true, Ordering::Release);
        let sessions = self.world.sessions.all();
        let answered = async {
            while sessions.iter().any(|link| link.in_flight() > 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Those that are not answered by then are refused by the end of their rooms.
        let _ = tokio::time::timeout(limits::DRAIN / 2, answered).await;
        self.say_bye(&sessions, "the node is going away; come back");
        let gone = async {
            while self.world.sessions.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(limits::DRAIN / 4, gone).await;
        self.end();
    }

    /// Ends every actor and task at once.
    pub(super) fn end(&self) {
        self.world.sessions.stop();
        self.world.rooms.stop();
        self.world.presence.stop();
        self.world.remote.stop();
        self.supervisor.stop(None);
        self.tasks.lock().abort_all();
    }

    fn say_bye(&self, sessions: &[Arc<SessionLink>], why: &'static str) {
        let spread = BYE_SPREAD_MIN + Duration::from_millis(sessions.len() as u64);
        let step = spread / u32::try_from(sessions.len().max(1)).unwrap_or(u32::MAX);
        for (place, link) in (0..).zip(sessions) {
            let refusal = Refusal::new(Code::Unavailable, why).retry_after(step * place);
            link.close(CloseCode::GoingAway, refusal);
        }
    }
}
