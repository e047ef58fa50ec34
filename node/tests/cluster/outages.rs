//! The database that goes away under a cluster, and the one whose answers do.

use crate::harness::fleet::Fleet;
use crate::harness::holds::Holder;
use crate::harness::scene::{LARGE, SMALL, Scene, Shape};
use crate::town::Chance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_survives_a_database_that_stops_in_the_middle_of_batches() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0170).await else { return };
    for _ in 0..2 {
        tokio::time::sleep(scene.chance.millis_below(500)).await;
        scene.fleet.database.stop_immediate().await;
        println!("the database is away after {} acks", scene.talk.acked());
        tokio::time::sleep(scene.chance.millis_below(3_000)).await;
        scene.fleet.database.start_again().await;
        scene.talk.goes_on(100).await;
    }
    scene.end().await;
}

/// Each time with inserts of every node's lanes half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_larger_cluster_survives_a_database_that_stops_over_half_done_inserts() {
    let Some(mut scene) = Scene::open(LARGE, 0x5EED_0172).await else { return };
    let mut holder = Holder::prepare(&scene.fleet.database).await;
    for _ in 0..4 {
        tokio::time::sleep(scene.chance.millis_below(500)).await;
        holder.hold("%", 5).await;
        let held = holder.held().await;
        scene.fleet.database.stop_immediate().await;
        println!("{held} inserts are half done after {} acks", scene.talk.acked());
        tokio::time::sleep(scene.chance.millis_below(3_000)).await;
        scene.fleet.database.start_again().await;
        holder = Holder::again(&scene.fleet.database).await;
        scene.talk.goes_on(100).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_cluster_survives_a_database_whose_replies_are_lost() {
    replies_are_lost(SMALL, 3, 0x5EED_0171).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_larger_cluster_survives_a_database_whose_replies_are_lost() {
    replies_are_lost(LARGE, 5, 0x5EED_0173).await;
}

/// Commits whose answer never comes: neither acknowledged nor forgotten.
async fn replies_are_lost(shape: Shape, rounds: u64, seed: u64) {
    let chance = Chance::seeded(seed);
    let Some(mut fleet) = Fleet::lay_out_behind_proxy(shape.nodes).await else { return };
    fleet.start().await;
    let mut scene = Scene::with(fleet, shape, chance).await;
    for _ in 0..rounds {
        tokio::time::sleep(scene.chance.millis_below(500)).await;
        let proxy = scene.fleet.database_proxy.as_ref().expect("it was laid out with one");
        proxy.mute(true);
        scene.for_seconds(2).await;
        proxy.mute(false);
        proxy.cut();
        println!("replies were lost until {} acks", scene.talk.acked());
        scene.talk.goes_on(100).await;
    }
    scene.end().await;
}
