//! One user shard's presence. Pure: sources (sessions, or nodes that speak for theirs) come and go,
//! and the state says which watchers are told what.
//!
//! A change is told at most every [`limits::PRESENCE_DEBOUNCE`] for a user, and a user whose last
//! session ended counts as online for [`limits::PRESENCE_GRACE`] more, so that a reconnect is not
//! seen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use crate::limits;
use crate::session::PresenceStatus;
use crate::vocab::{TenantId, UserId};

/// A user of a tenant.
pub type Who = (TenantId, UserId);

/// A watcher to tell of a user's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tell<S> {
    /// The session or node to tell.
    pub watcher: S,
    /// Whose presence it is.
    pub who: Who,
    /// What it is.
    pub status: PresenceStatus,
}

#[derive(Debug)]
struct Seat<S> {
    sources: HashMap<S, PresenceStatus>,
    watchers: HashSet<S>,
    /// What watchers were told last.
    told: Option<PresenceStatus>,
    /// When the next telling is due, while one is.
    due: Option<Duration>,
    /// No telling before this.
    quiet_until: Duration,
}

impl<S> Default for Seat<S> {
    fn default() -> Self {
        Self {
            sources: HashMap::new(),
            watchers: HashSet::new(),
            told: None,
            due: None,
            quiet_until: Duration::ZERO,
        }
    }
}

impl<S> Seat<S> {
    fn status(&self) -> PresenceStatus {
        self.sources.values().copied().max().unwrap_or(PresenceStatus::Offline)
    }

    fn shown(&self) -> PresenceStatus {
        self.told.unwrap_or(PresenceStatus::Offline)
    }

    fn is_empty(&self) -> bool {
        self.sources.is_empty()
            && self.watchers.is_empty()
            && self.due.is_none()
            && self.shown() == PresenceStatus::Offline
    }
}

/// One user shard.
#[derive(Debug)]
pub struct PresenceState<S> {
    seats: HashMap<Who, Seat<S>>,
    due: BTreeSet<(Duration, Who)>,
}

impl<S> Default for PresenceState<S> {
    fn default() -> Self {
        Self { seats: HashMap::new(), due: BTreeSet::new() }
    }
}

impl<S: Copy + Eq + Hash> PresenceState<S> {
    /// A source of `who` begins, or says another status.
    pub fn set(&mut self, now: Duration, who: Who, source: S, status: PresenceStatus) {
        self.change(now, who, |seat| {
            seat.sources.insert(source, status);
        });
    }

    /// A source of `who` ended.
    pub fn end(&mut self, now: Duration, who: Who, source: S) {
        self.change(now, who, |seat| {
            seat.sources.remove(&source);
        });
    }

    /// `watcher` wants to know of `who`; it is told at once how things stand.
    pub fn watch(&mut self, who: Who, watcher: S) -> Tell<S> {
        let seat = self.seats.entry(who).or_default();
        seat.watchers.insert(watcher);
        Tell { watcher, who, status: seat.shown() }
    }

    /// `watcher` no longer wants to know of `who`.
    pub fn unwatch(&mut self, who: Who, watcher: S) {
        if let Some(seat) = self.seats.get_mut(&who) {
            seat.watchers.remove(&watcher);
            self.forget_if_empty(who);
        }
    }

    /// How a user is seen now.
    #[must_use]
    pub fn shown(&self, who: Who) -> PresenceStatus {
        self.seats.get(&who).map_or(PresenceStatus::Offline, Seat::shown)
    }

    /// Who has a source of `who`.
    pub fn sources(&self, who: Who) -> impl Iterator<Item = S> {
        self.seats.get(&who).into_iter().flat_map(|seat| seat.sources.keys().copied())
    }

    /// Whether `watcher` wants to know of `who`.
    #[must_use]
    pub fn is_watched_by(&self, who: Who, watcher: S) -> bool {
        self.seats.get(&who).is_some_and(|seat| seat.watchers.contains(&watcher))
    }

    /// Those of whom `source` is a source. Looks at every user.
    pub fn of_source(&self, source: S) -> impl Iterator<Item = Who> {
        let has = move |seat: &Seat<S>| seat.sources.contains_key(&source);
        self.seats.iter().filter(move |(_, seat)| has(seat)).map(|(who, _)| *who)
    }

    /// Those whom `watcher` watches. Looks at every user.
    pub fn of_watcher(&self, watcher: S) -> impl Iterator<Item = Who> {
        let has = move |seat: &Seat<S>| seat.watchers.contains(&watcher);
        self.seats.iter().filter(move |(_, seat)| has(seat)).map(|(who, _)| *who)
    }

