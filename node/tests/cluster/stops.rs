//! Nodes that stand still and then go on as if nothing had been: the owner that does not know that
//! it is one no more.

use crate::harness::scene::{LARGE, SMALL, Scene, Shape};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_owner_that_stood_still_for_five_seconds_commits_nothing_as_an_owner_of_old() {
    owners_stand_still(SMALL, &[5], 0x5EED_0130).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn room_owners_may_stand_still_for_five_fifteen_and_sixty_seconds() {
    owners_stand_still(LARGE, &[5, 15, 60], 0x5EED_0131).await;
}

async fn owners_stand_still(shape: Shape, seconds: &[u64], seed: u64) {
    let Some(mut scene) = Scene::open(shape, seed).await else { return };
    for seconds in seconds {
        let room = scene.any_room();
        let place = scene.fleet.owner_of(room).await;
        stands_still(&mut scene, place, *seconds).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_raft_leader_may_stand_still() {
    leaders_stand_still(SMALL, &[5], 0x5EED_0132).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn raft_leaders_may_stand_still_one_after_the_other() {
    leaders_stand_still(LARGE, &[2, 5, 15, 30], 0x5EED_0133).await;
}

async fn leaders_stand_still(shape: Shape, seconds: &[u64], seed: u64) {
    let Some(mut scene) = Scene::open(shape, seed).await else { return };
    for seconds in seconds {
        let place = scene.fleet.leader().await;
        stands_still(&mut scene, place, *seconds).await;
    }
    scene.end().await;
}

async fn stands_still(scene: &mut Scene, place: usize, seconds: u64) {
    scene.remember_loss(place).await;
    scene.fleet.nodes[place].stop();
    scene.press();
    scene.for_seconds(seconds).await;
    println!("it stood still for {seconds} s; {} acks", scene.talk.acked());
    scene.print_last_loss();
    scene.fleet.nodes[place].go_on();
    scene.talk.goes_on(50).await;
}
