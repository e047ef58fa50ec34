//! What a session sends to a room that it is about to follow: it does not overtake that, and waits for nothing else.

use super::*;

/// Ann is welcomed; two of her rooms are awake and one is not.
struct Scene {
    node: Node,
    asleep: RoomId,
    talk: RoomId,
    other: RoomId,
    client: Client,
}

impl Scene {
    async fn set() -> Self {
        let node = Node::start().await;
        let ann = node.user("ann").await;
        let asleep = node.room(&ann, "asleep", RoomKind::Private).await;
        let talk = node.room(&ann, "talk", RoomKind::Private).await;
        let other = node.room(&ann, "other", RoomKind::Private).await;
        let node = node.restart().await;
        for room in [talk, other] {
            node.say(&ann, room, "awake").await.expect("the owner");
        }
        let mut client = node.client(&ann);
        client.until(|frame| frame["type"] == "welcome").await;
        Self { node, asleep, talk, other, client }
    }
}

#[tokio::test(start_paused = true)]
async fn who_subscribes_and_sends_at_once_hears_what_they_sent() {
    let Scene { node, asleep, talk, other, mut client } = Scene::set().await;
    // The session is busy with a room that takes a while to open.
    node.history.fail_opens(1);
    node.history.slow_down(Duration::from_millis(200));
    client.ask(1, Command::Subscribe(vec![(asleep, None)]));
    client.ask(2, Command::Subscribe(vec![(talk, None)]));
    client.send(3, talk, Key::generate(), "hello");
    client.send(4, other, Key::generate(), "meanwhile");
    let first = client.until(|frame| frame["type"] == "ok" && frame["id"] != 1).await;
    assert_eq!(first["id"], 4, "another room waits for nothing");
    let seq = client.answer(3).await["seq"].as_u64().expect("it is said");
    client.until(|frame| frame["body"] == "hello").await;
    assert_eq!(client.events(), [seq]);
}

#[tokio::test(start_paused = true)]
async fn a_send_waits_for_a_subscribe_that_takes_long_for_a_moment_only() {
    let Scene { node, asleep, talk, mut client, .. } = Scene::set().await;
    // The room that is asked first does not open for a long time.
    node.history.slow_down(limits::BEHIND_SUBSCRIBE_MAX * 4);
    client.ask(1, Command::Subscribe(vec![(asleep, None)]));
    client.ask(2, Command::Subscribe(vec![(talk, None)]));
    for id in 3..6 {
        client.send(id, talk, Key::generate(), "hello");
    }
    let is_held = || client.session.link.holds.holds(talk);
    tokio::time::sleep(limits::BEHIND_SUBSCRIBE_MAX - Duration::from_millis(100)).await;
    assert!(is_held());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!is_held(), "they went to their room");
    let mut last = 0;
    for id in 3..6 {
        let seq = client.answer(id).await["seq"].as_u64().expect("it is said");
        assert!(seq > last, "in order");
        last = seq;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_earlier_wait_does_not_end_a_later_one() {
    let Scene { node, asleep, talk, mut client, .. } = Scene::set().await;
    let almost = limits::BEHIND_SUBSCRIBE_MAX - Duration::from_millis(100);
    client.ask(1, Command::Subscribe(vec![(talk, None)]));
    client.send(2, talk, Key::generate(), "first");
    client.until(|frame| frame["body"] == "first").await;
    tokio::time::sleep(almost).await;
    // The room that is asked before opens after more than a second.
    node.history.slow_down(Duration::from_secs(3));
    client.ask(3, Command::Subscribe(vec![(asleep, None)]));
    client.ask(4, Command::Subscribe(vec![(talk, None)]));
    client.send(5, talk, Key::generate(), "second");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(client.session.link.holds.holds(talk), "it waits for its own time");
    client.answer(5).await;
    client.until(|frame| frame["body"] == "second").await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_its_session_ends_is_answered() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let node = node.restart().await;
    node.history.fail_opens(1_000);
    let client = node.client(&ann);
    client.session.attach(room);
    client.send(1, room, Key::generate(), "hello");
    let link = Arc::downgrade(&client.session.link);
    assert_eq!(link.upgrade().map(|link| link.in_flight()), Some(1));
    drop(client);
    // What waits has a grip on the session that it is answered to; both go.
    while link.upgrade().is_some() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_ask_for_a_room_follows_it_before_their_first_message() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let node = node.restart().await;
    // The room cannot be opened yet; its next try succeeds, whoever makes it.
    node.history.fail_opens(1);
    let mut client = node.client(&ann);
    client.session.attach(room);
    client.send(1, room, Key::generate(), "hello");
    let seq = client.answer(1).await["seq"].as_u64().expect("it is said");
    node.say(&ann, room, "again").await.expect("the owner");
    client.until(|frame| frame["body"] == "again").await;
    assert_eq!(client.events(), [seq, seq + 1]);

    let mut outsider = node.client(&bob);
    outsider.session.attach(room);
    let refused = outsider.until(|frame| frame["type"] == "error").await;
    assert_eq!(refused["code"], "not_found");
    outsider.ask(1, Command::Ping);
    outsider.answer(1).await;
    assert!(outsider.ended.is_none(), "coming back would not help");

    let node = node.restart().await;
    node.history.fail_opens(1_000);
    let mut client = node.client(&ann);
    client.session.attach(room);
    let bye = client.until(|frame| frame["type"] == "bye").await;
    assert_eq!(bye["code"], "unavailable");
    assert_eq!(client.ended.map(|closing| closing.code), Some(CloseCode::GoingAway));
}
