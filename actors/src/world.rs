//! What the actors of one node share: the ports, the hub, and who is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::busiest::Marks;
use crate::hub::Hub;
use crate::limits;
use crate::ports::history::Range;
use crate::ports::{Accounts, Directory, DirectoryError, Frames, History, Members};
use crate::presence::actor::Presence;
use crate::remote::{Held, Remote, Route};
use crate::room::actor::{RoomMsg, unavailable};
use crate::room::fold::HistoryPage;
use crate::room::state::{Look, Post, Seen};
use crate::session::waiter::{Reply, Waiter};
use crate::session::{Caller, Cursor, View};
use crate::supervisor::{Rooms, Sessions};
use crate::traces::Traces;
use crate::vocab::{
    Event, Gen, Refusal, Role, RoomKind, RoomMeta, RoomRef, Seq, SessionId, UserId,
};

/// Something that all devices of a user are told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Their membership of a room changed.
    Membership { room: RoomRef, user: UserId, role: Option<Role> },
    /// They read up to here.
    Read { room: RoomRef, user: UserId, seq: Seq, rev: u64 },
}

pub(crate) struct World {
    pub(crate) history: Arc<dyn History>,
    pub(crate) members: Arc<dyn Members>,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) frames: Arc<dyn Frames>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) rooms: Rooms,
    pub(crate) sessions: Sessions,
    pub(crate) presence: Presence,
    pub(crate) notices: mpsc::Sender<Notice>,
    pub(crate) draining: AtomicBool,
    pub(crate) barrier: Barrier,
    pub(crate) remote: Arc<Remote>,
    pub(crate) held: Held,
    /// The highest epoch under which this node was fenced, by shard.
    pub(crate) fenced: Vec<AtomicU64>,
    /// Events that were committed here, by shard.
    pub(crate) committed: Vec<AtomicU64>,
    /// For who asks for the busiest rooms.
    pub(crate) marks: Marks,
    pub(crate) traces: Option<Arc<Traces>>,
}

impl World {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Shows a committed event to everybody who follows the room, here and on other nodes.
    pub(crate) fn publish(&self, at: RoomRef, r#gen: Gen, event: &Arc<Event>) {
        self.committed[usize::from(at.shard().0)].fetch_add(1, Ordering::Relaxed);
        self.hub.publish(at, r#gen, event);
        self.remote.publish(at, r#gen, event);
    }

    /// Shows other nodes' followers that somebody types here.
    pub(crate) fn typing_elsewhere(
        &self,
        at: RoomRef,
        session: SessionId,
        user: UserId,
        username: &str,
    ) {
        match self.route(at.shard()) {
            Route::Here => self.remote.typing(None, at, session, user, username),
            Route::Peer(owner) => self.remote.typing(Some(owner), at, session, user, username),
            Route::Nobody => {}
        }
    }

    /// A room's metadata as far as this node knows it without reading.
    pub(crate) fn meta_here(&self, at: RoomRef) -> Option<Arc<RoomMeta>> {
        // Anybody can make up the id of a direct conversation; one that is awake has members.
        self.meta_of_member(at).filter(|meta| {
            meta.kind != RoomKind::Direct || self.rooms.is_awake(at) || self.hub.is_followed(at)
        })
    }

    /// The metadata of a room that is known to have members.
    pub(crate) fn meta_of_member(&self, at: RoomRef) -> Option<Arc<RoomMeta>> {
        self.directory.room(at).or_else(|| RoomMeta::without_entry(at).map(Arc::new))
    }

    /// A room's metadata for `caller`; missing means that no node knows it. A direct conversation
    /// is woken by its members only, so that made-up ids cost one read and no room.
    pub(crate) async fn meta(
        &self,
        caller: &Caller,
        at: RoomRef,
    ) -> Result<Arc<RoomMeta>, Refusal> {
        if let Some(meta) = self.meta_here(at) {
            return Ok(meta);
        }
        let Some(direct) = self.meta_of_member(at) else {
            self.barrier.pass(&*self.directory).await.map_err(directory_refusal)?;
            return self.meta_here(at).ok_or_else(Refusal::no_such_room);
        };
        let role = self.members.role(at, caller.user).await.map_err(|error| unavailable(&error))?;
        role.map(|_| direct).ok_or_else(Refusal::no_such_room)
    }

    /// Sends a change to its room; its waiter gets the answer.
    pub(crate) fn post(self: &Arc<Self>, meta: &Arc<RoomMeta>, post: Post<Waiter>) {
        if self.is_draining() {
            return post.waiter.answer(Err(Refusal::unavailable("the node is going away")));
        }
        self.tell(meta, RoomMsg::Post(Box::new(post)));
    }

    /// Looks at a room as `caller`: may they read it, where does it stand.
    pub(crate) async fn look(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        at: RoomRef,
        cursor: Option<Cursor>,
    ) -> Result<Seen, Refusal> {
        let meta = self.meta(caller, at).await?;
        let (waiter, seen) = Reply::channel();
        let look = Look { caller: caller.clone(), cursor, waiter };
        self.tell(&meta, RoomMsg::Look(Box::new(look)));
        match tokio::time::timeout(limits::COMMIT_WAIT, seen).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(_)) | Err(_) => Err(Refusal::unavailable("the room does not answer")),
        }
    }

