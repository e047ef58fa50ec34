//! The door to the domain: what HTTP and sockets call. Each call checks who asks, finds the
//! room, and takes the same path as every other.

mod background;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ractor::{Actor, ActorRef};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::hub::Hub;
use crate::limits;
use crate::outbox::{CloseCode, Outbox};
use crate::ports::directory::{NewRoom, RoomChange};
use crate::ports::frames::Dialect;
use crate::ports::history::Range;
use crate::ports::members::Member;
use crate::ports::{Accounts, Directory, Frames, History, Members, Peers};
use crate::presence::actor::Presence;
use crate::remote::{Held, Remote, WorldInbox, follow_shards};
use crate::room::actor::{RoomMsg, unavailable};
use crate::room::fold::HistoryPage;
use crate::room::state::Post;
use crate::session::actor::{SessionActor, SessionArgs, SessionMsg};
use crate::session::link::SessionLink;
use crate::session::waiter::{Reply, Waiter};
use crate::session::{Caller, Change, Posted, SessionHandle, View};
use crate::supervisor::{Rooms, Sessions, Supervisor, SupervisorMsg};
use crate::vocab::{
    Code, Gen, Key, Refusal, Role, RoomId, RoomKind, RoomMeta, RoomName, RoomRef, SHARD_COUNT,
    Sender, Seq, SessionId, Timestamp, Topic, User, UserId,
};
use crate::wire::presence::{Saying, Word};
use crate::world::{Barrier, World, directory_refusal};

/// Notices for users' own devices that wait to be told. More are shed.
const NOTICES_MAX: usize = 4_096;
/// Sessions that are told `bye` come back spread over at least this long, and one more
/// millisecond for each.
const BYE_SPREAD_MIN: Duration = Duration::from_millis(500);

/// What a node is made of.
#[derive(Clone)]
pub struct Parts {
    /// Rooms' logs.
    pub history: Arc<dyn History>,
    /// Rows of membership.
    pub members: Arc<dyn Members>,
    /// Accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Rooms and shards.
    pub directory: Arc<dyn Directory>,
    /// What clients see.
    pub frames: Arc<dyn Frames>,
    /// The other nodes.
    pub peers: Arc<dyn Peers>,
}

/// The domain could not start.
#[derive(Debug, thiserror::Error)]
#[error("the supervisor could not start: {0}")]
pub struct StartError(String);

/// A room as a caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// The room.
    pub meta: Arc<RoomMeta>,
    /// The caller's role; `None` in public rooms that they are not in.
    pub role: Option<Role>,
    /// How far the caller has read; 0 for nothing.
    pub read: Seq,
}

/// A room to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRoom {
    /// The idempotency key.
    pub key: Key,
    /// Its name.
    pub name: RoomName,
    /// Public or private.
    pub kind: RoomKind,
    /// Its topic.
    pub topic: Topic,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// Rooms awake here.
    pub rooms: u64,
    /// Sessions here.
    pub sessions: u64,
    /// Events that were committed here since the start, by shard: 256 counters.
    pub committed: Vec<u64>,
}

/// A session that began.
#[derive(Debug)]
pub struct OpenSession {
    /// For the socket task's requests.
    pub session: SessionHandle,
    /// What goes to the socket.
    pub outbox: Arc<Outbox>,
}

/// The domain of one node.
pub struct Chat {
    world: Arc<World>,
    supervisor: ActorRef<SupervisorMsg>,
    tasks: parking_lot::Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}

