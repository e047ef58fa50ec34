//! Nodes that end without a word: processes killed, machines that lose their power.

use crate::harness::scene::{LARGE, SMALL, Scene, Shape};
use crate::tools::setting;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_may_be_killed_under_load() {
    any_node_is_killed(SMALL, 4, 3, 0x5EED_0120).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn any_node_may_be_killed_every_twenty_seconds_for_minutes() {
    any_node_is_killed(LARGE, 20, 10, 0x5EED_0121).await;
}

async fn any_node_is_killed(shape: Shape, rounds: u64, seconds: u64, seed: u64) {
    let Some(mut scene) = Scene::open(shape, seed).await else { return };
    for _ in 0..rounds {
        let place = scene.any_node();
        tokio::time::sleep(scene.chance.millis_below(500)).await;
        scene.kill9(place).await;
        scene.for_seconds(seconds).await;
        scene.fleet.nodes[place].start();
        scene.for_seconds(seconds).await;
        scene.talk.goes_on(20).await;
    }
    scene.end().await;
}

/// Every other one is the Raft leader. The figures are printed; PARLANCE_TEST_ROUNDS says how many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn kills_of_the_leader_and_of_others_are_measured() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0126).await else { return };
    for round in 0..setting("PARLANCE_TEST_ROUNDS", 6) {
        let leader = scene.fleet.leader().await;
        let others = 1 + round / 2 % 2;
        let place = if round % 2 == 0 { leader } else { leader + usize::from(others) };
        let place = place % SMALL.nodes;
        // Not always at the same moment between two renewals, probes or heartbeats.
        tokio::time::sleep(scene.chance.millis_below(1_000)).await;
        scene.kill9(place).await;
        scene.accepts_again().await;
        // Clients are measured too, and need a little longer.
        scene.for_seconds(3).await;
        scene.print_last_loss();
        scene.fleet.start().await;
        let rooms = scene.town.rooms.clone();
        scene.fleet.spread(&rooms).await;
        scene.talk.goes_on(20).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_may_be_killed_at_once() {
    all_nodes_are_killed(SMALL, 2, 0x5EED_0122).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn all_of_a_larger_fleet_may_be_killed_at_once_again_and_again() {
    all_nodes_are_killed(LARGE, 8, 0x5EED_0123).await;
}

async fn all_nodes_are_killed(shape: Shape, rounds: u64, seed: u64) {
    let Some(mut scene) = Scene::open(shape, seed).await else { return };
    for _ in 0..rounds {
        tokio::time::sleep(scene.chance.millis_below(500)).await;
        for node in &mut scene.fleet.nodes {
            node.kill9().await;
        }
        println!("all are gone after {} acks", scene.talk.acked());
        scene.fleet.start().await;
        scene.talk.goes_on(100).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_machine_that_loses_its_power_is_taken_over_although_nobody_hears_it_go() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0124).await else { return };
    for _ in 0..3 {
        let place = scene.any_node();
        scene.remember_loss(place).await;
        let mut others = scene.fleet.hosts_but(place);
        others.push(scene.fleet.database_host.clone());
        scene.fleet.nodes[place].loses_power(&others).await;
        scene.press();
        scene.for_seconds(15).await;
        scene.fleet.heal().await;
        scene.talk.goes_on(50).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_node_whose_disk_is_gone_comes_back_as_a_new_one() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0125).await else { return };
    for _ in 0..2 {
        let place = scene.any_node();
        let name = scene.fleet.nodes[place].name.clone();
        let before = scene.fleet.view().await.and_then(|view| view.id_of(&name));
        scene.kill9(place).await;
        scene.fleet.nodes[place].wipe();
        scene.for_seconds(5).await;
        scene.fleet.start().await;
        let report = scene.fleet.nodes[place].report().await.expect("it is ready");
        assert!(Some(report.node) > before, "{} again after {before:?}", report.node);
        scene.talk.goes_on(50).await;
    }
    scene.end().await;
}
