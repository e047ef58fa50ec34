//! The database that goes away under a cluster, and the one whose answers do.

use crate::harness::fleet::Fleet;
use crate::harness::scene::{SMALL, Scene};
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

/// Commits whose answer never comes: neither acknowledged nor forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_cluster_survives_a_database_whose_replies_are_lost() {
    let chance = Chance::seeded(0x5EED_0171);
    let Some(mut fleet) = Fleet::lay_out_behind_proxy(SMALL.nodes).await else { return };
    fleet.start().await;
    let mut scene = Scene::with(fleet, SMALL, chance).await;
    for _ in 0..3 {
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
