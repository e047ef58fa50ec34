//! What a session is shown that comes with a cursor.

use super::*;

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
