//! Ways between nodes that are cut or lose messages, and nodes that do not answer.

use super::*;
use crate::ports::peers::{Channel, Inbox, Malformed, Peers};

#[tokio::test(start_paused = true)]
async fn what_an_interruption_lost_is_read_from_history() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    one.say(&ann, room, "seen").await.expect("posted");
    client.event(3).await;
    cluster.mesh.cut(NodeId(1), NodeId(2));
    for _ in 0..5 {
        one.say(&ann, room, "missed").await.expect("posted");
    }
    cluster.mesh.heal(NodeId(1), NodeId(2));
    client.event(8).await;
    one.say(&ann, room, "live again").await.expect("posted");
    client.event(9).await;
    assert_eq!(client.events(), [3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_room_heals_as_well() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    // Committed, and its envelope lost on the way.
    one.say(&ann, room, "lost on the way").await.expect("posted");
    cluster.mesh.interrupt(NodeId(1), NodeId(2));
    client.event(3).await;
    assert_eq!(client.events(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_kick_in_a_gap_ends_the_feed_all_the_same() {
    let cluster = Cluster::start(2).await;
    let mut scene = cluster.bob_follows().await;
    cluster.mesh.cut(NodeId(1), NodeId(2));
    scene.kick_bob().await;
    scene.say_much().await;
    cluster.mesh.heal(NodeId(1), NodeId(2));
    scene.client.until(|frame| frame["type"] == "gap").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let at = RoomRef { tenant: TenantId::MAIN, room: scene.room };
    assert_eq!(cluster.nodes[1].chat.followers(at), 0);
    scene.one.say(&scene.ann, scene.room, "not for bob").await.expect("posted");
    scene.hear_all().await;
    assert!(scene.client.events().is_empty(), "{:?}", scene.client.events());
}

/// A node that takes everything and answers nothing.
struct Silent;

impl Inbox for Silent {
    fn frame(&self, _: NodeId, _: Channel, _: &[u8]) -> Result<(), Malformed> {
        Ok(())
    }

    fn interrupted(&self, _: NodeId, _: Channel) {}
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_of_many_rooms_that_do_not_answer_is_answered_in_time_for_those_that_do() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let silent = cluster.mesh.join(NodeId(9));
    silent.attach(Arc::new(Silent));
    let ann = node.user("ann").await;
    let mut rooms = Vec::new();
    for number in 0..3 * limits::SUBSCRIBE_PARALLEL_MAX {
        rooms.push(node.room(&ann, &format!("r{number}"), RoomKind::Public).await);
    }
    // Shards are in the ids, which are made by chance: the first room's stays.
    for room in rooms.iter().filter(|room| room.shard() != rooms[0].shard()) {
        cluster.assign(*room, 9);
    }
    let mut client = node.client(&ann);
    let begun = tokio::time::Instant::now();
    client.ask(1, Command::Subscribe(rooms.iter().map(|room| (*room, None)).collect()));
    let answer = client.answer(1).await;
    assert!(begun.elapsed() <= limits::SUBSCRIBE_WAIT + Duration::from_secs(1));
    let answers = answer["rooms"].as_object().expect("an answer for each room");
    assert_eq!(answers.len(), rooms.len());
    assert_eq!(answers[&rooms[0].to_string()]["head"], 2);
    assert!(answers.values().any(|told| told["error"] == "unavailable"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_cluster_still_shows_history_to_members() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let (ann, bob) = (one.user("ann").await, one.user("bob").await);
    let room = one.room(&ann, "r", RoomKind::Private).await;
    one.say(&ann, room, "hi").await.expect("posted");
    cluster.mesh.cut(NodeId(1), NodeId(2));
    cluster.directories[1].cut();
    let read = |caller| two.chat.history(caller, room, Range::Latest, 10, View::Log);
    let (_, page) = read(&ann).await.expect("a member reads");
    assert_eq!(page.as_of, Seq(3));
    assert_eq!(read(&bob).await.expect_err("no member").code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_send_on_a_way_that_is_cut_waits_until_it_is_healed_and_not_for_ever() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    cluster.mesh.cut(NodeId(1), NodeId(2));
    let refused = two.say(&ann, room, "too long").await.expect_err("nobody heals it");
    assert_eq!((refused.code, refused.retry_after), (Code::Unavailable, Some(limits::MOVED_RETRY)));
    let heal = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.mesh.heal(NodeId(1), NodeId(2));
    };
    let (posted, ()) = tokio::join!(two.say(&ann, room, "waits"), heal);
    assert_eq!(posted.expect("it was held").seq, Seq(3));
}
