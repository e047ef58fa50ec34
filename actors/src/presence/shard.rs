//! One user shard on one node: its local part, its part as a home, and the ways to the other nodes.
//! No clock and no runtime: the time is given, and what goes out goes through an [`Outlet`].
//!
//! What a home is told is the difference to what it was told before; before that, and after
//! anything that may have been lost, everything. What waits for a way holds one entry a user, so a
//! newer status replaces an older one and nothing else is ever dropped; only notices are shed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::home::Home;
use super::local::{Changes, Local};
use super::recent::Recent;
use super::state::{Tell, Who};
use crate::limits;
use crate::ports::peers::{Channel, NotSent};
use crate::session::PresenceStatus;
use crate::vocab::{NodeId, SessionId, TenantId, UserId};
use crate::wire::presence::{PresenceFrame, WirePresent, WireUser, WireWord, Word};

/// What a shard does to the world.
pub(crate) trait Outlet {
    /// Sends a frame to another node.
    fn send(&mut self, to: NodeId, channel: Channel, frame: PresenceFrame) -> Result<(), NotSent>;
    /// Tells a session here.
    fn tell(&mut self, tell: Tell<SessionId>);
    /// Notices were dropped.
    fn shed(&mut self, words: usize);
}

/// The live nodes, and which of them is the shard's home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) home: NodeId,
    pub(crate) live: BTreeSet<NodeId>,
}

/// What waits for a way to another node.
#[derive(Debug, Default)]
struct Way {
    /// The node is the home and was told everything.
    announced: bool,
    /// A whole has to go, were it empty: what the node knows of this one may be wrong.
    owes_whole: bool,
    tells: HashMap<Who, PresenceStatus>,
    carry: Vec<WireWord>,
    deliver: Vec<WireWord>,
    /// When it goes, while something waits.
    due: Option<Duration>,
    quiet_until: Duration,
}

impl Way {
    /// Something waits: it goes at once when the way was quiet.
    fn wake(&mut self, now: Duration) {
        let due = now.max(self.quiet_until);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// The node does not seem alive. Whether the way is to be kept: should the node have lived all
    /// along, it is told what became of what it was told before.
    fn close(&mut self) -> bool {
        let owes_whole = self.owes_whole || self.announced;
        *self = Self { owes_whole, ..Self::default() };
        owes_whole
    }
}

/// One user shard on one node.
#[derive(Debug)]
pub(crate) struct Shard {
    me: NodeId,
    number: u8,
    view: View,
    local: Local,
    here: Home,
    recent: Recent,
    ways: BTreeMap<(NodeId, Channel), Way>,
    /// This is the successor of an actor that crashed: it does not know who was told what, nor
    /// what it was told.
    is_successor: bool,
}

impl Shard {
    /// A shard of which this node knows nothing yet.
    pub(crate) fn new(me: NodeId, number: u8, view: View) -> Self {
        Self {
            me,
            number,
            view,
            local: Local::default(),
            here: Home::default(),
            recent: Recent::default(),
            ways: BTreeMap::new(),
            is_successor: false,
        }
    }

    /// Nodes came since then, or the home is another: some have yet to say what they know.
    pub(crate) fn settle(&mut self, since: Duration) {
        if self.view.live.len() > 1 {
            self.here.settle(since);
        }
    }

    /// What this node knew of the shard was lost: it tells every other node everything, for most
    /// of them nothing, and asks for what they know.
    pub(crate) fn succeed(&mut self, now: Duration) {
        self.is_successor = true;
        self.settle(now);
        let mut others = self.view.live.clone();
        others.remove(&self.me);
        others.into_iter().for_each(|node| self.begin(now, node));
    }

    fn begin(&mut self, now: Duration, node: NodeId) {
        self.here.lost(now, node);
        for channel in Channel::all() {
            let way = self.ways.entry((node, channel)).or_default();
            way.owes_whole = true;
            // By then sessions have said what they know.
            way.quiet_until = now + limits::PRESENCE_GATHER;
            way.wake(now);
        }
    }

    pub(crate) fn set(&mut self, who: Who, session: SessionId, status: PresenceStatus) {
        self.local.set(who, session, status);
    }

    pub(crate) fn end(&mut self, who: Who, session: SessionId) {
        self.local.end(who, session);
    }

    pub(crate) fn watch(&mut self, who: Who, watcher: SessionId, out: &mut dyn Outlet) {
        if let Some(tell) = self.local.watch(who, watcher) {
            out.tell(tell);
        }
    }

