//! What is answered after a commit, and after one that fails, is refused or takes long.

use super::*;

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
