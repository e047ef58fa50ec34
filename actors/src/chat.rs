//! The door to the domain: what HTTP and sockets call. Each call checks who asks, finds the
//! room, and takes the same path as every other.

mod background;
mod lists;
mod sessions;
mod views;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ractor::{Actor, ActorRef};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::busiest::Marks;
use crate::hub::Hub;
use crate::limits;
use crate::outbox::Outbox;
use crate::ports::directory::{NewRoom, RoomChange};
use crate::ports::history::Range;
use crate::ports::members::Summary;
use crate::ports::{Accounts, Directory, Frames, History, Members, Peers};
use crate::presence::actor::Presence;
use crate::remote::{Held, Remote, WorldInbox, follow_shards};
use crate::room::actor::{RoomMsg, unavailable};
use crate::room::fold::{Entries, HistoryPage};
use crate::room::state::Post;
use crate::session::waiter::{Accepting, Reply, Waiter};
use crate::session::{Caller, Change, Posted, SessionHandle, View};
use crate::supervisor::{Rooms, Sessions, Supervisor, SupervisorMsg};
use crate::traces::Traces;
use crate::vocab::{
    Code, Gen, Key, Refusal, Role, RoomId, RoomKind, RoomMeta, RoomName, RoomRef, SHARD_COUNT,
    Sender, Seq, Timestamp, Topic, User,
};
use crate::world::{Barrier, World, directory_refusal};

/// Notices for users' own devices that wait to be told. More are shed.
const NOTICES_MAX: usize = 4_096;

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
    /// The changes that are traced; `None` for none.
    pub traces: Option<Arc<Traces>>,
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
    /// Where its log stands, and the caller in it.
    pub summary: Summary,
    /// The other one of a direct conversation, the caller of one with themselves; `None` where the
    /// other has yet to become a member.
    pub with: Option<Sender>,
    /// How many members it has, counted to a bound, where that was asked for.
    pub members: Option<u32>,
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
        let Parts { history, members, accounts, directory, frames, peers, traces } = parts;
        let (notices, waiting) = mpsc::channel(NOTICES_MAX);
        let changes = directory.changes();
        let live = peers.live();
        let presence = Presence::new(directory.node(), peers.clone());
        let shards_changed = directory.shards_changed();
        let counters = || (0..SHARD_COUNT).map(|_| AtomicU64::new(0)).collect();
        let world = Arc::new(World {
            hub: Hub::traced(frames.clone(), traces.clone()),
            traces,
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
            marks: Marks::default(),
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
        let traced = Accepting::begin(&self.world, meta.at(), caller.user, key, &change);
        let (reply, posted) = Reply::channel();
        self.world.post(meta, Post { caller, key, change, waiter: Waiter::Call(reply) });
        let posted = posted.await;
        let posted = posted.unwrap_or_else(|_| Err(Refusal::unavailable("the room stopped")));
        if let Some(traced) = traced {
            traced.answered(&posted);
        }
        posted
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
        self.view(caller, meta).await
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
        self.view(caller, meta).await
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
        self.view(caller, meta).await
    }

    /// One room.
    ///
    /// # Errors
    /// `not_found`, the same for a private room and a missing one.
    pub async fn room(&self, caller: &Caller, room: RoomId) -> Result<RoomView, Refusal> {
        let meta = self.world.meta(caller, RoomRef { tenant: caller.tenant, room }).await?;
        self.world.role_in(caller, &meta).await?;
        self.view(caller, meta).await
    }

    async fn view(&self, caller: &Caller, meta: Arc<RoomMeta>) -> Result<RoomView, Refusal> {
        let mut views = self.views(caller, vec![meta]).await?;
        views.pop().ok_or_else(Refusal::no_such_room)
    }

    /// A room's pinned messages, the newest pin first, for its members.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, or `unavailable`.
    pub async fn pins(&self, caller: &Caller, room: RoomId) -> Result<HistoryPage, Refusal> {
        let at = RoomRef { tenant: caller.tenant, room };
        self.world.may_read(&Arc::new(caller.clone()), at).await?;
        let page = self.world.history.pins(at).await.map_err(|error| unavailable(&error))?;
        let mut page = HistoryPage::from(page);
        if let Entries::Folded(entries) = &mut page.entries {
            // Its pin may be too old to be among the notes.
            entries.iter_mut().for_each(|entry| entry.pinned = true);
        }
        // From the newest on, as far as a page may be large.
        Ok(page.cut_to(Range::After(Seq(0)), limits::PAGE_BYTES_MAX))
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
    pub fn crash_presence(&self, user: crate::vocab::UserId) {
        self.world.presence.crash(user);
    }

    /// Ends everything at once, as a crash of the process does.
    #[cfg(any(test, feature = "testkit"))]
    pub fn crash(&self) {
        self.end();
    }

    /// How many sessions here follow the room.
    #[must_use]
    pub fn followers(&self, at: RoomRef) -> usize {
        self.world.hub.follower_count(at)
    }
}

#[cfg(test)]
mod tests;
