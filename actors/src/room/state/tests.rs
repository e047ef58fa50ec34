//! A room against a model of the database: random requests, repeats, slow facts and batches.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::session::{Change, Cursor};
use crate::vocab::{Code, RoomId, RoomKind, RoomName, RoomSettings, TenantId, Topic};

mod commits;
mod keys;
mod races;
mod random;
mod replays;
mod rights;

type State = RoomState<u64, u64>;

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

fn key(number: u128) -> Key {
    Key(Uuid::from_u128(1_000 + number))
}

fn caller(number: u128) -> Arc<Caller> {
    Arc::new(Caller {
        tenant: TenantId::MAIN,
        user: user(number),
        username: format!("user{number}").into(),
        device: None,
        admin: false,
    })
}

fn meta(kind: RoomKind) -> Arc<RoomMeta> {
    Arc::new(RoomMeta {
        tenant: TenantId::MAIN,
        id: RoomId(Uuid::from_u128(77)),
        kind,
        name: RoomName::parse("room").ok(),
        topic: Topic::default(),
        settings: RoomSettings::default(),
        version: 1,
        created_by: user(0),
        created_at: Timestamp(0),
        key: key(999),
        changed_by: user(0),
    })
}

/// A room with a database that commits when told to.
struct World {
    state: State,
    log: Vec<Event>,
    roles: HashMap<UserId, Role>,
    keys: HashMap<(UserId, Key), (Seq, Timestamp)>,
    lane: VecDeque<(u64, Draft)>,
    loads: VecDeque<(UserId, Fact)>,
    answers: BTreeMap<u64, Result<Posted, Refusal>>,
    looks: BTreeMap<u64, Result<Seen, Refusal>>,
    published: Vec<Seq>,
    stopped: Option<&'static str>,
    lane_takes: bool,
    now: Timestamp,
    waiters: u64,
}

impl World {
    fn new(kind: RoomKind, owner: u128) -> Self {
        let opened = Opened { first: Seq(1), members: 1, ..Opened::default() };
        Self {
            state: State::new(meta(kind), Gen(1), &opened),
            log: Vec::new(),
            roles: HashMap::from([(user(owner), Role::Owner)]),
            keys: HashMap::new(),
            lane: VecDeque::new(),
            loads: VecDeque::new(),
            answers: BTreeMap::new(),
            looks: BTreeMap::new(),
            published: Vec::new(),
            stopped: None,
            lane_takes: true,
            now: Timestamp(1_000),
            waiters: 0,
        }
    }

    fn post(&mut self, who: u128, key_number: u128, change: Change) -> u64 {
        let waiter = self.waiters;
        self.waiters += 1;
        let post = Post { caller: caller(who), key: key(key_number), change, waiter };
        let effects = self.state.post(self.now, post);
        self.perform(effects);
        waiter
    }

    fn look(&mut self, who: u128, cursor: Option<Cursor>) -> u64 {
        let waiter = self.waiters;
        self.waiters += 1;
        let effects = self.state.look(self.now, Look { caller: caller(who), cursor, waiter });
        self.perform(effects);
        waiter
    }

    fn perform(&mut self, effects: Effects<u64, u64>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Append { ticket, draft } if self.lane_takes => {
                    self.lane.push_back((ticket, draft));
                }
                Effect::Append { ticket, draft } => {
                    effects.extend(self.state.not_taken(ticket, &draft, &Refusal::busy("full")));
                }
                Effect::Answer(waiter, result) => {
                    assert!(self.answers.insert(waiter, result).is_none(), "answered twice");
                }
                Effect::Show(waiter, seen) => {
                    assert!(self.looks.insert(waiter, seen).is_none(), "shown twice");
                }
                Effect::Load { asker, fact } => self.loads.push_back((asker, fact)),
                Effect::Publish(event) => self.published.push(event.seq),
                Effect::Membership { .. } => {}
                Effect::Stop(why) => self.stopped = Some(why),
            }
        }
    }

    fn learn_one(&mut self) {
        let Some((asker, fact)) = self.loads.pop_front() else { return };
        let known = match fact {
            Fact::Role(user) => Known::Role(self.roles.get(&user).copied()),
            Fact::Target(seq) => Known::Target(self.event(seq)),
            Fact::Key(key) => Known::Key(self.keys.get(&(asker, key)).copied()),
            Fact::LastMessage => Known::LastMessage(None),
        };
        let effects = self.state.learn(self.now, asker, fact, Ok(known));
        self.perform(effects);
    }

    fn event(&self, seq: Seq) -> Option<Event> {
        self.log.iter().find(|event| event.seq == seq).cloned()
    }

    fn commit(&mut self, at_most: usize) {
        let mut outcomes = Vec::new();
        for _ in 0..at_most {
            let Some((ticket, draft)) = self.lane.pop_front() else { break };
            let at = (draft.sender.id, draft.key);
            let outcome = match self.keys.get(&at) {
                Some(&(seq, sent_at)) => Outcome::Repeated { seq, sent_at },
                None => {
                    let seq = Seq(self.log.len() as u64 + 1);
                    self.keys.insert(at, (seq, draft.sent_at));
                    self.insert(draft.clone().at(seq));
                    Outcome::Committed { seq }
                }
            };
            outcomes.push(Settled { ticket, draft, outcome, batch: 1 });
        }
        let effects = self.state.settled(outcomes);
        self.perform(effects);
    }

    fn insert(&mut self, event: Event) {
        match &event.content {
            Content::Member { user, change, .. } => match change.role() {
                Some(role) => drop(self.roles.insert(*user, role)),
                None => drop(self.roles.remove(user)),
            },
            Content::Delete { target } => {
                for old in self.log.iter_mut().filter(|e| e.is_blanked_by_delete_of(*target)) {
                    *old = old.blanked();
                }
            }
            _ => {}
        }
        self.log.push(event);
    }

    fn settle(&mut self) {
        while !self.loads.is_empty() || !self.lane.is_empty() {
            self.learn_one();
            self.commit(8);
        }
    }

    /// The room is read from the database again, as after a restart.
    fn reopen(&mut self, kind: RoomKind) {
        let head = Seq(self.log.len() as u64);
        let opened = Opened { head, first: Seq(1), members: 1, ..Opened::default() };
        self.state = State::new(meta(kind), Gen(1), &opened);
    }

    fn seq_of(&self, waiter: u64) -> Seq {
        self.answers[&waiter].as_ref().expect("posted").seq
    }

    fn code_of(&self, waiter: u64) -> Code {
        self.answers[&waiter].as_ref().expect_err("refused").code
    }
}

fn say(body: &str) -> Change {
    Change::Send { body: body.into(), reply_to: None, thread: None, enc: false }
}
