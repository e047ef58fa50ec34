//! A room against a model of the database: random requests, repeats, slow facts and batches.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::session::{Change, Cursor};
use crate::vocab::{Code, RoomId, RoomKind, RoomName, RoomSettings, TenantId, Topic};

mod races;

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

#[test]
fn a_repeat_in_flight_and_a_repeat_later_get_the_first_seq() {
    let mut world = World::new(RoomKind::Private, 1);
    let first = world.post(1, 5, say("one"));
    world.learn_one();
    let in_flight = world.post(1, 5, say("one"));
    world.settle();
    let later = world.post(1, 5, say("one"));
    world.settle();
    assert_eq!(world.log.len(), 1);
    for waiter in [first, in_flight, later] {
        assert_eq!(world.seq_of(waiter), Seq(1));
    }
}

#[test]
fn the_same_key_of_two_senders_is_two_messages() {
    let mut world = World::new(RoomKind::Public, 1);
    world.post(2, 9, Change::Join);
    world.settle();
    let one = world.post(1, 5, say("one"));
    let two = world.post(2, 5, say("two"));
    world.settle();
    assert_ne!(world.seq_of(one), world.seq_of(two));
}

#[test]
fn nobody_is_answered_before_the_commit() {
    let mut world = World::new(RoomKind::Private, 1);
    let waiter = world.post(1, 5, say("one"));
    world.learn_one();
    assert!(!world.answers.contains_key(&waiter) && world.published.is_empty());
    world.commit(1);
    assert_eq!(world.published, [Seq(1)]);
    assert_eq!(world.seq_of(waiter), Seq(1));
}

#[test]
fn a_stranger_learns_no_more_of_a_private_room_than_of_a_missing_one() {
    let mut world = World::new(RoomKind::Private, 1);
    world.post(1, 1, say("secret"));
    world.settle();
    let edit = Change::Edit { target: Seq(1), body: "x".into(), enc: false };
    let kick = Change::Kick { user: user(1), username: "user1".into() };
    let tries =
        [say("hi"), edit, Change::Delete { target: Seq(1) }, Change::Join, Change::Leave, kick];
    for (number, change) in (0..).zip(tries) {
        let waiter = world.post(2, 50 + number, change);
        world.settle();
        assert_eq!(world.answers[&waiter], Err(Refusal::no_such_room()));
    }
    let look = world.look(2, None);
    world.settle();
    assert_eq!(world.looks[&look], Err(Refusal::no_such_room()));
}

#[test]
fn only_the_author_edits_and_only_author_or_moderator_deletes() {
    let mut world = World::new(RoomKind::Public, 1);
    world.post(2, 1, Change::Join);
    world.post(3, 1, Change::Join);
    world.settle();
    let message = world.post(2, 2, say("mine"));
    world.settle();
    let target = world.seq_of(message);
    let edit = Change::Edit { target, body: "changed".into(), enc: false };
    let by_owner = world.post(1, 3, edit.clone());
    let by_author = world.post(2, 4, edit);
    let delete_by_other = world.post(3, 5, Change::Delete { target });
    world.settle();
    assert_eq!(world.code_of(by_owner), Code::Forbidden);
    assert_eq!(world.code_of(delete_by_other), Code::Forbidden);
    world.seq_of(by_author);
    let delete_by_owner = world.post(1, 6, Change::Delete { target });
    let edit_behind = world.post(2, 7, Change::Edit { target, body: "late".into(), enc: false });
    world.settle();
    world.seq_of(delete_by_owner);
    assert_eq!(world.code_of(edit_behind), Code::NotFound);
}

#[test]
fn a_repeated_old_join_key_makes_nobody_a_member_again() {
    let mut world = World::new(RoomKind::Public, 1);
    let join = world.post(2, 5, Change::Join);
    world.settle();
    let kick = Change::Kick { user: user(2), username: "user2".into() };
    world.post(1, 6, kick);
    world.settle();
    // The room forgets its window, as after a restart.
    world.reopen(RoomKind::Public);
    let again = world.post(2, 5, Change::Join);
    let send = world.post(2, 7, say("still here?"));
    world.settle();
    assert_eq!(world.seq_of(again), world.seq_of(join));
    assert_eq!(world.code_of(send), Code::Forbidden);
}

