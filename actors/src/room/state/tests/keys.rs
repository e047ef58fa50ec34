//! Keys of idempotency: repeats, and keys that are not the client's to take.

use super::*;

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
