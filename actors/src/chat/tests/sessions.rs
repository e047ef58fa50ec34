//! Sessions: their bounds, their own feed, presence and their end.

use super::*;
use crate::session::actor::SessionMsg;

#[tokio::test(start_paused = true)]
async fn a_session_follows_a_thousand_rooms() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let mut rooms = Vec::new();
    for number in 0..1_000 {
        rooms.push(node.room(&ann, &format!("room {number}"), RoomKind::Private).await);
    }
    let mut client = node.client(&ann);
    for (id, chunk) in (1..).zip(rooms.chunks(limits::SUBSCRIBE_ROOMS_MAX)) {
        client.ask(id, Command::Subscribe(chunk.iter().map(|room| (*room, None)).collect()));
        client.answer(id).await;
    }
    for (id, room) in (1_000..).zip(&rooms) {
        client.send(id, *room, Key::generate(), "hello");
        assert!(
            ["ok", "error"].contains(&client.answer(id).await["type"].as_str().expect("a type"))
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(client.events().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_room_has_ten_thousand_followers() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = RoomId::lobby(TenantId::MAIN);
    let mut clients = Vec::new();
    for number in 0..10_000 {
        let caller = Caller { user: UserId::generate(), ..ann.clone() };
        let mut client = node.client(&caller);
        client.subscribe(number, room, None).await;
        clients.push(client);
    }
    node.say(&ann, room, "hello all").await.expect("said");
    for client in &mut clients {
        client.event(1).await;
    }
    assert_eq!(node.chat.followers(RoomRef { tenant: TenantId::MAIN, room }), 10_000);
}

#[tokio::test(start_paused = true)]
async fn the_same_client_coming_again_replaces_its_old_session() {
    let node = Node::start().await;
    let (ann, eve) = (node.user("ann").await, node.user("eve").await);
    let mut old = node.client(&ann);
    old.until(|frame| frame["type"] == "welcome").await;
    // Somebody else's claim changes nothing.
    let _eve = node.client_after(&eve, Some(old.session.id()));
    let _new = node.client_after(&ann, Some(old.session.id()));
    old.until(|frame| frame["type"] == "bye").await;
    assert_eq!(old.ended.map(|closing| closing.code), Some(CloseCode::Replaced));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_told_of_their_own_marks_and_rooms_on_all_devices() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut phone = node.client(&bob);
    phone.until(|frame| frame["type"] == "welcome").await;
    let add = Change::Add { user: bob.user, username: "bob".into(), role: Some(Role::Member) };
    node.chat.post(&ann, room, Key::generate(), add).await.expect("added");
    let me = phone.until(|frame| frame["type"] == "me").await;
    assert_eq!(me["role"], "member");
    let laptop = node.client(&bob);
    laptop.ask(1, Command::Read { room, seq: Seq(2) });
    let me = phone.until(|frame| frame["read"] == 2).await;
    assert_eq!(me["rev"], 2);
}

#[tokio::test(start_paused = true)]
async fn presence_reaches_those_who_watch() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let mut watcher = node.client(&ann);
    watcher.ask(1, Command::Presence { status: None, watch: Some(vec![bob.user]) });
    watcher.until(|frame| frame["status"] == "Offline").await;
    let other = node.client(&bob);
    watcher.until(|frame| frame["status"] == "Online").await;
    other.ask(1, Command::Presence { status: Some(PresenceStatus::Away), watch: None });
    watcher.until(|frame| frame["status"] == "Away").await;
    watcher.seen.clear();
    drop(other);
    watcher.until(|frame| frame["status"] == "Offline").await;
}

#[tokio::test(start_paused = true)]
async fn presence_of_one_user_does_not_wait_for_the_grace_of_another() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let shard = |user: UserId, last: u8| {
        let mut bytes = *user.0.as_bytes();
        bytes[15] = last;
        UserId(uuid::Uuid::from_bytes(bytes))
    };
    let goes = Caller { user: shard(ann.user, 7), ..ann.clone() };
    let comes = Caller { user: shard(bob.user, 7), ..bob };
    let mut watcher = node.client(&ann);
    watcher.ask(1, Command::Presence { status: None, watch: Some(vec![comes.user]) });
    let going = node.client(&goes);
    watcher.until(|frame| frame["status"] == "Offline").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(going);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let began = tokio::time::Instant::now();
    let _coming = node.client(&comes);
    watcher.until(|frame| frame["status"] == "Online").await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_presence_is_refused_before_it_reaches_anybody() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    for id in 1..=100 {
        client.ask(id, Command::Presence { status: None, watch: Some(vec![ann.user]) });
    }
    for id in 1..=100 {
        let ok = id <= u64::from(limits::EPHEMERAL_RATE_PER_SECOND);
        let told = client.answer(id).await;
        assert_eq!(told["type"], if ok { "ok" } else { "error" });
        assert!(ok || told["code"] == "rate_limited", "{told}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.ask(101, Command::Presence { status: None, watch: None });
    assert_eq!(client.answer(101).await["type"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_every_send_and_says_bye() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    node.history.hold_commits();
    for id in 10..20 {
        client.send(id, room, Key::generate(), "in flight");
    }
    let chat = node.chat.clone();
    let draining = tokio::spawn(async move { chat.drain().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.send(20, room, Key::generate(), "too late");
    assert_eq!(client.answer(20).await["code"], "unavailable");
    node.history.release_commits();
    for id in 10..20 {
        assert_eq!(client.answer(id).await["type"], "ok");
    }
    client.until(|frame| frame["type"] == "bye").await;
    drop(client);
    draining.await.expect("drained");
    assert!(node.chat.open_session(ann, Dialect::V1, None, None).is_err());
}

#[tokio::test(start_paused = true)]
async fn sends_in_flight_behind_a_refused_one_are_refused_too() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    node.history.set_away(true);
    let keys: Vec<Key> = (0..5).map(|_| Key::generate()).collect();
    client.send(1, room, keys[0], "0");
    assert_eq!(client.answer(1).await["code"], "unavailable");
    node.history.set_away(false);
    // The client had sent these before it heard of the refusal.
    for (id, key) in (2..).zip(&keys[1..]) {
        client.send(id, room, *key, "later");
        assert_eq!(client.answer(id).await["code"], "unavailable");
    }
    for (id, key) in (10..).zip(&keys) {
        client.send(id, room, *key, "in order");
        assert_eq!(client.answer(id).await["seq"], id - 7);
    }
}

#[tokio::test(start_paused = true)]
async fn presence_comes_back_after_a_crash_of_its_actor() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let mut watcher = node.client(&ann);
    watcher.ask(1, Command::Presence { status: None, watch: Some(vec![bob.user]) });
    watcher.answer(1).await;
    let other = node.client(&bob);
    watcher.until(|frame| frame["status"] == "Online").await;
    node.chat.crash_presence(bob.user);
    tokio::time::sleep(Duration::from_secs(5)).await;
    watcher.read().await;
    watcher.seen.clear();
    other.ask(1, Command::Presence { status: Some(PresenceStatus::Away), watch: None });
    watcher.until(|frame| frame["status"] == "Away").await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_ends_and_nothing_of_it_stays() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    let id = client.session.id();
    node.chat.world.sessions.tell(id, SessionMsg::Panic);
    client.until(|frame| frame["type"] == "bye").await;
    assert_eq!((node.chat.sessions(), node.chat.followers(at(room))), (0, 0));
    // Nobody is there to answer, which is said.
    client.ask(2, Command::Read { room, seq: Seq(1) });
    assert!(client.session.mailbox.tell(SessionMsg::Mend(Vec::new())).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_ends_after_what_it_is_doing() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    let (outbox, world) = (client.outbox.clone(), node.chat.world.clone());
    client.ask(2, Command::Unsubscribe(vec![room]));
    client.ask(3, Command::Subscribe(vec![(room, None)]));
    drop(client);
    // What waited is dropped, or was done; the books are empty either way.
    while !outbox.is_closing() {
        tokio::task::yield_now().await;
    }
    assert_eq!((world.sessions.count(), node.chat.followers(at(room))), (0, 0));
}

fn at(room: RoomId) -> RoomRef {
    RoomRef { tenant: TenantId::MAIN, room }
}
