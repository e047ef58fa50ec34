//! What an owner tells the nodes that follow its rooms, and what not.

use super::*;
use crate::wire::Envelope;

#[tokio::test(start_paused = true)]
async fn an_event_costs_the_owner_one_envelope_a_node_however_many_are_in_the_room() {
    let cluster = Cluster::start(3).await;
    let one = &cluster.nodes[0];
    let ann = one.user("ann").await;
    let room = one.room(&ann, "large", RoomKind::Public).await;
    let mut clients: Vec<Client> = Vec::new();
    for number in 1..1_000 {
        let member = one.user(&format!("member-{number}")).await;
        one.chat.post(&member, room, Key::generate(), Change::Join).await.expect("joined");
        clients.push(cluster.nodes[number % 3].client(&member));
    }
    for client in &mut clients {
        client.subscribe(1, room, None).await;
    }
    // Two events of its making, and one of each who joined.
    let head = 2 + clients.len() as u64;
    cluster.mesh.look_at(NodeId(1));
    for n in 1..=5 {
        one.say(&ann, room, "to a thousand").await.expect("posted");
        for client in &mut clients {
            client.event(head + n).await;
        }
    }
    for client in &clients {
        assert_eq!(client.events(), [1, 2, 3, 4, 5].map(|n| head + n));
    }
    let sent = cluster.mesh.sent_by(NodeId(1)).into_iter();
    let sent = sent.map(|(to, frame)| (to, Envelope::decode(&frame).expect("sound")));
    let about_the_room = sent.filter(|(_, envelope)| !matches!(envelope, Envelope::Presence(_)));
    let to: Vec<NodeId> = about_the_room
        .map(|(to, envelope)| match envelope {
            Envelope::Event { .. } => to,
            other => panic!("{other:?}"),
        })
        .collect();
    let count = |node| to.iter().filter(|to| **to == NodeId(node)).count();
    assert_eq!((to.len(), count(2), count(3)), (10, 5, 5), "two for each of five events");
}

#[tokio::test(start_paused = true)]
async fn a_member_who_is_kicked_hears_no_more_on_another_node() {
    let cluster = Cluster::start(2).await;
    let mut scene = cluster.bob_follows().await;
    scene.kick_bob().await;
    scene.client.event(4).await;
    scene.one.say(&scene.ann, scene.room, "not for bob").await.expect("posted");
    scene.hear_all().await;
    assert_eq!(scene.client.events(), [4]);
    let refused = scene.client.subscribe(2, scene.room, None).await;
    assert_eq!(refused["error"], "forbidden");
}

#[tokio::test(start_paused = true)]
async fn typing_is_seen_on_every_node() {
    let cluster = Cluster::start(3).await;
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut clients = [one.client(&ann), two.client(&ann), three.client(&ann)];
    for client in &mut clients {
        client.subscribe(1, room, None).await;
    }
    clients[1].ask(5, Command::Typing { room });
    for place in [0, 2] {
        clients[place].until(|frame| frame["type"] == "typing").await;
    }
    clients[1].answer(5).await;
    assert!(clients[1].seen.iter().all(|frame| frame["type"] != "typing"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_follows_on_is_told_nothing_after_a_while() {
    let cluster = Cluster::start(2).await;
    let [one, two] = &cluster.nodes[..] else { panic!("two nodes") };
    let ann = one.user("ann").await;
    let room = one.room(&ann, "r", RoomKind::Public).await;
    let mut client = two.client(&ann);
    client.subscribe(1, room, None).await;
    client.ask(2, Command::Unsubscribe(vec![room]));
    client.answer(2).await;
    // The next event finds nobody there, and then the owner may sleep.
    one.say(&ann, room, "hi").await.expect("posted");
    tokio::time::sleep(limits::ROOM_IDLE * 3).await;
    assert_eq!(one.chat.rooms_awake(), 0);
}
