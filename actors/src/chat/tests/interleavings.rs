//! Interleavings that were once lost: a test for each, so that they stay found.

use super::cluster::Cluster;
use super::*;
use crate::vocab::Epoch;

/// Head of a room arrives between a session's look and its join; quiet room.
#[tokio::test(start_paused = true)]
async fn an_event_between_a_look_and_its_join_is_shown_in_a_quiet_room() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let slow = loop {
        let slow = one.room(&ann, &format!("s{}", Uuid::new_v4()), RoomKind::Public).await;
        if slow.shard() != room.shard() {
            break slow;
        }
    };
    // Nobody serves the other room: its look is held for 2 s.
    cluster.directory().set_ownership(slow.shard(), None);
    let mut client = two.client(&ann);
    client.ask(1, Command::Subscribe(vec![(room, None), (slow, None)]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The room was seen at 2, and is not joined yet.
    cluster.mesh.cut(NodeId(1), NodeId(2));
    one.say(&ann, room, "lost on the way").await.expect("posted");
    cluster.mesh.heal(NodeId(1), NodeId(2));
    let answer = client.answer(1).await;
    assert_eq!(answer["type"], "ok");
    client.event(3).await;
}

/// A room crashes while a change of it is on the lane; only another node follows it.
#[tokio::test(start_paused = true)]
async fn a_room_that_crashes_is_opened_again_for_those_who_follow_elsewhere() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let at = RoomRef { tenant: TenantId::MAIN, room };
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    one.history.hold_commits();
    client.send(2, room, Key::generate(), "held");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(one.history.waiting(), 1);
    one.chat.crash_room(at);
    assert_eq!(client.answer(2).await["code"], "unavailable");
    one.history.release_commits();
    assert_eq!(client.event(3).await["body"], "held");
}

/// More than a replay was missed by the node that becomes the owner, a kick among it.
#[tokio::test(start_paused = true)]
async fn a_kick_in_a_gap_ends_the_feed_at_the_next_owner_too() {
    let cluster = Cluster::start(2).await;
    let mut scene = cluster.bob_follows().await;
    cluster.mesh.cut(NodeId(1), NodeId(2));
    scene.kick_bob().await;
    scene.say_much().await;
    cluster.assign(scene.room, 2);
    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster.nodes[1].say(&scene.ann, scene.room, "not for bob").await.expect("posted");
    scene.hear_all().await;
    assert!(scene.client.events().is_empty(), "bob hears {:?}", scene.client.events());
}

/// A send waits at the old owner while the next goes to the new one.
#[tokio::test(start_paused = true)]
async fn sends_of_a_session_stay_in_order_over_a_change_of_owner() {
    let cluster = Cluster::start(3).await;
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    one.history.hold_commits();
    let first = Key::generate();
    client.send(2, room, first, "first");
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The owner's lease ran out; it lives and does not know.
    three.history.take_over(room.shard(), Epoch(2));
    cluster.assign(room, 3);
    client.send(3, room, Key::generate(), "second");
    let second = client.answer(3).await;
    one.history.release_commits();
    let answer = client.answer(2).await;
    if second["type"] == "ok" {
        assert_eq!(answer["type"], "ok", "the second is committed and the first is to be repeated");
        assert!(answer["seq"].as_u64() < second["seq"].as_u64());
    }
}

/// The same node gets a shard back before it saw that it was another's in between.
#[tokio::test(start_paused = true)]
async fn a_shard_that_comes_back_unseen_shows_what_the_other_owner_committed() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = one.client(&ann);
    client.subscribe(1, room, None).await;
    // Only the log sees the other owner: its event is committed at epoch 2, and node 1 hears of
    // the shard again at epoch 3.
    let at = RoomRef { tenant: TenantId::MAIN, room };
    let draft = crate::vocab::Draft {
        sender: Sender { id: ann.user, username: ann.username.clone() },
        device: None,
        key: Key::generate(),
        sent_at: Timestamp::now(),
        content: Content::Message { body: "b".into(), reply_to: None, thread: None, enc: false },
    };
    struct Nobody;
    impl crate::ports::history::AppendSink for Nobody {
        fn settled(&self, _: Vec<crate::ports::history::Settled>) {}
    }
    let opened = two.history.open(at, Epoch(2), None).await.expect("opened");
    let head = crate::ports::history::RoomHead::of(&opened);
    let append = crate::ports::history::Append {
        room: at,
        epoch: Epoch(2),
        head,
        ticket: 0,
        draft,
        sink: Arc::new(Nobody),
    };
    two.history.append(append).expect("taken");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(two.history.committed(at).len(), 3);
    let shard = room.shard();
    let owned = cluster.directory().ownership(shard).expect("owned");
    let owned = crate::ports::directory::Ownership { epoch: Epoch(3), ..owned };
    cluster.directory().set_ownership(shard, Some(owned));
    client.event(3).await;
}

/// The node that gets a shard back does not know yet that it had lost it, when the others follow it.
#[tokio::test(start_paused = true)]
async fn who_follows_an_owner_that_lags_behind_is_told_to_follow_again() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    cluster.directory().lag();
    cluster.assign_from(2, room, 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at_two = cluster.view_of(2, room);
    two.say(&ann, room, "at the other node").await.expect("posted");
    cluster.assign_from(2, room, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at_one = cluster.view_of(2, room);
    // Only now the first node hears of the one, and then of the other.
    cluster.directory().show(room.shard(), at_two);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.directory().show(room.shard(), at_one);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.directory().catch_up();
    one.say(&ann, room, "back").await.expect("posted");
    client.event(4).await;
    assert_eq!(client.events(), [3, 4]);
}

/// A node that was cut off still believes that it owns a room, and nobody sent anything through it.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_seen_more_is_not_let_in_by_a_former_owner() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    one.say(&ann, room, "here").await.expect("posted");
    cluster.directory().lag();
    cluster.assign_from(2, room, 2);
    for body in ["there", "there too"] {
        two.say(&ann, room, body).await.expect("posted");
    }
    let mut client = one.client(&ann);
    assert_eq!(client.subscribe(1, room, Some(5)).await["error"], "unavailable");
    // Who has seen nothing of it is: what follows comes when this node hears of the next owner.
    let mut other = one.client(&ann);
    assert_eq!(other.subscribe(1, room, Some(3)).await["head"], 3);
    cluster.directory().catch_up();
    other.event(5).await;
    assert_eq!(client.subscribe(2, room, Some(5)).await["head"], 5);
    two.say(&ann, room, "to both").await.expect("posted");
    client.event(6).await;
    other.event(6).await;
    assert_eq!((client.events(), other.events()), (vec![6], vec![4, 5, 6]));
}
