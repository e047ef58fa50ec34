//! The part of a user shard on its home: for each user the status that each node reports, and which
//! nodes watch. Pure. It debounces and has the grace ([`PresenceState`], with nodes as sources and
//! watchers), and knows which nodes owe it what they know.
//!
//! It does not ask whether this node is the home by its own view of who is alive: it serves those
//! who take it for their home, and forgets those who say that they no longer do.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::local::Changes;
use super::state::{PresenceState, Tell, Who};
use crate::limits::{PRESENCE_RETRY, PRESENCE_SETTLE};
use crate::ports::peers::Channel;
use crate::session::PresenceStatus;
use crate::vocab::NodeId;

/// How this home stands with a node on a channel.
#[derive(Debug, Default)]
struct Standing {
    /// While a whole comes in: what was known before and was not said again yet.
    stale: Option<Stale>,
    /// The node is to tell everything again.
    owes: Option<Owes>,
}

#[derive(Debug, Default)]
struct Stale {
    present: HashSet<Who>,
    watched: HashSet<Who>,
}

#[derive(Debug, Clone, Copy)]
struct Owes {
    since: Duration,
    ask_at: Duration,
    /// Until when what it said before counts.
    keep_until: Option<Duration>,
}

impl Owes {
    fn due(&self) -> Duration {
        self.keep_until.map_or(self.ask_at, |until| until.min(self.ask_at))
    }
}

/// One user shard's home.
#[derive(Debug, Default)]
pub(crate) struct Home {
    users: PresenceState<NodeId>,
    /// Before this, that somebody is offline may only mean that their node has not spoken yet.
    settled_at: Duration,
    /// Who is to be told then.
    held: BTreeSet<(NodeId, Who)>,
    nodes: BTreeMap<(NodeId, Channel), Standing>,
    /// Nodes of which everything was forgotten because they did not seem alive. If that was wrong
    /// they do not know of it.
    forgotten: BTreeSet<NodeId>,
}

impl Home {
    /// This node has just become the home, and others have yet to say what they know.
    pub(crate) fn settle(&mut self, now: Duration) {
        self.settled_at = now + PRESENCE_SETTLE;
    }

    /// There is nobody who could have more to say.
    pub(crate) fn is_settled(&mut self, now: Duration) {
        self.settled_at = self.settled_at.min(now);
    }

    /// A node that said everything says what changed. `None` when it is not known to have said
    /// everything: it was asked for that.
    pub(crate) fn change(
        &mut self,
        now: Duration,
        from: NodeId,
        channel: Channel,
        changes: &Changes,
    ) -> Option<Vec<Tell<NodeId>>> {
        if let Some(standing) = self.nodes.get(&(from, channel))
            && standing.owes.is_none_or(|owes| owes.keep_until.is_some())
        {
            return Some(self.take(now, from, changes));
        }
        let owes = Owes { since: now, ask_at: now, keep_until: None };
        self.nodes.entry((from, channel)).or_default().owes.get_or_insert(owes);
        None
    }

