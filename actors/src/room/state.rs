//! A room's decisions: order, dedupe, permissions, effects. Pure: no clock, database or runtime.
//!
//! The shell feeds it requests, facts that it asked for and outcomes of appends, and performs the
//! effects in their order. What is decided but not committed yet counts as done for later
//! decisions; if it fails in a way that would make those wrong, the room stops and opens again
//! from the database.

use std::collections::{HashMap, HashSet, VecDeque, hash_map};
use std::num::NonZeroUsize;
use std::sync::Arc;

use judge::Verdict;
use lru::LruCache;

use super::permit;
use super::ring::{Ring, Window};
pub use super::words::{Effect, Effects, Fact, Known, Look, Post, Replay, Seen};
use crate::limits;
use crate::ports::history::{Opened, Outcome, Settled};
use crate::session::{Caller, Posted};
use crate::vocab::event::Kind;
use crate::vocab::{
    Content, Draft, Event, Gen, Key, MemberChange, Refusal, Role, RoomMeta, Sender, Seq, Timestamp,
    UserId,
};

#[derive(Debug)]
enum Ask<W, F> {
    Post { post: Post<W>, key_checked: bool },
    Look(Look<F>),
}

#[derive(Debug)]
struct InFlight<W> {
    sender: UserId,
    key: Key,
    since: Timestamp,
    waiters: Vec<W>,
}

/// What a room knows of an event that changes refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) sender: UserId,
    pub(super) is_message: bool,
    pub(super) deleted: bool,
}

impl Target {
    fn of(event: &Event) -> Self {
        Self {
            sender: event.sender.id,
            is_message: event.content.kind() == Kind::Message,
            deleted: matches!(event.content, Content::Blank { .. }),
        }
    }
}

/// One room's state.
#[derive(Debug)]
pub struct RoomState<W, F> {
    meta: Arc<RoomMeta>,
    r#gen: Gen,
    first: Seq,
    head: Seq,
    last_sent_at: Timestamp,
    ring: Ring,
    window: Window,
    roles: LruCache<UserId, Option<Role>>,
    /// Roles as they will be once what is in flight is committed, by ticket: the last one counts.
    roles_ahead: HashMap<UserId, Vec<(u64, Option<Role>)>>,
    targets: LruCache<Seq, Option<Target>>,
    deleting: HashSet<Seq>,
    last_messages: LruCache<UserId, Option<Timestamp>>,
    in_flight: HashMap<u64, InFlight<W>>,
    tickets: HashMap<(UserId, Key), u64>,
    parked: HashMap<UserId, VecDeque<Ask<W, F>>>,
    next_ticket: u64,
}

fn cache<K: std::hash::Hash + Eq, V>(bound: usize) -> LruCache<K, V> {
    let mut cache = LruCache::unbounded();
    cache.resize(NonZeroUsize::new(bound).expect("a bound is not 0"));
    cache
}

impl<W, F> RoomState<W, F> {
    /// A room as the database has it.
    #[must_use]
    pub fn new(meta: Arc<RoomMeta>, r#gen: Gen, opened: &Opened) -> Self {
        Self {
            meta,
            r#gen,
            first: opened.first,
            head: opened.head,
            last_sent_at: Timestamp(0),
            ring: Ring::default(),
            window: Window::default(),
            roles: cache(limits::MEMBER_CACHE_MAX),
            roles_ahead: HashMap::new(),
            targets: cache(limits::TARGET_CACHE_MAX),
            deleting: HashSet::new(),
            last_messages: cache(limits::MEMBER_CACHE_MAX),
            in_flight: HashMap::new(),
            tickets: HashMap::new(),
            parked: HashMap::new(),
            next_ticket: 0,
        }
    }