#[test]
fn a_client_cannot_take_a_key_that_the_room_will_need() {
    let mut world = World::new(RoomKind::Private, 1);
    let next = Key::of_room_version(meta(RoomKind::Private).id, 2);
    let post = Post { caller: caller(1), key: next, change: say("mine"), waiter: 0 };
    let effects = world.state.post(world.now, post);
    world.perform(effects);
    assert_eq!(world.code_of(0), Code::BadRequest);
}

#[test]
fn a_full_lane_changes_nothing() {
    let mut world = World::new(RoomKind::Private, 1);
    world.lane_takes = false;
    let refused = world.post(1, 5, say("one"));
    world.settle();
    assert_eq!(world.code_of(refused), Code::Busy);
    world.lane_takes = true;
    let repeated = world.post(1, 5, say("one"));
    world.settle();
    assert_eq!(world.seq_of(repeated), Seq(1));
}

#[test]
fn a_fenced_room_stops_and_acknowledges_nothing() {
    let mut world = World::new(RoomKind::Private, 1);
    let waiter = world.post(1, 5, say("one"));
    world.learn_one();
    let (ticket, draft) = world.lane.pop_front().expect("queued");
    let effects =
        world.state.settled(vec![Settled { ticket, draft, batch: 1, outcome: Outcome::Fenced }]);
    world.perform(effects);
    assert_eq!(world.stopped, Some("fenced"));
    assert_eq!(world.code_of(waiter), Code::Unavailable);
    assert!(world.published.is_empty());
}

#[test]
fn a_room_whose_database_changed_stops_and_acknowledges_nothing() {
    let mut world = World::new(RoomKind::Private, 1);
    let waiter = world.post(1, 5, say("one"));
    world.learn_one();
    let (ticket, draft) = world.lane.pop_front().expect("queued");
    let outcome = Outcome::DatabaseChanged;
    let effects = world.state.settled(vec![Settled { ticket, draft, outcome, batch: 1 }]);
    world.perform(effects);
    assert_eq!(world.stopped, Some("the database changed"));
    assert_eq!(world.code_of(waiter), Code::Unavailable);
    assert!(world.published.is_empty());
}

#[test]
fn a_commit_that_takes_too_long_is_unavailable_and_its_repeat_waits_for_it() {
    let mut world = World::new(RoomKind::Private, 1);
    let waiter = world.post(1, 5, say("one"));
    world.learn_one();
    let effects = world.state.expire(Timestamp(world.now.0 + 1));
    world.perform(effects);
    assert_eq!(world.code_of(waiter), Code::Unavailable);
    let repeat = world.post(1, 5, say("one"));
    world.settle();
    assert_eq!(world.seq_of(repeat), Seq(1));
    assert_eq!(world.log.len(), 1);
}