    /// Takes what a node says. This node's own part is always believed.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        from: NodeId,
        changes: &Changes,
    ) -> Vec<Tell<NodeId>> {
        for (who, status) in &changes.present {
            match status {
                PresenceStatus::Offline => self.users.end(now, *who, from),
                PresenceStatus::Away | PresenceStatus::Online => {
                    self.users.set(now, *who, from, *status);
                }
            }
        }
        for who in &changes.unwatch {
            self.unwatch(*who, from);
        }
        // First those who watched before, so that who comes now is told the newest, once.
        let mut tells = self.users.tick(now);
        for who in &changes.watch {
            let tell = self.users.watch(*who, from);
            if tell.status == PresenceStatus::Offline && now < self.settled_at {
                self.held.insert((from, *who));
            } else {
                tells.push(tell);
            }
        }
        tells
    }

    /// A node says everything that it knows of users on the channel, in parts.
    pub(crate) fn whole(
        &mut self,
        now: Duration,
        (from, channel): (NodeId, Channel),
        (first, last): (bool, bool),
        changes: &Changes,
    ) -> Vec<Tell<NodeId>> {
        let is_on = |who: &Who| Channel::of_user(who.1) == channel;
        if first {
            let stale = Stale {
                present: self.users.of_source(from).filter(is_on).collect(),
                watched: self.users.of_watcher(from).filter(is_on).collect(),
            };
            self.nodes.insert((from, channel), Standing { stale: Some(stale), owes: None });
        }
        let Some(stale) =
            self.nodes.get_mut(&(from, channel)).and_then(|standing| standing.stale.as_mut())
        else {
            // The beginning was lost: it comes again, or is asked for.
            self.change(now, from, channel, &Changes::default());
            return Vec::new();
        };
        for (who, _) in &changes.present {
            stale.present.remove(who);
        }
        for who in &changes.watch {
            stale.watched.remove(who);
        }
        let mut tells = self.take(now, from, changes);
        if last {
            let standing = self.nodes.get_mut(&(from, channel));
            let stale = standing.and_then(|standing| standing.stale.take()).unwrap_or_default();
            stale.present.into_iter().for_each(|who| self.users.end(now, who, from));
            stale.watched.into_iter().for_each(|who| self.unwatch(who, from));
            tells.extend(self.users.tick(now));
        }
        tells
    }

    /// Something may have been lost on the way from the node: it says everything again, or what it
    /// said is dropped after [`PRESENCE_SETTLE`].
    pub(crate) fn interrupted(&mut self, now: Duration, node: NodeId, channel: Channel) {
        if let Some(standing) = self.nodes.get_mut(&(node, channel)) {
            let keep_until = Some(now + PRESENCE_SETTLE);
            let owes = Owes { since: now, ask_at: now + PRESENCE_RETRY, keep_until };
            standing.stale = None;
            standing.owes.get_or_insert(owes);
        }
    }

    /// A node does not seem alive, or, this node itself, has its home elsewhere now.
    pub(crate) fn gone(&mut self, now: Duration, node: NodeId) {
        for channel in Channel::all() {
            if self.nodes.remove(&(node, channel)).is_some() {
                self.forgotten.insert(node);
            }
            self.forget(now, node, channel);
        }
    }

    /// A node is seen alive again. If it never went, it does not know that it was forgotten.
    pub(crate) fn returned(&mut self, now: Duration, node: NodeId) {
        if self.forgotten.remove(&node) {
            self.lost(now, node);
        }
    }

    /// What a node said was lost here: it is asked for everything.
    pub(crate) fn lost(&mut self, now: Duration, node: NodeId) {
        for channel in Channel::all() {
            let owes = Some(Owes { since: now, ask_at: now, keep_until: None });
            self.nodes.insert((node, channel), Standing { stale: None, owes });
        }
    }

    /// The nodes that have sessions of the user.
    pub(crate) fn nodes_of(&self, who: Who) -> impl Iterator<Item = NodeId> {
        self.users.sources(who)
    }

    /// How those are seen whom the node watches, unless that is not settled yet.
    pub(crate) fn watched_by(&self, node: NodeId) -> impl Iterator<Item = Tell<NodeId>> {
        let users =
            self.users.of_watcher(node).filter(move |who| !self.held.contains(&(node, *who)));
        users.map(move |who| Tell { watcher: node, who, status: self.users.shown(who) })
    }

    pub(crate) fn is_watched_by(&self, who: Who, node: NodeId) -> bool {
        self.users.is_watched_by(who, node)
    }

    /// Tells what has become due, and whom to ask for everything.
    pub(crate) fn tick(
        &mut self,
        now: Duration,
        live: &BTreeSet<NodeId>,
    ) -> (Vec<Tell<NodeId>>, Vec<(NodeId, Channel)>) {
        let asks = self.collect(now, live);
        let mut tells = self.users.tick(now);
        if self.settled_at <= now {
            for (watcher, who) in std::mem::take(&mut self.held) {
                if self.users.is_watched_by(who, watcher) {
                    tells.push(Tell { watcher, who, status: self.users.shown(who) });
                }
            }
        }
        (tells, asks)
    }

    /// When [`Home::tick`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let owed = self.nodes.values().filter_map(|standing| standing.owes.as_ref().map(Owes::due));
        let held = (!self.held.is_empty()).then_some(self.settled_at);
        owed.chain(held).chain(self.users.next_due()).min()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.held.is_empty()
    }

    /// Looks after those who owe: drops what is too old, and says whom to ask.
    fn collect(&mut self, now: Duration, live: &BTreeSet<NodeId>) -> Vec<(NodeId, Channel)> {
        let (mut asks, mut too_old) = (Vec::new(), Vec::new());
        self.nodes.retain(|(node, channel), standing| {
            let Some(owes) = &mut standing.owes else { return true };
            if owes.keep_until.is_some_and(|until| until <= now) {
                owes.keep_until = None;
                too_old.push((*node, *channel, owes.since));
            }
            if owes.ask_at <= now {
                owes.ask_at = now + PRESENCE_RETRY;
                asks.push((*node, *channel));
            }
            // Who is not alive and left nothing is not asked for ever.
            owes.keep_until.is_some() || live.contains(node)
        });
        for (node, channel, since) in too_old {
            // The grace counts from when the node was heard last.
            self.forget(since, node, channel);
        }
        asks
    }

    fn forget(&mut self, since: Duration, node: NodeId, channel: Channel) {
        let is_on = |who: &Who| Channel::of_user(who.1) == channel;
        let present: Vec<Who> = self.users.of_source(node).filter(is_on).collect();
        let watched: Vec<Who> = self.users.of_watcher(node).filter(is_on).collect();
        present.into_iter().for_each(|who| self.users.end(since, who, node));
        watched.into_iter().for_each(|who| self.unwatch(who, node));
    }

    fn unwatch(&mut self, who: Who, watcher: NodeId) {
        self.users.unwatch(who, watcher);
        self.held.remove(&(watcher, who));
    }
}
