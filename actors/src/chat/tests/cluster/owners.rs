//! Rooms whose owner dies, moves, is fenced or is nobody for a while.

use super::*;
use crate::vocab::ShardId;

#[tokio::test(start_paused = true)]
async fn followers_go_on_when_the_rooms_owner_dies() {
    let mut cluster = Cluster::start(3).await;
    let ann = cluster.nodes[1].user("ann").await;
    let room = cluster.nodes[1].room(&ann, "r", RoomKind::Public).await;
    let mut client = cluster.nodes[1].client(&ann);
    client.subscribe(1, room, None).await;
    cluster.nodes[1].say(&ann, room, "before").await.expect("posted");
    client.event(3).await;
    cluster.end(1);
    client.send(2, room, Key(Uuid::from_u128(77)), "while nobody serves it");
    assert_eq!(client.answer(2).await["code"], "unavailable");
    cluster.assign(room, 3);
    // It was refused for now, so that the client repeats it first.
    for id in 10.. {
        client.send(id, room, Key(Uuid::from_u128(77)), "while nobody serves it");
        if client.answer(id).await["type"] == "ok" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.event(4).await;
    cluster.nodes[2].say(&ann, room, "after").await.expect("posted");
    client.event(5).await;
    assert_eq!(client.events(), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_planned_move_loses_nothing_and_keeps_the_order_of_a_session() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut clients = [one.client(&ann), two.client(&ann)];
    for client in &mut clients {
        client.subscribe(1, room, None).await;
    }
    let mut sent = 0u64;
    for round in 0..6u64 {
        let to = if round % 2 == 0 { 2 } else { 1 };
        cluster.directory().move_shard(room.shard(), NodeId(to));
        for _ in 0..4 {
            for client in &clients {
                client.send(100 + sent, room, Key::generate(), &format!("m{sent}"));
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        owned_by(&cluster, room, to).await;
    }
    for (place, client) in clients.iter_mut().enumerate() {
        let mut last = 0;
        for n in (place as u64..sent).step_by(2) {
            let answer = client.answer(100 + n).await;
            assert_eq!(answer["type"], "ok", "{answer}");
            let seq = answer["seq"].as_u64().expect("a seq");
            assert!(seq > last, "a session's sends are in their order");
            last = seq;
        }
        client.event(2 + sent).await;
        let expected: Vec<u64> = (3..=2 + sent).collect();
        assert_eq!(client.events(), expected, "no gap and no repeat");
    }
}

async fn owned_by(cluster: &Cluster, room: RoomId, node: u64) {
    for _ in 0..1_000 {
        if cluster.owner(room) == NodeId(node) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was never given to node {node}");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_fenced_stops_at_once_and_its_followers_find_the_next() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = one.client(&ann);
    client.subscribe(1, room, None).await;
    // Node 1 does not hear of it for now: only the database knows.
    two.history.take_over(room.shard(), Epoch(2));
    let refused = one.say(&ann, room, "too late").await.expect_err("fenced");
    assert_eq!(refused.code, Code::Unavailable);
    let still = one.say(&ann, room, "too late").await.expect_err("held, and nobody serves it");
    assert_eq!(still.code, Code::Unavailable);
    cluster.assign(room, 2);
    two.say(&ann, room, "by the next owner").await.expect("posted");
    client.event(3).await;
    one.say(&ann, room, "through the first").await.expect("posted");
    client.event(4).await;
    assert_eq!(client.events(), [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn shards_that_nobody_serves_refuse_after_a_while_and_come_back() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let shard: ShardId = room.shard();
    let owned = cluster.directory().ownership(shard).expect("owned");
    cluster.directory().set_ownership(shard, None);
    let refused = two.say(&ann, room, "nobody").await.expect_err("nobody serves it");
    assert_eq!((refused.code, refused.retry_after), (Code::Unavailable, Some(limits::MOVED_RETRY)));
    let waiting = two.say(&ann, room, "held");
    let back = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let owned = Ownership { epoch: Epoch(9), ..owned };
        cluster.directory().set_ownership(shard, Some(owned));
    };
    let (posted, ()) = tokio::join!(waiting, back);
    assert_eq!(posted.expect("held until somebody served it").seq, Seq(3));
}

#[tokio::test(start_paused = true)]
async fn a_send_to_a_room_whose_node_ended_waits_for_the_next_owner() {
    let mut cluster = Cluster::start(3).await;
    let ann = cluster.nodes[1].user("ann").await;
    let room = cluster.nodes[0].room(&ann, "r", RoomKind::Public).await;
    cluster.nodes[1].say(&ann, room, "before").await.expect("posted");
    cluster.end(1);
    // The other end is told of the interruption first.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waiting = cluster.nodes[1].say(&ann, room, "waits");
    let taken_over = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.assign(room, 3);
    };
    let (posted, ()) = tokio::join!(waiting, taken_over);
    assert_eq!(posted.expect("it was never refused").seq, Seq(4));
}
