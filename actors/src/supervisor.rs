//! What lives on this node: rooms and sessions, started on demand, watched, put to sleep.
//!
//! A crash of one actor is contained: those who waited for it are told, and a room that somebody
//! still follows is started again from the database.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use crate::busiest::Tally;
use crate::limits;
use crate::room::actor::{RoomActor, RoomArgs, RoomMsg, refuse};
use crate::session::actor::SessionMsg;
use crate::session::link::SessionLink;
use crate::session::mailbox::{Mailbox, Tasks};
use crate::vocab::{
    Epoch, Refusal, RoomMeta, RoomRef, SHARD_COUNT, SessionId, ShardId, TenantId, UserId,
};
use crate::world::World;

/// How often idle rooms are looked for.
const SWEEP: Duration = Duration::from_secs(20);

/// What a room has to do: how much waits in its mailbox, counted before each cast because ractor's
/// mailboxes have no bound, and how much it has committed.
#[derive(Debug, Default)]
pub(crate) struct Load {
    waiting: AtomicU32,
    pub(crate) committed: Tally,
}

/// A room that went to sleep takes nothing more.
const CLOSED: u32 = u32::MAX;

/// Why a room's mailbox took nothing.
pub(crate) enum NotEntered {
    Full,
    Closed,
}

impl Load {
    pub(crate) fn enter(&self) -> Result<(), NotEntered> {
        let entered = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |load| {
            (load < limits::ROOM_MAILBOX_MAX).then_some(load + 1)
        });
        match entered {
            Ok(_) => Ok(()),
            Err(CLOSED) => Err(NotEntered::Closed),
            Err(_) => Err(NotEntered::Full),
        }
    }

    pub(crate) fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Closes an empty mailbox for good.
    pub(crate) fn close(&self) -> bool {
        self.waiting.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

struct Alive {
    actor: ActorRef<RoomMsg>,
    epoch: Epoch,
    load: Arc<Load>,
    /// Milliseconds since [`Rooms`] began.
    last_used: AtomicU64,
}

/// The rooms that are alive here. The two indexes change only together, in this struct.
pub(crate) struct Rooms {
    alive: DashMap<RoomRef, Arc<Alive>>,
    places: DashMap<ActorId, RoomRef>,
    /// How many are alive, by shard.
    in_shard: Vec<AtomicUsize>,
    supervisor: OnceLock<ActorCell>,
    started: Instant,
}

impl Rooms {
    pub(crate) fn new() -> Self {
        Self {
            alive: DashMap::new(),
            places: DashMap::new(),
            in_shard: (0..SHARD_COUNT).map(|_| AtomicUsize::new(0)).collect(),
            supervisor: OnceLock::new(),
            started: Instant::now(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.alive.len()
    }

    /// Whether the room is awake under its shard's present epoch. One of a former epoch is ending.
    pub(crate) fn is_awake_under(&self, at: RoomRef, epoch: Epoch) -> bool {
        self.alive.get(&at).is_some_and(|alive| alive.epoch == epoch)
    }

    pub(crate) fn is_awake(&self, at: RoomRef) -> bool {
        self.alive.contains_key(&at)
    }

    /// Tells a room, starting it if need be. A request that cannot be delivered is refused here.
    pub(crate) fn tell(&self, world: &Arc<World>, meta: &Arc<RoomMeta>, message: RoomMsg) {
        // A room that falls asleep between look-up and entry is looked up again.
        for _ in 0..3 {
            let alive = match self.get_or_start(world, meta) {
                Ok(alive) => alive,
                Err(refusal) => return refuse(message, &refusal),
            };
            match alive.load.enter() {
                Ok(()) => {
                    let now = u64::try_from(self.started.elapsed().as_millis());
                    alive.last_used.store(now.unwrap_or(u64::MAX), Ordering::Relaxed);
                    // A request to a room that just crashed is dropped, and so answers itself.
                    drop(alive.actor.cast(message));
                    return;
                }
                Err(NotEntered::Full) => {
                    let why = "the room has more requests than it can take";
                    return refuse(message, &Refusal::busy(why));
                }
                Err(NotEntered::Closed) => self.forget(meta.at(), alive.actor.get_id()),
            }
        }
        refuse(message, &Refusal::busy("the room is going to sleep"));
    }

    fn get_or_start(
        &self,
        world: &Arc<World>,
        meta: &Arc<RoomMeta>,
    ) -> Result<Arc<Alive>, Refusal> {
        let at = meta.at();
        if let Some(alive) = self.alive.get(&at) {
            return Ok(alive.clone());
        }
        if self.alive.len() >= limits::ROOMS_ALIVE_MAX {
            return Err(Refusal::busy("this node has as many rooms awake as it can"));
        }
        let ownership = world.directory.ownership(at.shard());
        let Some(owned) = ownership.filter(|owned| owned.owner == world.directory.node()) else {
            return Err(Refusal::unavailable("nobody serves the room now"));
        };
        match self.alive.entry(at) {
            Entry::Occupied(alive) => Ok(alive.get().clone()),
            Entry::Vacant(place) => {
                let load = Arc::new(Load::default());
                let args = RoomArgs {
                    world: world.clone(),
                    meta: meta.clone(),
                    epoch: owned.epoch,
                    r#gen: owned.r#gen,
                    load: load.clone(),
                };
                let supervisor = self.supervisor.get().expect("set before the first room").clone();
                let spawned =
                    ractor::ActorRuntime::spawn_linked_instant(None, RoomActor, args, supervisor);
                let (actor, _starting) =
                    spawned.map_err(|_| Refusal::unavailable("the node is going away"))?;
                self.places.insert(actor.get_id(), at);
                let alive = Arc::new(Alive {
                    actor,
                    epoch: owned.epoch,
                    load,
                    last_used: AtomicU64::new(0),
                });
                place.insert(alive.clone());
                self.in_shard[usize::from(at.shard().0)].fetch_add(1, Ordering::AcqRel);
                Ok(alive)
            }
        }
    }

    /// Takes a room that ended out of the books; another actor of the same room stays.
    pub(crate) fn forget(&self, at: RoomRef, actor: ActorId) {
        if self.alive.remove_if(&at, |_, alive| alive.actor.get_id() == actor).is_some() {
            self.in_shard[usize::from(at.shard().0)].fetch_sub(1, Ordering::AcqRel);
        }
        self.places.remove(&actor);
    }

    fn sweep(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let idle = u64::try_from(limits::ROOM_IDLE.as_millis()).unwrap_or(u64::MAX);
        for alive in &self.alive {
            if now.saturating_sub(alive.last_used.load(Ordering::Relaxed)) > idle {
                let _ = alive.actor.cast(RoomMsg::Sleep);
            }
        }
    }

    /// Has the rooms of a shard settle what is in flight and end.
    pub(crate) fn settle(&self, shard: ShardId) {
        self.each_in(shard, |alive| drop(alive.actor.cast(RoomMsg::Settle)));
    }

    /// Ends the rooms of a shard.
    pub(crate) fn depart(&self, shard: ShardId) {
        self.each_in(shard, |alive| drop(alive.actor.cast(RoomMsg::Depart)));
    }

    /// Ends the rooms that may not stay, by their shard and the epoch that they serve it under.
    pub(crate) fn depart_unless(&self, may_stay: impl Fn(ShardId, Epoch) -> bool) {
        for alive in &self.alive {
            if !may_stay(alive.key().shard(), alive.epoch) {
                let _ = alive.actor.cast(RoomMsg::Depart);
            }
        }
    }

    /// Marks what every room has committed.
    pub(crate) fn mark(&self) {
        self.alive.iter().for_each(|alive| alive.load.committed.mark());
    }

    /// The rooms that committed something since the older mark, and how much.
    pub(crate) fn each_tally(&self, mut each: impl FnMut(RoomRef, u64)) {
        for alive in &self.alive {
            let events = alive.load.committed.since_mark();
            if events > 0 {
                each(*alive.key(), events);
            }
        }
    }

    /// Whether any room of a shard is awake.
    pub(crate) fn has_awake(&self, shard: ShardId) -> bool {
        self.in_shard[usize::from(shard.0)].load(Ordering::Acquire) > 0
    }

    fn each_in(&self, shard: ShardId, each: impl Fn(&Alive)) {
        self.alive.iter().filter(|alive| alive.key().shard() == shard).for_each(|a| each(&a));
    }

    /// Ends every room; what they had in flight stays with the lanes.
    pub(crate) fn stop(&self) {
        for alive in &self.alive {
            alive.actor.stop(None);
        }
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn cast_unchecked(&self, at: RoomRef, message: RoomMsg) -> bool {
        self.alive.get(&at).is_some_and(|alive| alive.actor.cast(message).is_ok())
    }
}

struct LiveSession {
    link: Arc<SessionLink>,
    mailbox: Arc<Mailbox>,
}

/// The sessions that are alive here. The two indexes change only together, in this struct.
pub(crate) struct Sessions {
    by_id: DashMap<SessionId, LiveSession>,
    by_user: DashMap<(TenantId, UserId), Vec<SessionId>>,
    pub(crate) tasks: Arc<Tasks>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { by_id: DashMap::new(), by_user: DashMap::new(), tasks: Tasks::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Enters a session; gives the user's oldest ones when there are too many now. They stay here
    /// until they end, which takes a while when nobody reads from them, so it may give them again.
    pub(crate) fn insert(
        &self,
        link: &Arc<SessionLink>,
        mailbox: Arc<Mailbox>,
    ) -> Vec<Arc<SessionLink>> {
        self.by_id.insert(link.id, LiveSession { link: link.clone(), mailbox });
        let too_many: Vec<SessionId> = {
            let mut of_user =
                self.by_user.entry((link.caller.tenant, link.caller.user)).or_default();
            of_user.push(link.id);
            let excess = of_user.len().saturating_sub(limits::USER_SESSIONS_MAX);
            of_user[..excess].to_vec()
        };
        too_many.into_iter().filter_map(|session| self.get(session)).collect()
    }

    pub(crate) fn remove(&self, link: &SessionLink) {
        self.by_id.remove(&link.id);
        let who = (link.caller.tenant, link.caller.user);
        if let Entry::Occupied(mut of_user) = self.by_user.entry(who) {
            of_user.get_mut().retain(|session| *session != link.id);
            if of_user.get().is_empty() {
                of_user.remove();
            }
        }
    }

    pub(crate) fn get(&self, session: SessionId) -> Option<Arc<SessionLink>> {
        self.by_id.get(&session).map(|live| live.link.clone())
    }

    pub(crate) fn of_user(&self, tenant: TenantId, user: UserId) -> Vec<Arc<SessionLink>> {
        let sessions = self.by_user.get(&(tenant, user)).map(|of_user| of_user.clone());
        sessions.unwrap_or_default().into_iter().filter_map(|session| self.get(session)).collect()
    }

    /// Tells a session, if the session is still here.
    pub(crate) fn tell(&self, session: SessionId, message: SessionMsg) {
        // The guard is given back first: a session that ends leaves these books.
        let mailbox = self.by_id.get(&session).map(|live| live.mailbox.clone());
        if let Some(mailbox) = mailbox {
            let _ = mailbox.tell(message);
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<SessionLink>> {
        self.by_id.iter().map(|live| live.link.clone()).collect()
    }

    /// Has every session tell a presence shard again what it knew of them.
    fn announce_presence(&self, shard: u8) {
        let all: Vec<_> = self.by_id.iter().map(|live| live.mailbox.clone()).collect();
        for mailbox in all {
            let _ = mailbox.tell(SessionMsg::AnnouncePresence(shard));
        }
    }

    pub(crate) fn stop(&self) {
        let all: Vec<_> = self.by_id.iter().map(|live| live.mailbox.clone()).collect();
        // Each leaves the books by itself.
        all.iter().for_each(|mailbox| mailbox.stop());
        self.tasks.stop();
    }
}

/// What the supervisor tells itself.
pub(crate) enum SupervisorMsg {
    Sweep,
    /// Start a room again that ended while it was followed.
    Revive(RoomRef),
}

pub(crate) struct Supervisor;

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = Arc<World>;
    type Arguments = Arc<World>;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        world: Arc<World>,
    ) -> Result<Arc<World>, ActorProcessingErr> {
        let entered = world.rooms.supervisor.set(myself.get_cell());
        assert!(entered.is_ok(), "a world has one supervisor");
        world.presence.supervise(myself.get_cell());
        myself.send_interval(SWEEP, || SupervisorMsg::Sweep);
        Ok(world)
    }

    async fn handle(
        &self,
        _: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        world: &mut Arc<World>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Sweep => world.rooms.sweep(),
            SupervisorMsg::Revive(at) => {
                // Its opening shows those who follow it, here or elsewhere, what they missed.
                if !world.is_draining() {
                    world.remote.want(at);
                }
            }
        }
        Ok(())
    }

    /// A child's end is not the supervisor's: it takes the room out of the books and, if anybody
    /// follows it, starts it again after a pause.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        world: &mut Arc<World>,
    ) -> Result<(), ActorProcessingErr> {
        let (actor, why) = match event {
            SupervisionEvent::ActorFailed(actor, error) => (actor, Some(error.to_string())),
            SupervisionEvent::ActorTerminated(actor, _, reason) => (actor, reason),
            _ => return Ok(()),
        };
        let at = world.rooms.places.get(&actor.get_id()).map(|place| *place);
        if at.is_none()
            && why.is_some()
            && let Some(shard) = world.presence.ended(actor.get_id())
            && !world.is_draining()
        {
            // Soft state: it comes back from the other nodes and the sessions that are alive.
            world.presence.revive(shard);
            world.sessions.announce_presence(shard);
        }
        match (at, why) {
            (Some(at), why) => {
                world.rooms.forget(at, actor.get_id());
                if let Some(why) = why {
                    metrics::counter!("parlance_room_failures_total").increment(1);
                    tracing::error!(room = %at, why, "a room ended");
                    myself.send_after(limits::ROOM_REOPEN, move || SupervisorMsg::Revive(at));
                }
            }
            (None, Some(why)) => tracing::error!(why, "an actor ended"),
            (None, None) => {}
        }
        Ok(())
    }
}