    /// Whether nothing is kept of anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty() && self.due.is_empty()
    }

    /// When [`PresenceState::tick`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Tells what has become due.
    pub fn tick(&mut self, now: Duration) -> Vec<Tell<S>> {
        let mut tells = Vec::new();
        while let Some(&(due, who)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            let Some(seat) = self.seats.get_mut(&who) else { continue };
            seat.due = None;
            let status = seat.status();
            if status != seat.shown() {
                seat.told = Some(status);
                seat.quiet_until = now + limits::PRESENCE_DEBOUNCE;
                let told = |watcher: &S| Tell { watcher: *watcher, who, status };
                tells.extend(seat.watchers.iter().map(told));
            }
            self.forget_if_empty(who);
        }
        tells
    }

    fn change(&mut self, now: Duration, who: Who, change: impl FnOnce(&mut Seat<S>)) {
        let seat = self.seats.entry(who).or_default();
        change(seat);
        if let Some(due) = seat.due.take() {
            self.due.remove(&(due, who));
        }
        let status = seat.status();
        if status != seat.shown() {
            let grace = match status {
                PresenceStatus::Offline => limits::PRESENCE_GRACE,
                PresenceStatus::Away | PresenceStatus::Online => Duration::ZERO,
            };
            let due = (now + grace).max(seat.quiet_until);
            seat.due = Some(due);
            self.due.insert((due, who));
        }
        self.forget_if_empty(who);
    }

    fn forget_if_empty(&mut self, who: Who) {
        if self.seats.get(&who).is_some_and(Seat::is_empty) {
            self.seats.remove(&who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::SessionId;

    fn who() -> Who {
        (TenantId::MAIN, UserId::generate())
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_watcher_is_told_when_somebody_comes_and_goes() {
        let mut state = PresenceState::default();
        let (who, watcher, session) = (who(), SessionId::generate(), SessionId::generate());
        assert_eq!(state.watch(who, watcher).status, PresenceStatus::Offline);
        state.set(at(1), who, session, PresenceStatus::Online);
        let online = state.tick(at(1));
        assert_eq!(online, [Tell { watcher, who, status: PresenceStatus::Online }]);
        state.end(at(10), who, session);
        assert!(state.tick(at(12)).is_empty(), "within the grace");
        let offline = state.tick(at(10) + limits::PRESENCE_GRACE);
        assert_eq!(offline, [Tell { watcher, who, status: PresenceStatus::Offline }]);
    }

    #[test]
    fn a_reconnect_is_not_seen() {
        let mut state = PresenceState::default();
        let (who, watcher) = (who(), SessionId::generate());
        state.watch(who, watcher);
        let (old, new) = (SessionId::generate(), SessionId::generate());
        state.set(at(1), who, old, PresenceStatus::Online);
        state.tick(at(1));
        state.end(at(5), who, old);
        state.set(at(6), who, new, PresenceStatus::Online);
        assert!(state.tick(at(60)).is_empty());
    }

    #[test]
    fn the_most_present_session_decides() {
        let mut state = PresenceState::default();
        let (who, one, two) = (who(), SessionId::generate(), SessionId::generate());
        state.set(at(1), who, one, PresenceStatus::Away);
        state.set(at(1), who, two, PresenceStatus::Online);
        state.tick(at(1));
        assert_eq!(state.shown(who), PresenceStatus::Online);
        state.end(at(5), who, two);
        state.tick(at(5));
        assert_eq!(state.shown(who), PresenceStatus::Away);
    }

    #[test]
    fn flapping_is_told_at_a_bounded_rate() {
        let mut state = PresenceState::default();
        let (who, watcher, session) = (who(), SessionId::generate(), SessionId::generate());
        state.watch(who, watcher);
        let mut told = 0;
        for millis in (0..10_000).step_by(10) {
            let now = Duration::from_millis(millis);
            let status = [PresenceStatus::Away, PresenceStatus::Online][(millis / 10 % 2) as usize];
            state.set(now, who, session, status);
            told += state.tick(now).len();
        }
        assert!(told <= 21, "10 seconds at one in half a second, told {told}");
    }

    #[test]
    fn nothing_is_kept_of_those_who_are_gone() {
        let mut state = PresenceState::default();
        let (who, watcher, session) = (who(), SessionId::generate(), SessionId::generate());
        state.watch(who, watcher);
        state.set(at(1), who, session, PresenceStatus::Online);
        state.tick(at(1));
        state.end(at(2), who, session);
        state.unwatch(who, watcher);
        state.tick(at(60));
        assert!(state.is_empty());
    }
}