    pub(crate) fn unwatch(&mut self, who: Who, watcher: SessionId) {
        self.local.unwatch(who, watcher);
    }

    /// Has the other nodes told that have sessions of the word's user.
    pub(crate) fn carry(&mut self, now: Duration, word: Word, out: &mut dyn Outlet) {
        if self.view.home == self.me {
            self.deliver(now, self.me, &word.into(), out);
        } else {
            let way = self.ways.entry((self.view.home, Channel::of_user(word.user))).or_default();
            way.wake(now);
            push_word(&mut way.carry, word.into(), out);
        }
    }

    /// Other nodes are alive, or the shard's home is another.
    pub(crate) fn changed(&mut self, now: Duration, view: View) {
        let before = std::mem::replace(&mut self.view, view);
        let gone: BTreeSet<NodeId> = before.live.difference(&self.view.live).copied().collect();
        let come: BTreeSet<NodeId> = self.view.live.difference(&before.live).copied().collect();
        gone.iter().for_each(|node| self.here.gone(now, *node));
        if self.is_successor {
            come.iter().for_each(|node| self.begin(now, *node));
        } else {
            come.iter().for_each(|node| self.here.returned(now, *node));
        }
        self.ways.retain(|(node, _), way| !gone.contains(node) || way.close());
        for node in &come {
            let again: Vec<_> = self.here.watched_by(*node).collect();
            self.queue_tells(now, again);
            let ways = self.ways.range_mut((*node, Channel(0))..=(*node, Channel(u8::MAX)));
            ways.for_each(|(_, way)| way.wake(now));
        }
        if self.view.live.len() == 1 {
            self.here.is_settled(now);
        } else if !come.is_empty() || before.home != self.view.home {
            self.here.settle(now);
        }
        if before.home != self.view.home {
            self.moved(now, before.home);
        }
    }

    fn moved(&mut self, now: Duration, before: NodeId) {
        if before == self.me {
            self.here.gone(now, self.me);
        }
        for channel in Channel::all() {
            self.local.unsay(channel);
            if let Some(way) = self.ways.get_mut(&(before, channel))
                && std::mem::take(&mut way.announced)
            {
                way.owes_whole = true;
                way.wake(now);
            }
        }
    }

    /// Frames from or to the node may have been lost.
    pub(crate) fn interrupted(&mut self, now: Duration, node: NodeId, channel: Channel) {
        self.here.interrupted(now, node, channel);
        if let Some(way) = self.ways.get_mut(&(node, channel)) {
            way.owes_whole |= std::mem::take(&mut way.announced);
            way.wake(now);
        }
    }

    /// Takes what a node says of this shard.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        (from, channel): (NodeId, Channel),
        frame: PresenceFrame,
        out: &mut dyn Outlet,
    ) {
        match frame {
            PresenceFrame::Whole { first, last, present, watched, .. } => {
                let changes = Changes {
                    present: statuses(&present),
                    watch: users(&watched),
                    unwatch: Vec::new(),
                };
                self.catch_up(now, from, &changes, out);
                let tells = self.here.whole(now, (from, channel), (first, last), &changes);
                self.route(now, tells, out);
            }
            PresenceFrame::Change { present, watch, unwatch, .. } => {
                let changes = Changes {
                    present: statuses(&present),
                    watch: users(&watch),
                    unwatch: users(&unwatch),
                };
                self.catch_up(now, from, &changes, out);
                let tells = self.here.change(now, from, channel, &changes);
                self.route(now, tells.unwrap_or_default(), out);
            }
            PresenceFrame::Tells { tells, .. } if from == self.view.home => {
                for (who, status) in statuses(&tells) {
                    self.local.told(who, status).into_iter().for_each(|tell| out.tell(tell));
                }
            }
            PresenceFrame::Ask { .. } => {
                let way = self.ways.entry((from, channel)).or_default();
                (way.announced, way.owes_whole) = (false, true);
                way.wake(now);
            }
            PresenceFrame::Carry { words, .. } => {
                words.iter().for_each(|word| self.deliver(now, from, word, out));
            }
            // A node that is no longer the home, or frames that concern no shard.
            PresenceFrame::Tells { .. }
            | PresenceFrame::Deliver { .. }
            | PresenceFrame::EndSessions { .. } => {}
        }
    }