#[test]
fn a_cursor_of_another_history_is_answered_with_a_gap() {
    let mut world = World::new(RoomKind::Private, 1);
    for number in 0..3 {
        world.post(1, number, say("x"));
    }
    world.settle();
    let mut replay = |r#gen, seq| {
        let look = world.look(1, Some(Cursor { r#gen: Gen(r#gen), seq: Seq(seq) }));
        world.settle();
        world.looks[&look].clone().expect("a member").replay
    };
    assert_eq!(replay(2, 1), Replay::Gap { from: Seq(1) });
    assert_eq!(replay(1, 9), Replay::Gap { from: Seq(1) });
    assert_eq!(replay(1, 3), Replay::Nothing);
    assert!(matches!(replay(1, 1), Replay::Events(events) if events.len() == 2));
}

#[test]
fn a_deleted_message_is_blank_in_a_replay() {
    let mut world = World::new(RoomKind::Private, 1);
    world.post(1, 1, say("secret"));
    world.settle();
    world.post(1, 2, Change::Edit { target: Seq(1), body: "secret 2".into(), enc: false });
    world.settle();
    world.post(1, 3, Change::Delete { target: Seq(1) });
    world.settle();
    let look = world.look(1, Some(Cursor { r#gen: Gen(1), seq: Seq(0) }));
    world.settle();
    let Replay::Events(events) = world.looks[&look].clone().expect("a member").replay else {
        panic!("the ring holds it")
    };
    assert!(!format!("{events:?}").contains("secret"));
}

#[test]
fn slow_mode_holds_members_back_and_not_moderators() {
    let mut world = World::new(RoomKind::Public, 1);
    let mut slow = (*meta(RoomKind::Public)).clone();
    slow.settings.slow_mode_seconds = 10;
    slow.version = 2;
    let by = Sender { id: user(1), username: "user1".into() };
    let effects = world.state.refresh(world.now, Arc::new(slow), by, None);
    world.perform(effects);
    world.post(2, 1, Change::Join);
    world.settle();
    let first = world.post(2, 2, say("one"));
    world.settle();
    let second = world.post(2, 3, say("two"));
    let owner = [world.post(1, 4, say("a")), world.post(1, 5, say("b"))];
    world.settle();
    world.seq_of(first);
    assert_eq!(world.code_of(second), Code::RateLimited);
    for waiter in owner {
        world.seq_of(waiter);
    }
    world.now = Timestamp(world.now.0 + 10_000);
    let later = world.post(2, 3, say("two"));
    world.settle();
    world.seq_of(later);
}

#[derive(Debug, Clone)]
enum Step {
    Post(u128, u128, u8, u64),
    Look(u128),
    Learn,
    Commit(usize),
    Refuse(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_u128, 0..40_u128, 0..8_u8, 1..12_u64)
            .prop_map(|(who, key, what, seq)| Step::Post(who, key, what, seq)),
        1 => (0..5_u128).prop_map(Step::Look),
        4 => Just(Step::Learn),
        3 => (1..6_usize).prop_map(Step::Commit),
        1 => any::<bool>().prop_map(Step::Refuse),
    ]
}

fn change(what: u8, seq: u64, who: u128) -> Change {
    let target = Seq(seq);
    let other = u128::from(seq % 5);
    let username = format!("user{other}").into();
    match what {
        0 | 1 => say("hello"),
        2 => Change::Edit { target, body: "edited".into(), enc: false },
        3 => Change::Delete { target },
        4 => Change::React { target, emoji: "+".into(), on: who.is_multiple_of(2) },
        5 => Change::Join,
        6 => Change::Leave,
        _ => Change::Kick { user: user(other), username },
    }
}

/// Every event's sender was allowed it by the log before it.
fn check_permissions(log: &[Event], owner: u128) {
    let mut roles = HashMap::from([(user(owner), Role::Owner)]);
    for (place, event) in log.iter().enumerate() {
        let role = roles.get(&event.sender.id).copied();
        match &event.content {
            Content::Member { user, change, .. } => {
                match change {
                    MemberChange::Joined { .. } => assert_eq!(role, None, "joined twice"),
                    MemberChange::Left => assert!(role.is_some(), "left without being in"),
                    MemberChange::Kicked => {
                        assert!(role >= Some(Role::Moderator), "kicked without the right");
                    }
                    MemberChange::Role { .. } => {}
                }
                match change.role() {
                    Some(role) => drop(roles.insert(*user, role)),
                    None => drop(roles.remove(user)),
                }
            }
            _ => assert!(role.is_some(), "{event:?} is from nobody in the room"),
        }
        assert_eq!(event.seq, Seq(place as u64 + 1));
    }
}

proptest! {
    #[test]
    fn whatever_comes_the_log_has_no_hole_and_everybody_is_answered_once(
        steps in proptest::collection::vec(step(), 1..150)
    ) {
        let mut world = World::new(RoomKind::Public, 0);
        for step in steps {
            match step {
                Step::Post(who, key, what, seq) => {
                    world.post(who, key, change(what, seq, who));
                }
                Step::Look(who) => drop(world.look(who, None)),
                Step::Learn => world.learn_one(),
                Step::Commit(count) => world.commit(count),
                Step::Refuse(refuse) => world.lane_takes = !refuse,
            }
        }
        world.lane_takes = true;
        world.settle();
        prop_assert!(world.state.is_quiet());
        prop_assert_eq!(world.stopped, None);
        prop_assert_eq!((world.answers.len() + world.looks.len()) as u64, world.waiters);
        let seqs: Vec<Seq> = world.log.iter().map(|event| event.seq).collect();
        prop_assert_eq!(&world.published, &seqs);
        check_permissions(&world.log, 0);
        for answer in world.answers.values().flatten() {
            let event = world.event(answer.seq).expect("an acknowledged event is in the log");
            prop_assert_eq!(event.sent_at, answer.sent_at);
        }
    }
}