    /// A page of history, for those who may read the room.
    pub(crate) async fn read_history(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        at: RoomRef,
        range: Range,
        limit: u16,
        view: View,
    ) -> Result<(Gen, HistoryPage), Refusal> {
        if limit == 0 || limit > limits::PAGE_MAX {
            return Err(Refusal::bad_request(format!(
                "limit is {limit}; allowed are 1 to {}",
                limits::PAGE_MAX
            )));
        }
        let r#gen = self.may_read(caller, at).await?;
        let page = match view {
            View::Log => self.history.log(at, range, limit).await.map(HistoryPage::from),
            View::Folded => self.history.timeline(at, range, limit).await.map(HistoryPage::from),
        };
        page.map(|page| (r#gen, page.cut_to(range, limits::PAGE_BYTES_MAX)))
            .map_err(|error| unavailable(&error))
    }

    /// Whether the caller may read the room; the generation of its history.
    pub(crate) async fn may_read(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        at: RoomRef,
    ) -> Result<Gen, Refusal> {
        // Without a lease another node may own the room by now, and know of a member who was removed.
        let has_lease = *self.directory.lease().borrow();
        match has_lease {
            true => Ok(self.look(caller, at, None).await?.r#gen),
            false => self.may_read_stale(caller, at).await,
        }
    }

    /// A node that lost its cluster cannot ask the room's owner: the rows of members say who may
    /// read, and the page may lack what the owner knows. Gives the generation of its history.
    async fn may_read_stale(&self, caller: &Caller, at: RoomRef) -> Result<Gen, Refusal> {
        let unknown =
            || Refusal::unavailable("this node lost its cluster and does not know the room");
        let meta = self.meta_of_member(at).ok_or_else(unknown)?;
        let role = self.role_in(caller, &meta).await?;
        role.ok_or_else(|| crate::room::permit::not_a_member(meta.kind))?;
        let owned = self.directory.ownership(at.shard());
        Ok(owned.map_or(Gen(1), |owned| owned.r#gen))
    }

    /// Starts a room that somebody follows, if it is known.
    pub(crate) fn wake(self: &Arc<Self>, at: RoomRef) {
        if let Some(meta) = self.meta_of_member(at) {
            let (reply, _nobody_listens) = Reply::channel();
            self.tell(&meta, RoomMsg::Stand(reply));
        }
    }

    /// Tells all devices of a user, soon. When very many are waiting it is shed: clients read
    /// their rooms and marks again whenever they connect.
    pub(crate) fn notice(&self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            metrics::counter!("parlance_notices_shed_total").increment(1);
        }
    }

    /// What a caller may know of a room: its members, and of public rooms everybody.
    pub(crate) async fn role_in(
        &self,
        caller: &Caller,
        meta: &RoomMeta,
    ) -> Result<Option<Role>, Refusal> {
        if meta.kind == RoomKind::Lobby {
            return Ok(Some(if caller.admin { Role::Owner } else { Role::Member }));
        }
        let role = self.members.role(meta.at(), caller.user).await;
        let role = role.map_err(|error| unavailable(&error))?;
        match (meta.kind, role) {
            (RoomKind::Public, role) => Ok(role),
            (_, Some(role)) => Ok(Some(role)),
            (_, None) => Err(Refusal::no_such_room()),
        }
    }
}

pub(crate) fn directory_refusal(error: DirectoryError) -> Refusal {
    match error {
        DirectoryError::NameTaken => {
            Refusal::new(crate::vocab::Code::NameTaken, "another public room has that name")
        }
        DirectoryError::NoSuchRoom => Refusal::no_such_room(),
        DirectoryError::Refused(why) => Refusal::new(crate::vocab::Code::Conflict, why),
        DirectoryError::Unavailable(why) => {
            tracing::warn!(why, "the directory did not answer");
            Refusal::unavailable("the directory is away")
        }
    }
}

/// Coalesced barriers: however many ask for unknown rooms at once, the directory is asked once
/// at a time, and each is served by a barrier that began after it came.
#[derive(Default)]
pub(crate) struct Barrier {
    turn: tokio::sync::Mutex<()>,
    begun: AtomicU64,
    passed: AtomicU64,
}

impl Barrier {
    pub(crate) async fn pass(&self, directory: &dyn Directory) -> Result<(), DirectoryError> {
        let needed = self.begun.load(Ordering::Acquire) + 1;
        let _turn = self.turn.lock().await;
        if self.passed.load(Ordering::Acquire) >= needed {
            return Ok(());
        }
        let mine = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        directory.barrier().await?;
        self.passed.store(mine, Ordering::Release);
        Ok(())
    }
}
