//! Crashes, outages and resumes: nothing acknowledged is lost, nothing comes twice.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_room_made_in_the_directory_alone_is_healed_when_it_opens() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    // The node died between the directory and the log.
    let new = NewRoom {
        tenant: ann.tenant,
        id: RoomId::generate(),
        key: Key::generate(),
        kind: RoomKind::Private,
        name: RoomName::parse("half").expect("a good name"),
        topic: Topic::default(),
        by: ann.user,
        at: Timestamp::now(),
    };
    let meta = node.parts.directory.create_room(new).await.expect("created");
    node.say(&ann, meta.id, "hello").await.expect("the creator is its owner");
    assert_eq!(node.history.committed(meta.at()).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_a_room_loses_nothing_and_repeats_nothing() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let at = RoomRef { tenant: TenantId::MAIN, room };
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    let mut keys = Vec::new();
    let mut id = 10;
    for round in 0..10 {
        for number in 0..5 {
            let key = Key::generate();
            keys.push(key);
            client.send(id, room, key, &format!("{round}.{number}"));
            id += 1;
        }
        assert!(node.chat.crash_room(at), "the room is awake");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    // Everybody who was told to repeat does.
    for (number, key) in (0..).zip(&keys) {
        let first = client.answer(10 + number).await;
        if first["type"] == "error" {
            assert_eq!(first["code"], "unavailable");
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.send(1_000 + number, room, *key, "again");
            assert_eq!(client.answer(1_000 + number).await["type"], "ok");
        }
    }
    let log = node.history.committed(at);
    assert_eq!(log.len(), 2 + keys.len(), "each key once");
    client.event(log.len() as u64).await;
    assert_eq!(client.events(), (3..=log.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_while_the_room_crashed_still_reaches_its_followers() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let at = RoomRef { tenant: TenantId::MAIN, room };
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    node.history.hold_commits();
    client.send(2, room, Key::generate(), "held");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(node.history.waiting(), 1);
    node.chat.crash_room(at);
    assert_eq!(client.answer(2).await["code"], "unavailable");
    node.history.release_commits();
    // Nobody asks for the room again: its followers are enough.
    assert_eq!(client.event(3).await["body"], "held");
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_after_the_node_was_killed() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    for number in 0..10 {
        node.say(&ann, room, &number.to_string()).await.expect("said");
    }
    node.history.hold_commits();
    let mut before = node.client(&ann);
    before.subscribe(1, room, Some(0)).await;
    before.event(12).await;
    let key = Key::generate();
    before.send(2, room, key, "in flight");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let node = node.restart().await;
    let mut after = node.client(&ann);
    after.subscribe(1, room, Some(7)).await;
    after.send(2, room, key, "in flight");
    assert_eq!(after.answer(2).await["seq"], 13);
    after.event(13).await;
    assert_eq!(after.events(), (8..=13).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_more_than_two_hundred_is_a_gap() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    for number in 0..300 {
        node.say(&ann, room, &number.to_string()).await.expect("said");
    }
    let mut client = node.client(&ann);
    client.subscribe(1, room, Some(50)).await;
    let gap = client.until(|frame| frame["type"] == "gap").await;
    assert_eq!((&gap["from"], &gap["to"]), (&json!(51), &json!(302)));
    // From history where the ring does not reach back, with no seam.
    let node = node.restart().await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, Some(200)).await;
    client.event(302).await;
    assert_eq!(client.events(), (201..=302).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_rename_is_an_event_and_survives_a_crash_in_between() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "before", RoomKind::Public).await;
    let name = RoomName::parse("after").ok();
    let change = RoomChange { name, ..RoomChange::default() };
    let view = node.chat.change_room(&ann, room, change).await.expect("renamed");
    assert_eq!(view.meta.version, 2);
    // This one reaches the directory and nothing else.
    let topic = Topic::parse("things").ok();
    let at = view.meta.at();
    let node = node.restart().await;
    let change = RoomChange { topic, ..RoomChange::default() };
    node.parts.directory.change_room(at, change, ann.user).await.expect("changed");
    node.say(&ann, room, "hi").await.expect("said");
    let versions: Vec<u64> = node
        .history
        .committed(at)
        .iter()
        .filter_map(|event| match event.content {
            Content::Room { version, .. } => Some(version),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_database_goes_away_and_comes_back() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    node.say(&ann, room, "before").await.expect("said");
    node.history.set_away(true);
    let key = Key::generate();
    let refused = node.chat.post(&ann, room, key, say("during")).await.expect_err("away");
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.retry_after.is_some());
    node.history.set_away(false);
    let posted = node.chat.post(&ann, room, key, say("during")).await.expect("back");
    assert_eq!((posted.seq, posted.repeated), (Seq(4), false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_wait_for_the_database_for_ever() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    node.history.hold_commits();
    let key = Key::generate();
    let refused = node.chat.post(&ann, room, key, say("slow")).await.expect_err("too slow");
    assert_eq!(refused.code, Code::Unavailable);
    node.history.release_commits();
    let posted = node.chat.post(&ann, room, key, say("slow")).await.expect("committed");
    assert_eq!(posted.seq, Seq(3));
    assert_eq!(node.history.committed(RoomRef { tenant: ann.tenant, room }).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_room_stops_at_once() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    node.history.take_over(room.shard(), crate::vocab::Epoch(1_000_000));
    for _ in 0..3 {
        let refused = node.say(&ann, room, "mine?").await.expect_err("fenced");
        assert_eq!(refused.code, Code::Unavailable);
    }
    assert_eq!(node.history.committed(RoomRef { tenant: ann.tenant, room }).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_room_goes_to_sleep_and_wakes_up_with_its_log() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    assert_eq!(node.chat.rooms_awake(), 1);
    tokio::time::sleep(limits::ROOM_IDLE * 2).await;
    assert_eq!(node.chat.rooms_awake(), 0);
    assert_eq!(node.say(&ann, room, "awake").await.map(|posted| posted.seq), Ok(Seq(3)));
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_kept_everything_keeps_the_generation() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "r", RoomKind::Public).await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    node.say(&ann, room, "before").await.expect("posted");
    client.event(3).await;
    node.history.fail_over();
    let refused = node.say(&ann, room, "at once").await.expect_err("the room opens again first");
    assert_eq!(refused.code, Code::Unavailable);
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.say(&ann, room, "after").await.expect("posted");
    client.event(4).await;
    assert_eq!(client.events(), [3, 4]);
    let (r#gen, _) =
        node.chat.history(&ann, room, Range::Latest, 1, View::Log).await.expect("a page");
    assert_eq!(r#gen, Gen(1));
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_lost_history_begins_the_next_generation() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "r", RoomKind::Public).await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    for _ in 0..3 {
        node.say(&ann, room, "before").await.expect("posted");
    }
    client.event(5).await;
    node.history.fail_over();
    node.history.forget_after(RoomRef { tenant: TenantId::MAIN, room }, Seq(3));
    node.say(&ann, room, "at once").await.expect_err("the room opens again first");
    let gap = client.until(|frame| frame["type"] == "gap").await;
    assert_eq!((gap["from"].as_u64(), gap["to"].as_u64()), (Some(1), Some(3)));
    let posted = node.say(&ann, room, "after").await.expect("posted");
    assert_eq!(posted.seq, Seq(4));
    let read = node.chat.history(&ann, room, Range::Latest, 1, View::Log).await;
    assert_eq!(read.expect("a page").0, Gen(2));
    // A cursor of the former generation says nothing of this one.
    let mut late = node.client(&ann);
    let cursor = Some(Cursor { r#gen: Gen(1), seq: Seq(5) });
    late.ask(1, Command::Subscribe(vec![(room, cursor)]));
    let gap = late.until(|frame| frame["type"] == "gap").await;
    assert_eq!((gap["from"].as_u64(), gap["to"].as_u64()), (Some(1), Some(4)));
}
