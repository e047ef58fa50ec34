//! What strangers, members, authors and moderators may do.

use super::*;

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
