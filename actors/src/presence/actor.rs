//! The presence actors and the way to them. What they decide is in [`super::shard`].

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::rendezvous;
use super::shard::{Outlet, Shard, View};
use super::state::{Tell, Who};
use crate::ports::Peers;
use crate::ports::peers::{Channel, Live, NotSent};
use crate::session::link::SessionLink;
use crate::session::{Output, PresenceStatus};
use crate::vocab::{NodeId, SessionId, TenantId, UserId};
use crate::wire::Envelope;
use crate::wire::presence::{PresenceFrame, Word};
use crate::world::World;

/// Groups of users.
const USER_SHARDS: usize = 256;

const fn user_shard(user: UserId) -> u8 {
    user.0.as_bytes()[15]
}

/// How a presence frame travels between nodes.
fn wrap(frame: &PresenceFrame) -> Bytes {
    Envelope::Presence(frame.encode().into()).encode()
}

/// What a presence actor is told. What comes from here comes from an admitted request or from the
/// beginning or the end of a session, so a session has at most a few of them waiting; what comes
/// from other nodes is gathered there.
pub(crate) enum PresenceMsg {
    Set(Who, SessionId, PresenceStatus),
    End(Who, SessionId),
    /// Instead of the first users, the session watches the second.
    Watch(Arc<SessionLink>, Vec<UserId>, Vec<UserId>),
    Unwatch(TenantId, SessionId, Vec<UserId>),
    Carry(Word),
    Frame(NodeId, Channel, PresenceFrame),
    Interrupted(NodeId, Channel),
    View(View),
    /// This is the successor of an actor that crashed.
    Succeed,
    Tick,
    /// Panics, for tests of supervision.
    #[cfg(any(test, feature = "testkit"))]
    Crash,
}

/// What a presence actor starts with.
pub(crate) struct PresenceArgs {
    shard: Shard,
    outside: Outside,
    started: Instant,
}

pub(crate) struct PresenceSeat {
    shard: Shard,
    outside: Outside,
    /// When the node began: the clock of every shard.
    started: Instant,
    /// When the next tick comes, while one does, and what cancels it.
    ticking: Option<(Duration, AbortHandle)>,
}

/// The sessions here and the other nodes, as a shard reaches them.
struct Outside {
    /// Those who watch users of this shard.
    watchers: HashMap<SessionId, Arc<SessionLink>>,
    peers: Arc<dyn Peers>,
}

impl Outlet for Outside {
    fn send(&mut self, to: NodeId, channel: Channel, frame: PresenceFrame) -> Result<(), NotSent> {
        self.peers.send(to, channel, wrap(&frame))
    }

    fn tell(&mut self, Tell { watcher, who, status }: Tell<SessionId>) {
        if let Some(link) = self.watchers.get(&watcher) {
            link.whisper(&Output::Presence { user: who.1, status });
        }
    }

    fn shed(&mut self, words: usize) {
        metrics::counter!("parlance_notices_shed_total").increment(words as u64);
    }
}

pub(crate) struct PresenceActor;

impl Actor for PresenceActor {
    type Msg = PresenceMsg;
    type State = PresenceSeat;
    type Arguments = PresenceArgs;

