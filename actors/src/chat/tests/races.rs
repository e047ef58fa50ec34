//! Scenarios in which something else happens in the middle: refusals, crashes, kicks.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refused_send_does_not_hold_back_those_before_it() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    // All of them before the room takes the first: the last is one too many.
    for id in 1..=65 {
        client.send(id, room, Key::generate(), "hello");
    }
    assert_eq!(client.answer(65).await["code"], "busy");
    for id in 1..=64 {
        assert_eq!(client.answer(id).await["seq"], id + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn sends_that_a_crash_refused_keep_their_order_when_repeated() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let at = RoomRef { tenant: ann.tenant, room };
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    let keys: Vec<Key> = (0..3).map(|_| Key::generate()).collect();
    // A room that opens again takes the first into its queue; the others are in its mailbox when
    // it crashes.
    node.chat.crash_room(at);
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.send(1, room, keys[0], "first");
    tokio::task::yield_now().await;
    node.chat.crash_room(at);
    client.send(2, room, keys[1], "second");
    client.send(3, room, keys[2], "third");
    for id in 1..=3 {
        assert_eq!(client.answer(id).await["code"], "unavailable");
    }
    for (id, key) in (11..).zip(&keys) {
        client.send(id, room, *key, "again");
        assert_eq!(client.answer(id).await["seq"], id - 8);
    }
}
