//! What is read, decided or not taken while something else is on its way.

use super::*;

#[test]
fn a_repeat_is_answered_with_the_first_seq_whatever_happened_since() {
    let mut world = World::new(RoomKind::Public, 1);
    world.post(2, 1, Change::Join);
    world.settle();
    let send = world.post(2, 2, say("mine"));
    world.settle();
    let target = world.seq_of(send);
    let delete = world.post(2, 3, Change::Delete { target });
    world.settle();
    world.post(1, 4, Change::Kick { user: user(2), username: "user2".into() });
    world.settle();
    world.reopen(RoomKind::Public);
    let send_again = world.post(2, 2, say("mine"));
    let delete_again = world.post(2, 3, Change::Delete { target });
    let new = world.post(2, 5, say("no longer"));
    world.settle();
    assert_eq!(world.seq_of(send_again), target);
    assert_eq!(world.seq_of(delete_again), world.seq_of(delete));
    assert_eq!(world.code_of(new), Code::Forbidden);
}

#[test]
fn a_role_that_was_read_before_a_kick_is_not_believed_after_it() {
    let mut world = World::new(RoomKind::Private, 1);
    world.roles.insert(user(2), Role::Member);
    let look = world.look(2, None);
    // Its answer is on the way: it was true when it was read.
    let late = world.loads.pop_front().expect("the role of the one who looks");
    world.post(1, 1, Change::Kick { user: user(2), username: "user2".into() });
    world.settle();
    let known = Ok(Known::Role(Some(Role::Member)));
    let effects = world.state.learn(world.now, late.0, late.1, known);
    world.perform(effects);
    let send = world.post(2, 2, say("still here?"));
    world.settle();
    assert_eq!(world.looks[&look], Err(Refusal::no_such_room()));
    assert_eq!(world.code_of(send), Code::NotFound);
}

#[test]
fn a_message_that_was_read_before_its_delete_is_not_edited_after_it() {
    let mut world = World::new(RoomKind::Private, 1);
    world.post(1, 1, say("mine"));
    world.settle();
    // So many more that the ring forgets the message while its delete is on its way.
    for number in 0..limits::RING_EVENTS_MAX as u128 {
        world.post(1, 100 + number, say("more"));
    }
    world.post(1, 2, Change::Delete { target: Seq(1) });
    world.commit(limits::RING_EVENTS_MAX);
    let edit = Change::Edit { target: Seq(1), body: "late".into(), enc: false };
    let edit = world.post(1, 3, edit);
    let late = world.loads.pop_front().expect("the target");
    let before = world.event(Seq(1));
    world.commit(1);
    let effects = world.state.learn(world.now, late.0, late.1, Ok(Known::Target(before)));
    world.perform(effects);
    world.settle();
    assert_eq!(world.code_of(edit), Code::NotFound);
}

#[test]
fn a_member_change_that_the_lane_did_not_take_leaves_the_one_before_it_in_force() {
    let mut world = World::new(RoomKind::Private, 1);
    world.roles.insert(user(2), Role::Member);
    world.post(1, 1, Change::Kick { user: user(2), username: "user2".into() });
    while !world.loads.is_empty() {
        world.learn_one();
    }
    assert_eq!(world.lane.len(), 1, "the kick is in flight");
    world.lane_takes = false;
    let add = Change::Add { user: user(2), username: "user2".into(), role: Some(Role::Member) };
    let add = world.post(1, 2, add);
    world.learn_one();
    assert_eq!(world.code_of(add), Code::Busy);
    world.lane_takes = true;
    let send = world.post(2, 3, say("behind the kick"));
    world.settle();
    assert_eq!(world.code_of(send), Code::NotFound);
}

#[test]
fn somebody_added_without_a_role_keeps_the_one_that_they_have_or_that_is_under_way() {
    let mut world = World::new(RoomKind::Private, 1);
    world.roles.insert(user(2), Role::Moderator);
    let add = |number, role| Change::Add { user: user(number), username: "them".into(), role };
    let there = world.post(1, 1, add(2, None));
    let new = world.post(1, 2, add(3, None));
    let promoted = world.post(1, 3, add(3, Some(Role::Moderator)));
    let again = world.post(1, 4, add(3, None));
    while !world.loads.is_empty() {
        world.learn_one();
    }
    world.settle();
    assert_eq!(world.code_of(there), Code::Conflict);
    assert_eq!(world.code_of(again), Code::Conflict);
    assert!(world.seq_of(new) < world.seq_of(promoted));
    assert_eq!(world.roles[&user(3)], Role::Moderator);
}

#[test]
fn a_room_stops_when_the_lane_does_not_take_its_creator() {
    let mut world = World::new(RoomKind::Private, 1);
    world.lane_takes = false;
    let creator = Sender { id: user(1), username: "user1".into() };
    let effects = world.state.found(world.now, creator);
    world.perform(effects);
    // Whatever came into the log first, the room would never have an owner.
    assert!(world.stopped.is_some());
}

#[test]
fn an_older_version_of_the_metadata_does_not_come_into_the_log_behind_a_newer_one() {
    let mut world = World::new(RoomKind::Public, 1);
    let version = |version: u64| {
        let mut changed = (*meta(RoomKind::Public)).clone();
        changed.version = version;
        Arc::new(changed)
    };
    let by = |number| Sender { id: user(number), username: "user".into() };
    // Two changed the room at the same time, and their tasks came here in the other order.
    for (waiter, number) in [(3, 3), (2, 2)] {
        let effects =
            world.state.refresh(world.now, version(number), by(waiter.into()), Some(waiter));
        world.perform(effects);
    }
    world.settle();
    let versions: Vec<u64> = world
        .log
        .iter()
        .filter_map(|event| match event.content {
            Content::Room { version, .. } => Some(version),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [3]);
    assert!(world.answers[&2].is_ok() && world.answers[&3].is_ok());
}
