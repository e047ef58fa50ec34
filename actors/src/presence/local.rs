//! The part of a user shard on each node: this node's sessions of its users, and this node's
//! watchers. Pure. It knows what it last said to the shard's home, and gives what changed since;
//! it does not debounce what watchers are told, which is the home's work.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::state::{Tell, Who};
use crate::ports::peers::Channel;
use crate::session::PresenceStatus;
use crate::vocab::{SessionId, TenantId, UserId};

/// What a node tells a home: each user at most once in each list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The node's users. One without sessions is offline.
    pub(crate) present: Vec<(Who, PresenceStatus)>,
    pub(crate) watch: Vec<Who>,
    pub(crate) unwatch: Vec<Who>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.present.is_empty() && self.watch.is_empty() && self.unwatch.is_empty()
    }
}

/// What the home was told of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    status: PresenceStatus,
    watched: bool,
}

/// Nobody comes before.
const FIRST: Who = (TenantId(0), UserId(Uuid::nil()));

const NOTHING: Said = Said { status: PresenceStatus::Offline, watched: false };

#[derive(Debug)]
struct Seat {
    sessions: HashMap<SessionId, PresenceStatus>,
    watchers: HashSet<SessionId>,
    /// What the home told of the user since this node watches them.
    shown: Option<PresenceStatus>,
    said: Said,
}

impl Seat {
    fn new() -> Self {
        Self { sessions: HashMap::new(), watchers: HashSet::new(), shown: None, said: NOTHING }
    }

    fn truth(&self) -> Said {
        let status = self.sessions.values().copied().max().unwrap_or(PresenceStatus::Offline);
        Said { status, watched: !self.watchers.is_empty() }
    }
}

/// One node's part of a user shard.
#[derive(Debug, Default)]
pub(crate) struct Local {
    seats: HashMap<Who, Seat>,
    /// Those of whom the home was told something else than what is true.
    unsaid: BTreeSet<(Channel, Who)>,
}

impl Local {
    pub(crate) fn set(&mut self, who: Who, session: SessionId, status: PresenceStatus) {
        self.change(who, |seat| {
            seat.sessions.insert(session, status);
        });
    }

    pub(crate) fn end(&mut self, who: Who, session: SessionId) {
        self.change(who, |seat| {
            seat.sessions.remove(&session);
        });
    }

    /// `watcher` wants to know of `who`: it is told at once what is known here. `None` until the
    /// home said something.
    pub(crate) fn watch(&mut self, who: Who, watcher: SessionId) -> Option<Tell<SessionId>> {
        self.change(who, |seat| {
            seat.watchers.insert(watcher);
        });
        let status = self.seats.get(&who).and_then(|seat| seat.shown)?;
        Some(Tell { watcher, who, status })
    }

    pub(crate) fn unwatch(&mut self, who: Who, watcher: SessionId) {
        self.change(who, |seat| {
            seat.watchers.remove(&watcher);
        });
    }

    /// The home says how a user is seen. Watchers who know it are not told again.
    pub(crate) fn told(&mut self, who: Who, status: PresenceStatus) -> Vec<Tell<SessionId>> {
        let Some(seat) = self.seats.get_mut(&who) else { return Vec::new() };
        // What was asked for and taken back may still be answered.
        if !seat.said.watched || seat.shown.replace(status) == Some(status) {
            return Vec::new();
        }
        seat.watchers.iter().map(|watcher| Tell { watcher: *watcher, who, status }).collect()
    }

    /// What the home is to be told, at most `max` users, and from now on counts as said.
    pub(crate) fn take(&mut self, channel: Option<Channel>, max: usize) -> Changes {
        let from = (channel.unwrap_or(Channel(0)), FIRST);
        let is_on = |on: Channel| channel.is_none_or(|channel| channel == on);
        let on_channel = self.unsaid.range(from..).take_while(|(on, _)| is_on(*on));
        let users: Vec<_> = on_channel.take(max).copied().collect();
        let mut changes = Changes::default();
        for entry in users {
            self.unsaid.remove(&entry);
            let who = entry.1;
            let Some(seat) = self.seats.get_mut(&who) else { continue };
            let truth = seat.truth();
            let said = std::mem::replace(&mut seat.said, truth);
            if said.status != truth.status {
                changes.present.push((who, truth.status));
            }
            match (said.watched, truth.watched) {
                (false, true) => changes.watch.push(who),
                (true, false) => {
                    seat.shown = None;
                    changes.unwatch.push(who);
                }
                _ => {}
            }
            self.forget_if_empty(who);
        }
        changes
    }

    /// Whether there is something to tell the home of users on the channel.
    pub(crate) fn has_unsaid(&self, channel: Channel) -> bool {
        self.unsaid.range((channel, FIRST)..).next().is_some_and(|(on, _)| *on == channel)
    }

    /// Whether there is anything on the channel at all.
    pub(crate) fn has_any(&self, channel: Channel) -> bool {
        self.seats.keys().any(|who| Channel::of_user(who.1) == channel)
    }

    /// The home knows nothing of users on the channel: everything is to be said again.
    pub(crate) fn unsay(&mut self, channel: Channel) {
        let mut gone = Vec::new();
        for (who, seat) in &mut self.seats {
            if Channel::of_user(who.1) == channel {
                seat.said = NOTHING;
                if seat.watchers.is_empty() {
                    seat.shown = None;
                }
                if seat.truth() == NOTHING {
                    gone.push(*who);
                } else {
                    self.unsaid.insert((channel, *who));
                }
            }
        }
        for who in gone {
            self.seats.remove(&who);
            self.unsaid.remove(&(channel, who));
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.is_empty() && self.unsaid.is_empty()
    }

    fn change(&mut self, who: Who, change: impl FnOnce(&mut Seat)) {
        let seat = self.seats.entry(who).or_insert_with(Seat::new);
        change(seat);
        let entry = (Channel::of_user(who.1), who);
        if seat.truth() == seat.said {
            self.unsaid.remove(&entry);
        } else {
            self.unsaid.insert(entry);
        }
        self.forget_if_empty(who);
    }

    fn forget_if_empty(&mut self, who: Who) {
        let is_empty = |seat: &Seat| seat.said == NOTHING && seat.truth() == NOTHING;
        if self.seats.get(&who).is_some_and(is_empty) {
            self.seats.remove(&who);
        }
    }
}