    /// The last committed seq.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.head
    }

    /// The generation of the room's history.
    #[must_use]
    pub const fn generation(&self) -> Gen {
        self.r#gen
    }

    /// Whether nothing waits: no append in flight, no request parked.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && self.parked.is_empty()
    }

    /// Somebody asks for a change.
    pub fn post(&mut self, now: Timestamp, post: Post<W>) -> Effects<W, F> {
        self.ask(now, Ask::Post { post, key_checked: false })
    }

    /// Somebody looks at the room.
    pub fn look(&mut self, now: Timestamp, look: Look<F>) -> Effects<W, F> {
        self.ask(now, Ask::Look(look))
    }

    fn ask(&mut self, now: Timestamp, ask: Ask<W, F>) -> Effects<W, F> {
        let mut effects = Vec::new();
        let asker = ask.caller().user;
        if let Some(parked) = self.parked.get_mut(&asker) {
            if parked.len() >= limits::ROOM_PARKED_PER_USER_MAX {
                ask.refuse(
                    Refusal::busy("too many of your requests wait in this room"),
                    &mut effects,
                );
            } else {
                parked.push_back(ask);
            }
            return effects;
        }
        if let Some((ask, fact)) = self.attempt(now, ask, &mut effects) {
            self.parked.insert(asker, VecDeque::from([ask]));
            effects.push(Effect::Load { asker, fact });
        }
        effects
    }

    /// A fact arrived for the requests of `asker` that wait for it.
    pub fn learn(
        &mut self,
        now: Timestamp,
        asker: UserId,
        fact: Fact,
        known: Result<Known, Refusal>,
    ) -> Effects<W, F> {
        let mut effects = Vec::new();
        let Some(mut parked) = self.parked.remove(&asker) else { return effects };
        match known {
            Ok(known) => self.remember(asker, fact, known, parked.front_mut()),
            Err(refusal) => {
                // All of them, so that repeating them keeps their order.
                parked.into_iter().for_each(|ask| ask.refuse(refusal.clone(), &mut effects));
                return effects;
            }
        }
        while let Some(ask) = parked.pop_front() {
            if let Some((ask, fact)) = self.attempt(now, ask, &mut effects) {
                parked.push_front(ask);
                self.parked.insert(asker, parked);
                effects.push(Effect::Load { asker, fact });
                break;
            }
        }
        effects
    }

    fn remember(&mut self, asker: UserId, fact: Fact, known: Known, front: Option<&mut Ask<W, F>>) {
        match (fact, known) {
            // What a commit has told meanwhile is newer than what was read.
            (Fact::Role(user), Known::Role(role)) => {
                self.roles.get_or_insert(user, || role);
            }
            (Fact::Target(seq), Known::Target(event)) => {
                self.targets.get_or_insert(seq, || event.as_ref().map(Target::of));
            }
            (Fact::LastMessage, Known::LastMessage(at)) => {
                self.last_messages.put(asker, at);
            }
            (Fact::Key(key), Known::Key(found)) => {
                if let Some(at) = found {
                    self.window.put(asker, key, at);
                }
                if let Some(Ask::Post { key_checked, .. }) = front {
                    *key_checked = true;
                }
            }
            (fact, known) => debug_assert!(false, "{fact:?} was answered with {known:?}"),
        }
    }

    /// Decides one request; gives it back with the fact that it needs.
    fn attempt(
        &mut self,
        now: Timestamp,
        ask: Ask<W, F>,
        effects: &mut Effects<W, F>,
    ) -> Option<(Ask<W, F>, Fact)> {
        match ask {
            Ask::Look(look) => match self.role(&look.caller, look.caller.user) {
                Err(fact) => return Some((Ask::Look(look), fact)),
                Ok(role) => {
                    let seen = role
                        .ok_or_else(|| permit::not_a_member(self.meta.kind))
                        .map(|role| self.seen(role, look.cursor));
                    effects.push(Effect::Show(look.waiter, seen));
                }
            },
            Ask::Post { post, key_checked } => match self.judge(now, &post, key_checked) {
                Verdict::Need(fact) => return Some((Ask::Post { post, key_checked }, fact)),
                Verdict::Refuse(refusal) => effects.push(Effect::Answer(post.waiter, Err(refusal))),
                Verdict::Repeated(seq, sent_at) => {
                    let posted = Posted { seq, sent_at, repeated: true };
                    effects.push(Effect::Answer(post.waiter, Ok(posted)));
                }
                Verdict::WaitFor(ticket) => self.wait_for(ticket, post.waiter, effects),
                Verdict::Append(content) => {
                    let Post { caller, key, waiter, .. } = post;
                    let sender = Sender { id: caller.user, username: caller.username.clone() };
                    self.append(now, sender, (caller.device, key), content, Some(waiter), effects);
                }
            },
        }
        None
    }

    fn wait_for(&mut self, ticket: u64, waiter: W, effects: &mut Effects<W, F>) {
        let in_flight =
            self.in_flight.get_mut(&ticket).expect("a ticket in the index is in flight");
        if in_flight.waiters.len() < limits::KEY_WAITERS_MAX {
            in_flight.waiters.push(waiter);
        } else {
            let refusal = Refusal::busy("that key is in flight and many wait for it already");
            effects.push(Effect::Answer(waiter, Err(refusal)));
        }
    }

    fn append(
        &mut self,
        now: Timestamp,
        sender: Sender,
        (device, key): (Option<crate::vocab::DeviceId>, Key),
        content: Content,
        waiter: Option<W>,
        effects: &mut Effects<W, F>,
    ) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.foresee(now, ticket, &sender, &content);
        self.tickets.insert((sender.id, key), ticket);
        let waiters = waiter.into_iter().collect();
        self.in_flight.insert(ticket, InFlight { sender: sender.id, key, since: now, waiters });
        // Along a room's log time never goes back, whatever the clock does.
        self.last_sent_at = self.last_sent_at.max(now);
        let sent_at = self.last_sent_at;
        let draft = Draft { sender, device, key, sent_at, content };
        effects.push(Effect::Append { ticket, draft });
    }

    /// What is decided counts as done for later decisions.
    fn foresee(&mut self, now: Timestamp, ticket: u64, sender: &Sender, content: &Content) {
        match content {
            Content::Member { user, change, .. } => {
                self.roles_ahead.entry(*user).or_default().push((ticket, change.role()));
            }
            Content::Delete { target } => {
                self.deleting.insert(*target);
            }
            Content::Message { .. } if self.meta.settings.slow_mode_seconds > 0 => {
                self.last_messages.put(sender.id, Some(now));
            }
            _ => {}
        }
    }

    /// The lane did not take an append: nothing happened.
    pub fn not_taken(&mut self, ticket: u64, draft: &Draft, why: &Refusal) -> Effects<W, F> {
        let mut effects = Vec::new();
        let Some(in_flight) = self.take_in_flight(ticket) else { return effects };
        self.unforesee(ticket, &draft.content);
        if matches!(draft.content, Content::Message { .. }) {
            self.last_messages.pop(&draft.sender.id);
        }
        for waiter in in_flight.waiters {
            effects.push(Effect::Answer(waiter, Err(why.clone())));
        }
        if draft.key == Key::of_creator(self.meta.id) {
            effects.push(Effect::Stop("its creator could not join"));
        }
        effects
    }

    fn unforesee(&mut self, ticket: u64, content: &Content) {
        match content {
            Content::Member { user, .. } => {
                self.roles.pop(user);
                self.role_settled(ticket, *user);
            }
            Content::Delete { target } => {
                self.deleting.remove(target);
            }
            _ => {}
        }
    }

    fn role_settled(&mut self, ticket: u64, user: UserId) {
        if let hash_map::Entry::Occupied(mut ahead) = self.roles_ahead.entry(user) {
            ahead.get_mut().retain(|(other, _)| *other != ticket);
            if ahead.get().is_empty() {
                ahead.remove();
            }
        }
    }

    fn take_in_flight(&mut self, ticket: u64) -> Option<InFlight<W>> {
        let in_flight = self.in_flight.remove(&ticket)?;
        self.tickets.remove(&(in_flight.sender, in_flight.key));
        Some(in_flight)
    }

    /// What became of appends, in the order of their commit.
    pub fn settled(&mut self, outcomes: Vec<Settled>) -> Effects<W, F> {
        let mut effects = Vec::new();
        for Settled { ticket, draft, outcome, .. } in outcomes {
            let Some(in_flight) = self.take_in_flight(ticket) else { continue };
            let result = match outcome {
                Outcome::Committed { seq } => {
                    if seq != self.head.next() {
                        effects.push(Effect::Stop("a commit did not follow the room's head"));
                    }
                    let sent_at = draft.sent_at;
                    self.committed(ticket, draft.at(seq), &mut effects);
                    Ok(Posted { seq, sent_at, repeated: false })
                }
                Outcome::Repeated { seq, sent_at } => {
                    self.unforesee(ticket, &draft.content);
                    self.window.put(draft.sender.id, draft.key, (seq, sent_at));
                    Ok(Posted { seq, sent_at, repeated: true })
                }
                Outcome::Fenced => {
                    effects.push(Effect::Stop("fenced"));
                    Err(Refusal::unavailable("the room moved; repeat with the same key"))
                }
                Outcome::DatabaseChanged => {
                    effects.push(Effect::Stop("the database changed"));
                    Err(Refusal::unavailable("the database changed; repeat with the same key"))
                }
                Outcome::Failed { why } => {
                    if matches!(draft.content, Content::Member { .. } | Content::Delete { .. }) {
                        effects.push(Effect::Stop("a change that others relied on failed"));
                    }
                    Err(Refusal::unavailable(format!("not committed: {why}")))
                }
            };
            // The first is who appended it; the others repeated its key.
            let repeat = |posted: Posted| Posted { repeated: true, ..posted };
            for (place, waiter) in in_flight.waiters.into_iter().enumerate() {
                let result = result.clone();
                effects.push(Effect::Answer(
                    waiter,
                    if place == 0 { result } else { result.map(repeat) },
                ));
            }
        }
        effects
    }

    fn committed(&mut self, ticket: u64, event: Event, effects: &mut Effects<W, F>) {
        self.head = event.seq;
        self.window.put(event.sender.id, event.key, (event.seq, event.sent_at));
        match &event.content {
            Content::Member { user, change, .. } => {
                let (user, role) = (*user, change.role());
                self.roles.put(user, role);
                self.role_settled(ticket, user);
                effects.push(Effect::Membership { user, role });
            }
            Content::Delete { target } => {
                self.deleting.remove(target);
                self.ring.blank(*target);
                // Whosever it was; a look at it that is still being read must not bring it back.
                let deleted = Target { sender: event.sender.id, is_message: true, deleted: true };
                self.targets.put(*target, Some(deleted));
            }
            _ => {}
        }
        let event = Arc::new(event);
        self.ring.push(event.clone());
        effects.push(Effect::Publish(event));
    }

    /// Tells those who wait for a commit since before `deadline` that it takes too long. The
    /// change stays in flight: a repeat of its key waits for the same commit.
    pub fn expire(&mut self, deadline: Timestamp) -> Effects<W, F> {
        let mut effects = Vec::new();
        for in_flight in self.in_flight.values_mut().filter(|i| i.since < deadline) {
            for waiter in in_flight.waiters.drain(..) {
                let refusal = Refusal::unavailable(
                    "the database takes too long; whether it was done is unknown: repeat with the same key",
                );
                effects.push(Effect::Answer(waiter, Err(refusal)));
            }
        }
        effects
    }

    /// Whether anybody waits for a commit.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.in_flight.values().any(|in_flight| !in_flight.waiters.is_empty())
    }

    /// The room's metadata changed, or the room opened and its log lacks the events for it.
    /// The key makes it an event once, however often this is called.
    pub fn refresh(
        &mut self,
        now: Timestamp,
        meta: Arc<RoomMeta>,
        by: Sender,
        waiter: Option<W>,
    ) -> Effects<W, F> {
        let mut effects = Vec::new();
        if meta.version > self.meta.version {
            self.meta = meta.clone();
        }
        let key = Key::of_room_version(meta.id, meta.version);
        if let Some((seq, sent_at)) = self.window.get(by.id, key) {
            let posted = Posted { seq, sent_at, repeated: true };
            effects.extend(waiter.map(|waiter| Effect::Answer(waiter, Ok(posted))));
        } else if let Some(&ticket) = self.tickets.get(&(by.id, key)) {
            if let Some(waiter) = waiter {
                self.wait_for(ticket, waiter, &mut effects);
            }
        } else if meta.version < self.meta.version {
            // Overtaken by a newer one, whose event says all there is to say; behind it, this
            // one's would be what everybody believes.
            let posted = Posted { seq: self.head, sent_at: self.last_sent_at, repeated: true };
            effects.extend(waiter.map(|waiter| Effect::Answer(waiter, Ok(posted))));
        } else {
            let content = Content::Room {
                name: meta.name.clone(),
                topic: meta.topic.clone(),
                version: meta.version,
            };
            self.append(now, by, (None, key), content, waiter, &mut effects);
        }
        effects
    }

    /// The creator of a room joins it as its owner. Nothing else may come first: if the lane does
    /// not take it, the room stops and opens again.
    pub fn found(&mut self, now: Timestamp, creator: Sender) -> Effects<W, F> {
        let mut effects = Vec::new();
        let key = Key::of_creator(self.meta.id);
        let content = Content::Member {
            user: creator.id,
            username: creator.username.clone(),
            change: MemberChange::Joined { role: Role::Owner },
        };
        self.append(now, creator, (None, key), content, None, &mut effects);
        effects
    }
}

impl<W, F> Ask<W, F> {
    fn caller(&self) -> &Caller {
        match self {
            Self::Post { post, .. } => &post.caller,
            Self::Look(look) => &look.caller,
        }
    }

    fn refuse(self, refusal: Refusal, effects: &mut Effects<W, F>) {
        effects.push(match self {
            Self::Post { post, .. } => Effect::Answer(post.waiter, Err(refusal)),
            Self::Look(look) => Effect::Show(look.waiter, Err(refusal)),
        });
    }
}

mod judge;
#[cfg(test)]
mod tests;
