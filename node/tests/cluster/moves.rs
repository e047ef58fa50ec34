//! What operators do under load: rolling restarts, and shards moved by hand.

use serde_json::json;

use crate::harness::node::shard_of;
use crate::harness::scene::{LARGE, SMALL, Scene, Shape};

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
    for round in 0..6 {
        let mut moved = 0;
        for _ in 0..8 {
            let (room, place) = (scene.any_room(), scene.any_node());
            let view = scene.fleet.view().await.expect("the nodes run");
            let to = view.id_of(&scene.fleet.nodes[place].name).expect("it is known");
            let ask = json!({"do": "move", "shard": shard_of(room), "to": to});
            match scene.fleet.nodes[0].ask(&ask).await {
                Ok(_) => moved += 1,
                // It is there already, or on its way somewhere.
                Err(why) => println!("not moved: {why}"),
            }
        }
        println!("round {round}: {moved} moves begun after {} acks", scene.talk.acked());
        scene.for_seconds(5).await;
        scene.talk.goes_on(50).await;
    }
    scene.end().await;
}