impl Chat {
    /// Starts the domain of a node.
    ///
    /// # Errors
    /// [`StartError`] when the runtime is going away.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts { history, members, accounts, directory, frames, peers } = parts;
        let (notices, waiting) = mpsc::channel(NOTICES_MAX);
        let changes = directory.changes();
        let live = peers.live();
        let presence = Presence::new(directory.node(), peers.clone());
        let shards_changed = directory.shards_changed();
        let counters = || (0..SHARD_COUNT).map(|_| AtomicU64::new(0)).collect();
        let world = Arc::new(World {
            hub: Hub::new(frames.clone()),
            history,
            members,
            accounts,
            directory,
            frames,
            rooms: Rooms::new(),
            sessions: Sessions::new(),
            presence,
            notices,
            draining: false.into(),
            barrier: Barrier::default(),
            remote: Remote::new(peers.clone()),
            held: Held::new(),
            fenced: counters(),
            committed: counters(),
        });
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, world.clone())
            .await
            .map_err(|error| StartError(error.to_string()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(background::tell_devices(world.clone(), waiting));
        tasks.spawn(background::follow_directory(world.clone(), changes));
        tasks.spawn(background::follow_live(world.clone(), live));
        tasks.spawn(follow_shards(world.clone(), shards_changed));
        peers.attach(Arc::new(WorldInbox(Arc::downgrade(&world))));
        Ok(Arc::new(Self { world, supervisor, tasks: parking_lot::Mutex::new(tasks) }))
    }

    /// Changes a room's log; answered after the commit.
    ///
    /// # Errors
    /// A [`Refusal`]; after `unavailable` repeat with the same key.
    pub async fn post(
        &self,
        caller: &Caller,
        room: RoomId,
        key: Key,
        change: Change,
    ) -> Result<Posted, Refusal> {
        let at = RoomRef { tenant: caller.tenant, room };
        let meta = self.world.meta(caller, at).await?;
        self.post_to(&meta, Arc::new(caller.clone()), key, change).await
    }

    async fn post_to(
        &self,
        meta: &Arc<RoomMeta>,
        caller: Arc<Caller>,
        key: Key,
        change: Change,
    ) -> Result<Posted, Refusal> {
        let (reply, posted) = Reply::channel();
        self.world.post(meta, Post { caller, key, change, waiter: Waiter::Call(reply) });
        posted.await.unwrap_or_else(|_| Err(Refusal::unavailable("the room stopped")))
    }

    /// Makes a room whose owner is the caller, or gives the one made with the same key.
    ///
    /// # Errors
    /// `name_taken`, or `unavailable`: repeat with the same key.
    pub async fn create_room(&self, caller: &Caller, new: CreateRoom) -> Result<RoomView, Refusal> {
        let CreateRoom { key, name, kind, topic } = new;
        if !matches!(kind, RoomKind::Public | RoomKind::Private) {
            return Err(Refusal::bad_request("kind must be public or private"));
        }
        self.refuse_when_draining()?;
        let new = NewRoom {
            tenant: caller.tenant,
            id: RoomId::generate(),
            key,
            kind,
            name,
            topic,
            by: caller.user,
            at: Timestamp::now(),
        };
        let meta = self.world.directory.create_room(new).await.map_err(directory_refusal)?;
        // Its opening makes the caller its owner; the answer waits until that is committed.
        self.tell_room(&meta, caller).await?;
        self.view(caller, meta, Some(Role::Owner)).await
    }

    /// Renames a room or changes its topic or settings; for moderators.
    ///
    /// # Errors
    /// `forbidden`, `not_found`, `name_taken`, or `unavailable`.
    pub async fn change_room(
        &self,
        caller: &Caller,
        room: RoomId,
        change: RoomChange,
    ) -> Result<RoomView, Refusal> {
        self.refuse_when_draining()?;
        let at = RoomRef { tenant: caller.tenant, room };
        let seen = self.world.look(&Arc::new(caller.clone()), at, None).await?;
        let meta = self.world.meta(caller, at).await?;
        if !matches!(meta.kind, RoomKind::Public | RoomKind::Private) {
            return Err(Refusal::new(
                Code::Conflict,
                "this room has no name and settings to change",
            ));
        }
        if seen.role < Role::Moderator {
            return Err(Refusal::forbidden("only a moderator changes a room"));
        }
        if change.settings.is_some_and(|s| s.slow_mode_seconds > limits::SLOW_MODE_SECONDS_MAX) {
            return Err(Refusal::bad_request(format!(
                "slow_mode_seconds allows 0 to {}",
                limits::SLOW_MODE_SECONDS_MAX
            )));
        }
        let meta = self
            .world
            .directory
            .change_room(at, change, caller.user)
            .await
            .map_err(directory_refusal)?;
        self.tell_room(&meta, caller).await?;
        self.view(caller, meta, Some(seen.role)).await
    }

    /// Has the room append the event of its metadata's version, if its log lacks it.
    async fn tell_room(&self, meta: &Arc<RoomMeta>, caller: &Caller) -> Result<(), Refusal> {
        let username = if meta.changed_by == caller.user {
            caller.username.clone()
        } else {
            let user = self.world.accounts.user(meta.tenant, meta.changed_by).await;
            let user = user.map_err(|_| Refusal::unavailable("the database is away"))?;
            user.map_or_else(|| "".into(), |user| user.username.shared())
        };
        let by = Sender { id: meta.changed_by, username };
        let (reply, posted) = Reply::channel();
        let waiter = Some(Waiter::Call(reply));
        let refresh = RoomMsg::Refresh { meta: meta.clone(), by, waiter };
        self.world.tell(meta, refresh);
        let stopped = || Err(Refusal::unavailable("the room stopped"));
        posted.await.unwrap_or_else(|_| stopped()).map(|_| ())
    }

    /// Opens the direct conversation with another user; the same one every time.
    ///
    /// # Errors
    /// `unavailable`: repeat it.
    pub async fn open_direct(&self, caller: &Caller, other: &User) -> Result<RoomView, Refusal> {
        let room = RoomId::direct(caller.tenant, caller.user, other.id);
        let meta = Arc::new(RoomMeta::direct(caller.tenant, room));
        let peer = Caller {
            tenant: caller.tenant,
            user: other.id,
            username: other.username.shared(),
            device: None,
            admin: false,
        };
        let pairs = [(caller, peer.user), (&peer, caller.user)];
        for (one, other) in pairs {
            let key = Key::of_meeting(room, one.user);
            let meet = Change::Meet { other };
            match self.post_to(&meta, Arc::new(one.clone()), key, meet).await {
                Ok(_) => {}
                Err(refusal) if refusal.code == Code::Conflict => {}
                Err(refusal) => return Err(refusal),
            }
        }
        self.view(caller, meta, Some(Role::Member)).await
    }

    /// The rooms that a caller may see, their own and public ones, ascending by id; whether
    /// there are more. The lobby is among them.
    ///
    /// # Errors
    /// `bad_request` for a limit out of bounds, or `unavailable`.
    pub async fn rooms(
        &self,
        caller: &Caller,
        after: Option<RoomId>,
        limit: u16,
    ) -> Result<(Vec<RoomView>, bool), Refusal> {
        check_limit(limit)?;
        // One more of each tells whether there are more.
        let own = self.world.members.rooms_of(caller.tenant, caller.user, after, limit + 1).await;
        let own = own.map_err(|error| unavailable(&error))?;
        let mut views: Vec<RoomView> = Vec::with_capacity(usize::from(limit));
        for membership in own {
            let at = RoomRef { tenant: caller.tenant, room: membership.room };
            if let Some(meta) = self.world.meta_of_member(at) {
                let role = Some(membership.role);
                views.push(RoomView { meta, role, read: membership.read });
            }
        }
        for meta in self.world.directory.public_rooms(caller.tenant, after, limit + 1) {
            if views.iter().all(|view| view.meta.id != meta.id) {
                views.push(RoomView { meta, role: None, read: Seq(0) });
            }
        }
        let lobby = RoomMeta::lobby(caller.tenant);
        if after.is_none_or(|after| after < lobby.id) {
            let role = self.world.role_in(caller, &lobby).await?;
            views.push(self.view(caller, Arc::new(lobby), role).await?);
        }
        views.sort_by_key(|view| view.meta.id);
        let more = views.len() > usize::from(limit);
        views.truncate(usize::from(limit));
        Ok((views, more))
    }

    /// One room.
    ///
    /// # Errors
    /// `not_found`, the same for a private room and a missing one.
    pub async fn room(&self, caller: &Caller, room: RoomId) -> Result<RoomView, Refusal> {
        let meta = self.world.meta(caller, RoomRef { tenant: caller.tenant, room }).await?;
        let role = self.world.role_in(caller, &meta).await?;
        self.view(caller, meta, role).await
    }

    async fn view(
        &self,
        caller: &Caller,
        meta: Arc<RoomMeta>,
        role: Option<Role>,
    ) -> Result<RoomView, Refusal> {
        let read = self.world.members.read_mark(meta.at(), caller.user).await;
        Ok(RoomView { meta, role, read: read.map_err(|error| unavailable(&error))? })
    }

    /// A room's members ascending by user id, for its members; whether
    /// there are more.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `bad_request`, or `unavailable`.
    pub async fn members(
        &self,
        caller: &Caller,
        room: RoomId,
        after: Option<UserId>,
        limit: u16,
    ) -> Result<(Vec<Member>, bool), Refusal> {
        check_limit(limit)?;
        let view = self.room(caller, room).await?;
        if view.role.is_none() {
            return Err(Refusal::forbidden("join the room first"));
        }
        // One more tells whether there are more.
        let members = self.world.members.list(view.meta.at(), after, limit + 1).await;
        let mut members = members.map_err(|error| unavailable(&error))?;
        let more = members.len() > usize::from(limit);
        members.truncate(usize::from(limit));
        Ok((members, more))
    }

    /// A page of a room's history, for its members.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `bad_request`, or `unavailable`.
    pub async fn history(
        &self,
        caller: &Caller,
        room: RoomId,
        range: Range,
        limit: u16,
        view: View,
    ) -> Result<(Gen, HistoryPage), Refusal> {
        let at = RoomRef { tenant: caller.tenant, room };
        self.world.read_history(&Arc::new(caller.clone()), at, range, limit, view).await
    }

    /// Moves the caller's read mark of a room forward.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `bad_request`, or `unavailable`.
    pub async fn mark_read(&self, caller: &Caller, room: RoomId, seq: Seq) -> Result<(), Refusal> {
        let at = RoomRef { tenant: caller.tenant, room };
        self.world.mark_read(&Arc::new(caller.clone()), at, seq).await
    }

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
        let address: Arc<OnceLock<ActorRef<SessionMsg>>> = Arc::default();
        let mender = address.clone();
        let outbox = Outbox::new(move |rooms| {
            if let Some(actor) = mender.get() {
                // A session that is gone has nothing to mend.
                let _ = actor.cast(SessionMsg::Mend(rooms));
            }
        });
        // The session is entered before it is welcomed, so that no notice falls between.
        let outbox = Arc::new(outbox.silent());
        let frames = self.world.frames.clone();
        let id = SessionId::generate();
        let link = SessionLink::new(id, Arc::new(caller), dialect, outbox.clone(), frames);
        let args = SessionArgs { world: self.world.clone(), link: link.clone() };
        let supervisor = self.supervisor.get_cell();
        let spawned =
            ractor::ActorRuntime::spawn_linked_instant(None, SessionActor, args, supervisor);
        let (actor, _starting) =
            spawned.map_err(|_| Refusal::unavailable("the node is going away"))?;
        let is_first = address.set(actor.clone()).is_ok();
        debug_assert!(is_first, "an address is set once");
        for oldest in self.world.sessions.insert(&link, actor.clone()) {
            oldest.replace("you have too many sessions; this was the oldest");
        }
        // In the mailbox before anything that the client can ask.
        let _ = actor.cast(SessionMsg::Welcome { id: hello });
        let session = SessionHandle { link, actor, world: self.world.clone() };
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

    /// How many rooms are awake.
    #[must_use]
    pub fn rooms_awake(&self) -> usize {
        self.world.rooms.count()
    }

    /// Ends every session of a user, on every node: they were disabled, or signed out everywhere.
    pub fn end_sessions_of(&self, tenant: crate::vocab::TenantId, user: UserId) {
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
    fn end(&self) {
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

    fn refuse_when_draining(&self) -> Result<(), Refusal> {
        if self.world.is_draining() {
            return Err(Refusal::unavailable("the node is going away"));
        }
        Ok(())
    }

    /// Makes a room's actor panic, to test that nothing acknowledged is lost by it. `false` when
    /// the room is not awake.
    #[cfg(any(test, feature = "testkit"))]
    pub fn crash_room(&self, at: RoomRef) -> bool {
        self.world.rooms.cast_unchecked(at, RoomMsg::Crash)
    }

    /// Makes the presence actor of a user panic, to test that presence comes back.
    #[cfg(any(test, feature = "testkit"))]
    pub fn crash_presence(&self, user: UserId) {
        self.world.presence.crash(user);
    }

    /// How many sessions here follow the room.
    #[must_use]
    pub fn followers(&self, at: RoomRef) -> usize {
        self.world.hub.follower_count(at)
    }
}

fn check_limit(limit: u16) -> Result<(), Refusal> {
    if limit == 0 || limit > limits::LIST_MAX {
        return Err(Refusal::bad_request(format!(
            "limit is {limit}; allowed are 1 to {}",
            limits::LIST_MAX
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