    async fn pre_start(
        &self,
        _: ActorRef<PresenceMsg>,
        PresenceArgs { shard, outside, started }: PresenceArgs,
    ) -> Result<PresenceSeat, ActorProcessingErr> {
        Ok(PresenceSeat { shard, outside, started, ticking: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<PresenceMsg>,
        message: PresenceMsg,
        seat: &mut PresenceSeat,
    ) -> Result<(), ActorProcessingErr> {
        seat.receive(message);
        seat.shard.tick(seat.started.elapsed(), &mut seat.outside);
        if let Some(due) = seat.shard.next_due()
            && seat.ticking.as_ref().is_none_or(|(next, _)| due < *next)
        {
            let wait = due.saturating_sub(seat.started.elapsed());
            let tick = myself.send_after(wait, || PresenceMsg::Tick).abort_handle();
            if let Some((_, later)) = seat.ticking.replace((due, tick)) {
                later.abort();
            }
        }
        Ok(())
    }
}

impl PresenceSeat {
    fn receive(&mut self, message: PresenceMsg) {
        let now = self.started.elapsed();
        let Self { shard, outside, .. } = self;
        match message {
            PresenceMsg::Set(who, session, status) => shard.set(who, session, status),
            PresenceMsg::End(who, session) => shard.end(who, session),
            PresenceMsg::Watch(link, before, users) => {
                let tenant = link.caller.tenant;
                outside.watchers.insert(link.id, link.clone());
                before.iter().for_each(|user| shard.unwatch((tenant, *user), link.id));
                users.iter().for_each(|user| shard.watch((tenant, *user), link.id, outside));
                if users.is_empty() {
                    outside.watchers.remove(&link.id);
                }
            }
            PresenceMsg::Unwatch(tenant, session, users) => {
                users.iter().for_each(|user| shard.unwatch((tenant, *user), session));
                outside.watchers.remove(&session);
            }
            PresenceMsg::Carry(word) => shard.carry(now, word, outside),
            PresenceMsg::Frame(from, channel, frame) => {
                shard.receive(now, (from, channel), frame, outside);
            }
            PresenceMsg::Interrupted(node, channel) => shard.interrupted(now, node, channel),
            PresenceMsg::View(view) => shard.changed(now, view),
            PresenceMsg::Succeed => shard.succeed(now),
            #[cfg(any(test, feature = "testkit"))]
            PresenceMsg::Crash => panic!("a test asked for it"),
            PresenceMsg::Tick => self.ticking = None,
        }
    }
}

/// Who is alive, as this node sees it.
struct Nodes {
    live: BTreeSet<NodeId>,
    /// When it changed last.
    since: Duration,
}

/// The 256 presence actors, started on demand.
pub(crate) struct Presence {
    node: NodeId,
    peers: Arc<dyn Peers>,
    nodes: Mutex<Nodes>,
    shards: Vec<Mutex<Option<ActorRef<PresenceMsg>>>>,
    supervisor: OnceLock<ActorCell>,
    started: Instant,
}

impl Presence {
    pub(crate) fn new(node: NodeId, peers: Arc<dyn Peers>) -> Self {
        let mut live = peers.live().borrow().nodes.clone();
        live.insert(node);
        let nodes = Mutex::new(Nodes { live, since: Duration::ZERO });
        let shards = (0..USER_SHARDS).map(|_| Mutex::new(None)).collect();
        let (supervisor, started) = (OnceLock::new(), Instant::now());
        Self { node, peers, nodes, shards, supervisor, started }
    }

    /// Who hears of an end of theirs. Set once, before the first of them starts.
    pub(crate) fn supervise(&self, supervisor: ActorCell) {
        let is_first = self.supervisor.set(supervisor).is_ok();
        assert!(is_first, "a world has one supervisor");
    }

    /// Other nodes are alive than before.
    pub(crate) fn live_changed(&self, live: &Live) {
        {
            let mut nodes = self.nodes.lock();
            nodes.live.clone_from(&live.nodes);
            nodes.live.insert(self.node);
            nodes.since = self.started.elapsed();
        }
        // One that starts from now on sees them by itself.
        for (number, place) in (0..=u8::MAX).zip(&self.shards) {
            if let Some(actor) = place.lock().as_ref() {
                let _ = actor.cast(PresenceMsg::View(self.view(number)));
            }
        }
    }

    /// Takes what another node says.
    pub(crate) fn receive(
        &self,
        world: &World,
        from: NodeId,
        channel: Channel,
        frame: PresenceFrame,
    ) {
        match frame {
            PresenceFrame::Deliver { words } => {
                words.into_iter().for_each(|word| world.tell_user_here(word.into()));
            }
            PresenceFrame::EndSessions { user } => {
                let (tenant, user) = user.into();
                world.end_sessions_here(tenant, user);
            }
            PresenceFrame::Carry { shard, words } => {
                words.iter().for_each(|word| world.tell_user_here(word.clone().into()));
                let frame = PresenceFrame::Carry { shard, words };
                self.cast(shard, PresenceMsg::Frame(from, channel, frame));
            }
            PresenceFrame::Whole { shard, .. }
            | PresenceFrame::Change { shard, .. }
            | PresenceFrame::Tells { shard, .. }
            | PresenceFrame::Ask { shard } => {
                self.cast(shard, PresenceMsg::Frame(from, channel, frame));
            }
        }
    }

    /// Frames from or to the node on the channel may have been lost.
    pub(crate) fn interrupted(&self, node: NodeId, channel: Channel) {
        for place in &self.shards {
            // One that has not started said nothing and knows nothing.
            if let Some(actor) = place.lock().as_ref() {
                let _ = actor.cast(PresenceMsg::Interrupted(node, channel));
            }
        }
    }

    /// Has the other nodes told that have sessions of the word's user.
    pub(crate) fn carry(&self, word: Word) {
        if self.nodes.lock().live.len() > 1 {
            self.cast(user_shard(word.user), PresenceMsg::Carry(word));
        }
    }

    /// Ends the user's sessions on the other nodes. A node that does not hear of it ends them when
    /// it looks their sign-ins up again.
    pub(crate) fn end_sessions_elsewhere(&self, tenant: TenantId, user: UserId) {
        let live = self.peers.live().borrow().clone();
        for node in live.nodes.iter().copied().filter(|node| *node != self.node) {
            let frame = PresenceFrame::EndSessions { user: (tenant, user).into() };
            if let Err(error) = self.peers.send(node, Channel::of_user(user), wrap(&frame)) {
                tracing::warn!(%node, %user, %error, "a node was not told to end a user's sessions");
            }
        }
    }

    fn view(&self, shard: u8) -> View {
        let live = self.nodes.lock().live.clone();
        let home = rendezvous::home(shard, live.iter().copied());
        View { home: home.expect("this node is among the live"), live }
    }

    fn cast(&self, shard: u8, message: PresenceMsg) {
        let mut place = self.shards[usize::from(shard)].lock();
        let actor = place.get_or_insert_with(|| self.start(shard));
        // What falls between an end and the next start is announced again.
        let _ = actor.cast(message);
    }

    fn start(&self, number: u8) -> ActorRef<PresenceMsg> {
        let supervisor = self.supervisor.get().expect("set before the first session").clone();
        let mut shard = Shard::new(self.node, number, self.view(number));
        shard.settle(self.nodes.lock().since);
        let outside = Outside { watchers: HashMap::new(), peers: self.peers.clone() };
        let args = PresenceArgs { shard, outside, started: self.started };
        let (actor, _starting) =
            ractor::ActorRuntime::spawn_linked_instant(None, PresenceActor, args, supervisor)
                .expect("an actor without a name always spawns");
        actor
    }

    /// Takes an actor that ended out of the books; its shard, if it was one of these.
    pub(crate) fn ended(&self, actor: ActorId) -> Option<u8> {
        let is_it = |place: &Mutex<Option<ActorRef<PresenceMsg>>>| {
            place.lock().as_ref().is_some_and(|known| known.get_id() == actor)
        };
        let shard = self.shards.iter().position(is_it)?;
        *self.shards[shard].lock() = None;
        u8::try_from(shard).ok()
    }

    /// Starts a shard anew that crashed: it asks the other nodes for what it knew of them.
    pub(crate) fn revive(&self, shard: u8) {
        self.cast(shard, PresenceMsg::Succeed);
    }

    /// Tells a shard that started anew what it knew of a session. Everybody counts as online
    /// until they say otherwise: presence is soft.
    pub(crate) fn announce(&self, link: &Arc<SessionLink>, watches: &[UserId], shard: u8) {
        if user_shard(link.caller.user) == shard {
            self.begin(link);
        }
        if let Some((_, users)) = by_shard(&[], watches).remove(&shard) {
            self.cast(shard, PresenceMsg::Watch(link.clone(), Vec::new(), users));
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
        for (shard, (before, _)) in by_shard(watches, &[]) {
            self.cast(shard, PresenceMsg::Unwatch(link.caller.tenant, link.id, before));
        }
    }

    pub(crate) fn watch(&self, link: &Arc<SessionLink>, before: &[UserId], now: &[UserId]) {
        for (shard, (before, now)) in by_shard(before, now) {
            self.cast(shard, PresenceMsg::Watch(link.clone(), before, now));
        }
    }

    pub(crate) fn stop(&self) {
        for actor in self.shards.iter().filter_map(|place| place.lock().take()) {
            actor.stop(None);
        }
    }
}

/// The users whom a session watched and those whom it watches now, by their shards.
fn by_shard(before: &[UserId], now: &[UserId]) -> HashMap<u8, (Vec<UserId>, Vec<UserId>)> {
    let mut shards: HashMap<u8, (Vec<UserId>, Vec<UserId>)> = HashMap::new();
    for user in before {
        shards.entry(user_shard(*user)).or_default().0.push(*user);
    }
    for user in now {
        shards.entry(user_shard(*user)).or_default().1.push(*user);
    }
    shards
}
