//! The presence actors and the way to them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::state::{PresenceState, Tell, Who};
use crate::session::link::SessionLink;
use crate::session::{Output, PresenceStatus};
use crate::vocab::{SessionId, TenantId, UserId};

/// Groups of users.
const USER_SHARDS: usize = 256;

const fn user_shard(user: UserId) -> usize {
    user.0.as_bytes()[15] as usize
}

/// What a presence actor is told. Each comes from an admitted request or from the beginning or
/// the end of a session, so a session has at most a few of them waiting.
pub(crate) enum PresenceMsg {
    Set(Who, SessionId, PresenceStatus),
    End(Who, SessionId),
    Watch(Arc<SessionLink>, Vec<UserId>),
    Unwatch(TenantId, SessionId, Vec<UserId>),
    Tick,
    /// Panics, for tests of supervision.
    #[cfg(any(test, feature = "testkit"))]
    Crash,
}

pub(crate) struct Shard {
    state: PresenceState,
    /// Those who watch users of this shard.
    watchers: HashMap<SessionId, Arc<SessionLink>>,
    started: Instant,
    /// When the next tick comes, while one does, and what cancels it.
    ticking: Option<(Duration, AbortHandle)>,
}

pub(crate) struct PresenceActor;

impl Actor for PresenceActor {
    type Msg = PresenceMsg;
    type State = Shard;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<PresenceMsg>,
        (): (),
    ) -> Result<Shard, ActorProcessingErr> {
        Ok(Shard {
            state: PresenceState::default(),
            watchers: HashMap::new(),
            started: Instant::now(),
            ticking: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<PresenceMsg>,
        message: PresenceMsg,
        shard: &mut Shard,
    ) -> Result<(), ActorProcessingErr> {
        shard.receive(message);
        if let Some(due) = shard.state.next_due()
            && shard.ticking.as_ref().is_none_or(|(next, _)| due < *next)
        {
            let wait = due.saturating_sub(shard.started.elapsed());
            let tick = myself.send_after(wait, || PresenceMsg::Tick).abort_handle();
            if let Some((_, later)) = shard.ticking.replace((due, tick)) {
                later.abort();
            }
        }
        Ok(())
    }
}

impl Shard {
    fn receive(&mut self, message: PresenceMsg) {
        let now = self.started.elapsed();
        match message {
            PresenceMsg::Set(who, session, status) => self.state.set(now, who, session, status),
            PresenceMsg::End(who, session) => self.state.end(now, who, session),
            PresenceMsg::Watch(link, users) => {
                self.watchers.insert(link.id, link.clone());
                for user in users {
                    let tell = self.state.watch((link.caller.tenant, user), link.id);
                    self.tell(tell);
                }
            }
            PresenceMsg::Unwatch(tenant, session, users) => {
                for user in users {
                    self.state.unwatch((tenant, user), session);
                }
                self.watchers.remove(&session);
            }
            #[cfg(any(test, feature = "testkit"))]
            PresenceMsg::Crash => panic!("a test asked for it"),
            PresenceMsg::Tick => {
                self.ticking = None;
                self.state.tick(now).into_iter().for_each(|tell| self.tell(tell));
            }
        }
    }

    fn tell(&self, Tell { watcher, user, status }: Tell) {
        if let Some(link) = self.watchers.get(&watcher) {
            link.whisper(&Output::Presence { user, status });
        }
    }
}

/// The 256 presence actors, started on demand.
pub(crate) struct Presence {
    shards: Vec<Mutex<Option<ActorRef<PresenceMsg>>>>,
    supervisor: OnceLock<ActorCell>,
}

impl Presence {
    pub(crate) fn new() -> Self {
        let shards = (0..USER_SHARDS).map(|_| Mutex::new(None)).collect();
        Self { shards, supervisor: OnceLock::new() }
    }

    /// Who hears of an end of theirs. Set once, before the first of them starts.
    pub(crate) fn supervise(&self, supervisor: ActorCell) {
        let is_first = self.supervisor.set(supervisor).is_ok();
        assert!(is_first, "a world has one supervisor");
    }

    fn cast(&self, shard: usize, message: PresenceMsg) {
        let mut place = self.shards[shard].lock();
        let actor = place.get_or_insert_with(|| {
            let supervisor = self.supervisor.get().expect("set before the first session").clone();
            let (actor, _starting) =
                ractor::ActorRuntime::spawn_linked_instant(None, PresenceActor, (), supervisor)
                    .expect("an actor without a name always spawns");
            actor
        });
        // What falls between an end and the next start is announced again.
        let _ = actor.cast(message);
    }

    /// Takes an actor that ended out of the books; its shard, if it was one of these.
    pub(crate) fn ended(&self, actor: ActorId) -> Option<usize> {
        let is_it = |place: &Mutex<Option<ActorRef<PresenceMsg>>>| {
            place.lock().as_ref().is_some_and(|known| known.get_id() == actor)
        };
        let shard = self.shards.iter().position(is_it)?;
        *self.shards[shard].lock() = None;
        Some(shard)
    }

    /// Tells a shard that started anew what it knew of a session. Everybody counts as online
    /// until they say otherwise: presence is soft.
    pub(crate) fn announce(&self, link: &Arc<SessionLink>, watches: &[UserId], shard: usize) {
        if user_shard(link.caller.user) == shard {
            self.begin(link);
        }
        if let Some(users) = by_shard(watches).remove(&shard) {
            self.cast(shard, PresenceMsg::Watch(link.clone(), users));
        }
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn crash(&self, user: UserId) {
        self.cast(user_shard(user), PresenceMsg::Crash);
    }

    pub(crate) fn begin(&self, link: &SessionLink) {
        self.set(link, PresenceStatus::Online);
    }

    pub(crate) fn set(&self, link: &SessionLink, status: PresenceStatus) {
        let who = (link.caller.tenant, link.caller.user);
        self.cast(user_shard(who.1), PresenceMsg::Set(who, link.id, status));
    }

    pub(crate) fn end(&self, link: &SessionLink, watches: &[UserId]) {
        let who = (link.caller.tenant, link.caller.user);
        self.cast(user_shard(who.1), PresenceMsg::End(who, link.id));
        self.unwatch(link, watches);
    }

    pub(crate) fn watch(&self, link: &Arc<SessionLink>, before: &[UserId], now: &[UserId]) {
        self.unwatch(link, before);
        for (shard, users) in by_shard(now) {
            self.cast(shard, PresenceMsg::Watch(link.clone(), users));
        }
    }

    fn unwatch(&self, link: &SessionLink, users: &[UserId]) {
        for (shard, users) in by_shard(users) {
            self.cast(shard, PresenceMsg::Unwatch(link.caller.tenant, link.id, users));
        }
    }

    pub(crate) fn stop(&self) {
        for actor in self.shards.iter().filter_map(|place| place.lock().take()) {
            actor.stop(None);
        }
    }
}

fn by_shard(users: &[UserId]) -> HashMap<usize, Vec<UserId>> {
    let mut shards: HashMap<usize, Vec<UserId>> = HashMap::new();
    for user in users {
        shards.entry(user_shard(*user)).or_default().push(*user);
    }
    shards
}