    /// Does what is due: to be called after everything else, and at [`Shard::next_due`].
    pub(crate) fn tick(&mut self, now: Duration, out: &mut dyn Outlet) {
        if self.view.home == self.me {
            let changes = self.local.take(None, usize::MAX);
            let tells = self.here.take(now, self.me, &changes);
            self.route(now, tells, out);
        } else {
            self.wake_unsaid(now);
        }
        self.recent.forget(now);
        let (tells, asks) = self.here.tick(now, &self.view.live);
        self.route(now, tells, out);
        for (node, channel) in asks {
            // One that is not sent is tried again: the home asks until it is answered.
            let _ = out.send(node, channel, PresenceFrame::Ask { shard: self.number });
        }
        let due = |way: &Way| way.due.is_some_and(|due| due <= now);
        let ways: Vec<_> =
            self.ways.iter().filter(|(_, way)| due(way)).map(|(way, _)| *way).collect();
        ways.into_iter().for_each(|(node, channel)| self.flush(now, node, channel, out));
    }

    /// When [`Shard::tick`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let ways = self.ways.values().filter_map(|way| way.due);
        ways.chain(self.here.next_due()).chain(self.recent.next_due()).min()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let idle = |way: &Way| way.tells.is_empty() && way.due.is_none();
        let is_silent = self.recent.next_due().is_none();
        is_silent && self.local.is_empty() && self.here.is_empty() && self.ways.values().all(idle)
    }

    fn wake_unsaid(&mut self, now: Duration) {
        for channel in Channel::all() {
            if self.local.has_unsaid(channel) {
                self.ways.entry((self.view.home, channel)).or_default().wake(now);
            }
        }
    }

    /// Brings a home's tells on their way.
    fn route(&mut self, now: Duration, tells: Vec<Tell<NodeId>>, out: &mut dyn Outlet) {
        for Tell { watcher, who, status } in tells {
            if watcher == self.me {
                self.local.told(who, status).into_iter().for_each(|tell| out.tell(tell));
            } else {
                self.queue_tells(now, [Tell { watcher, who, status }]);
            }
        }
    }

    fn queue_tells(&mut self, now: Duration, tells: impl IntoIterator<Item = Tell<NodeId>>) {
        for Tell { watcher, who, status } in tells {
            let way = self.ways.entry((watcher, Channel::of_user(who.1))).or_default();
            way.tells.insert(who, status);
            way.wake(now);
        }
    }

    /// Brings a word on its way to every node with sessions of its user, but not back.
    fn deliver(&mut self, now: Duration, from: NodeId, word: &WireWord, out: &mut dyn Outlet) {
        let who = word.who();
        if word.is_of_feed() {
            self.recent.push(now, from, word);
        }
        let elsewhere = |node: &NodeId| *node != from && *node != self.me;
        for node in self.here.nodes_of(who).filter(elsewhere) {
            let way = self.ways.entry((node, Channel::of_user(who.1))).or_default();
            way.wake(now);
            push_word(&mut way.deliver, word.clone(), out);
        }
    }

    /// Brings recent words on their way to a node that has its first session of their user.
    fn catch_up(&mut self, now: Duration, node: NodeId, said: &Changes, out: &mut dyn Outlet) {
        if self.recent.next_due().is_none() {
            return;
        }
        for (who, status) in &said.present {
            let is_new = *status != PresenceStatus::Offline
                && self.here.nodes_of(*who).all(|known| known != node);
            for word in self.recent.missed_by(now, node, *who).filter(|_| is_new) {
                let way = self.ways.entry((node, Channel::of_user(who.1))).or_default();
                way.wake(now);
                push_word(&mut way.deliver, word.clone(), out);
            }
        }
    }

    /// Sends what waits for a way. What could not be sent is tried again, but for notices.
    fn flush(&mut self, now: Duration, node: NodeId, channel: Channel, out: &mut dyn Outlet) {
        let sent = self.say(node, channel, out).and_then(|()| self.tell_node(node, channel, out));
        let shed = self.send_words(node, channel, out);
        if shed > 0 {
            out.shed(shed);
        }
        let Some(way) = self.ways.get_mut(&(node, channel)) else { return };
        if sent.is_ok() {
            (way.due, way.quiet_until) = (None, now + limits::PRESENCE_GATHER);
        } else if self.view.live.contains(&node) {
            way.quiet_until = now + limits::PRESENCE_RETRY;
            way.due = Some(way.quiet_until);
        } else {
            // It is told everything should it be seen alive.
            way.due = None;
            way.tells.clear();
        }
    }

    /// Says to a home what it does not know.
    fn say(&mut self, node: NodeId, channel: Channel, out: &mut dyn Outlet) -> Result<(), NotSent> {
        let Some(way) = self.ways.get_mut(&(node, channel)) else { return Ok(()) };
        let is_home = node == self.view.home;
        let (shard, max) = (self.number, limits::PRESENCE_BATCH_MAX);
        if way.owes_whole || (is_home && !way.announced && self.local.has_any(channel)) {
            (way.announced, way.owes_whole) = (false, true);
            let mut first = true;
            loop {
                let mut changes = Changes::default();
                if is_home {
                    if first {
                        self.local.unsay(channel);
                    }
                    changes = self.local.take(Some(channel), max);
                }
                let last = !is_home || !self.local.has_unsaid(channel);
                let (present, watched) = (wire_statuses(changes.present), wire(changes.watch));
                out.send(
                    node,
                    channel,
                    PresenceFrame::Whole { shard, first, last, present, watched },
                )?;
                first = false;
                if last {
                    break;
                }
            }
            (way.announced, way.owes_whole) = (is_home, false);
        }
        while is_home && way.announced && self.local.has_unsaid(channel) {
            let changes = self.local.take(Some(channel), max);
            if changes.is_empty() {
                continue;
            }
            let (watch, unwatch) = (wire(changes.watch), wire(changes.unwatch));
            let present = wire_statuses(changes.present);
            let change = PresenceFrame::Change { shard, present, watch, unwatch };
            if let Err(error) = out.send(node, channel, change) {
                // What it was told last is not certain any more.
                (way.announced, way.owes_whole) = (false, true);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tells a node that watches how users are seen.
    fn tell_node(
        &mut self,
        node: NodeId,
        channel: Channel,
        out: &mut dyn Outlet,
    ) -> Result<(), NotSent> {
        let Some(way) = self.ways.get_mut(&(node, channel)) else { return Ok(()) };
        way.tells.retain(|who, _| self.here.is_watched_by(*who, node));
        while !way.tells.is_empty() {
            let batch = way.tells.iter().take(limits::PRESENCE_BATCH_MAX);
            let batch: Vec<_> = batch.map(|(who, status)| (*who, *status)).collect();
            let tells = wire_statuses(batch.clone());
            out.send(node, channel, PresenceFrame::Tells { shard: self.number, tells })?;
            for (who, _) in &batch {
                way.tells.remove(who);
            }
        }
        Ok(())
    }

    /// Sends notices; how many were not sent.
    fn send_words(&mut self, node: NodeId, channel: Channel, out: &mut dyn Outlet) -> usize {
        let Some(way) = self.ways.get_mut(&(node, channel)) else { return 0 };
        let shard = self.number;
        let (carry, deliver) = (std::mem::take(&mut way.carry), std::mem::take(&mut way.deliver));
        let mut shed = 0;
        for words in carry.chunks(limits::PRESENCE_WORDS_BATCH_MAX) {
            let frame = PresenceFrame::Carry { shard, words: words.to_vec() };
            shed += out.send(node, channel, frame).map_or(words.len(), |()| 0);
        }
        for words in deliver.chunks(limits::PRESENCE_WORDS_BATCH_MAX) {
            let frame = PresenceFrame::Deliver { words: words.to_vec() };
            shed += out.send(node, channel, frame).map_or(words.len(), |()| 0);
        }
        shed
    }
}

fn push_word(words: &mut Vec<WireWord>, word: WireWord, out: &mut dyn Outlet) {
    if words.len() < limits::PRESENCE_WORDS_MAX {
        words.push(word);
    } else {
        out.shed(1);
    }
}

fn statuses(present: &[WirePresent]) -> Vec<(Who, PresenceStatus)> {
    present.iter().map(|present| (present.who(), present.status())).collect()
}

fn users(users: &[WireUser]) -> Vec<(TenantId, UserId)> {
    users.iter().map(|user| (*user).into()).collect()
}

fn wire(users: Vec<Who>) -> Vec<WireUser> {
    users.into_iter().map(WireUser::from).collect()
}

fn wire_statuses(present: Vec<(Who, PresenceStatus)>) -> Vec<WirePresent> {
    present.into_iter().map(|(who, status)| WirePresent::new(who, status)).collect()
}
