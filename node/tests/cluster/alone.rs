//! One node on a host of its own, with PostgreSQL on another: the ground that the cluster's tests
//! stand on.

use crate::harness::fleet::Fleet;
use crate::harness::scene::{SMALL, Scene, Shape};
use crate::town::{Chance, until};

const ALONE: Shape = Shape { nodes: 1, ..SMALL };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_its_database_acknowledges_nothing_and_goes_on_when_healed() {
    let Some(mut scene) = Scene::open(ALONE, 0x5EED_0110).await else { return };
    let (node, database) = (scene.fleet.nodes[0].host.clone(), scene.fleet.database_host.clone());
    for _ in 0..2 {
        node.cut(&database);
        scene.for_seconds(2).await;
        let acked = scene.talk.acked();
        tokio::time::sleep(scene.chance.millis_below(1_000)).await;
        assert_eq!(scene.talk.acked(), acked, "nothing can be committed");
        scene.fleet.network.heal();
        scene.talk.goes_on(50).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_stands_still_and_goes_on() {
    let Some(mut fleet) = Fleet::open(1).await else { return };
    let node = &fleet.nodes[0];
    node.stop();
    until("the node stands still", || node.is_stopped()).await;
    let asked = tokio::time::timeout(std::time::Duration::from_secs(1), node.http().me("x")).await;
    assert!(asked.is_err(), "it answers: {asked:?}");
    node.go_on();
    until("the node runs", || !node.is_stopped()).await;
    fleet.is_ready().await;
    Scene::with(fleet, ALONE, Chance::seeded(0x5EED_0111)).await.end().await;
}
