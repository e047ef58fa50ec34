//! What operators do under load: rolling restarts, and shards moved by hand.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::harness::losses::print_spread;
use crate::harness::node::shard_of;
use crate::harness::scene::{LARGE, SMALL, Scene, Shape};
use crate::town::{By, Writer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_may_be_restarted_in_turn_under_load() {
    rolling_restart(SMALL, 0x5EED_0150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn every_node_of_a_larger_fleet_may_be_restarted_in_turn_under_load() {
    rolling_restart(LARGE, 0x5EED_0151).await;
}

async fn rolling_restart(shape: Shape, seed: u64) {
    let Some(mut scene) = Scene::open(shape, seed).await else { return };
    for place in 0..shape.nodes {
        let begun = std::time::Instant::now();
        let status = scene.fleet.nodes[place].terminate().await;
        println!("node {} ended in {:?} with {status}", place + 1, begun.elapsed());
        assert!(status.success(), "an asked-for end is a success");
        scene.fleet.start().await;
        scene.talk.goes_on(20).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn shards_may_be_moved_all_the_time() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0152).await else { return };
    let mut moves: Vec<(Uuid, Instant)> = Vec::new();
    for round in 0..6 {
        let before = moves.len();
        for _ in 0..8 {
            let (room, place) = (scene.any_room(), scene.any_node());
            let view = scene.fleet.view().await.expect("the nodes run");
            let to = view.id_of(&scene.fleet.nodes[place].name).expect("it is known");
            let ask = json!({"do": "move", "shard": shard_of(room), "to": to});
            hurry(&mut scene, room);
            tokio::time::sleep(PACE).await;
            let begun = Instant::now();
            match scene.fleet.nodes[0].ask(&ask).await {
                Ok(_) => moves.push((room, begun)),
                // It is there already, or on its way somewhere.
                Err(why) => println!("not moved: {why}"),
            }
        }
        let moved = moves.len() - before;
        println!("round {round}: {moved} moves begun after {} acks", scene.talk.acked());
        scene.for_seconds(5).await;
        scene.talk.goes_on(50).await;
    }
    print_pauses(&scene, &moves);
    scene.end().await;
}

/// Between two messages of the one who sees how long a room that moves does not accept.
const PACE: Duration = Duration::from_millis(20);
/// How long a move may take to begin and end. Others' moves go on meanwhile.
const LASTS: Duration = Duration::from_secs(2);

/// Somebody writes one message after the other in a room that is about to move.
fn hurry(scene: &mut Scene, room: Uuid) {
    let number = scene.town.rooms.iter().position(|known| *known == room).expect("it is known");
    let who = scene.town.members[number].last().copied().expect("a room of some");
    let place = scene.any_node();
    let http = scene.fleet.nodes[place].http();
    let hurries = |writer: Writer| writer.hurries(http, PACE, LASTS);
    scene.talk.write(&scene.town.people[who], room, hurries);
}

/// The longest that a message waited around each move: as long as the room did not accept.
fn print_pauses(scene: &Scene, moves: &[(Uuid, Instant)]) {
    let acks = scene.talk.acks();
    let longest = |(room, begun): &(Uuid, Instant)| {
        let around = acks.iter().filter(|ack| {
            ack.by == By::Press
                && ack.room == *room
                && ack.acked >= *begun
                && ack.begun < *begun + LASTS
        });
        around.map(|ack| ack.acked - ack.begun).max()
    };
    let pauses = moves.iter().filter_map(longest).collect();
    print_spread("a moved room does not accept for", pauses);
    let all = acks.iter().filter(|ack| ack.by == By::Press);
    print_spread("from send to ack, moved or not,", all.map(|ack| ack.acked - ack.begun).collect());
}
