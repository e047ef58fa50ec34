//! Networks that fall apart: whole sides, single links, one direction of a link, the way to the
//! other nodes or to the database alone.

use crate::harness::network::Host;
use crate::harness::node::CONTROL_PORT;
use crate::harness::scene::{LARGE, SMALL, Scene, Shape};

/// How long a fault lasts: long enough for leases to end and shards to be taken over.
const SECONDS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_without_the_database_does_not_hurt_the_majority() {
    minorities_are_cut_off(SMALL, 1, 0x5EED_0140).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn minorities_of_a_larger_fleet_may_be_cut_off() {
    minorities_are_cut_off(LARGE, 6, 0x5EED_0141).await;
}

/// A minority by chance is cut off from the others and from the database; clients still reach it.
async fn minorities_are_cut_off(shape: Shape, rounds: u64, seed: u64) {
    let Some(mut scene) = Scene::open(shape, seed).await else { return };
    for _ in 0..rounds {
        let first = scene.any_node();
        let few = (shape.nodes - 1) / 2;
        let minority: Vec<usize> = (0..few).map(|nth| (first + nth) % shape.nodes).collect();
        for place in &minority {
            scene.remember_loss(*place).await;
        }
        for place in &minority {
            let host = &scene.fleet.nodes[*place].host;
            host.cut(&scene.fleet.database_host);
            let others = (0..shape.nodes).filter(|other| !minority.contains(other));
            others.for_each(|other| host.cut(&scene.fleet.nodes[other].host));
        }
        passes(&scene).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_cut_off_from_the_others_but_not_from_the_database_serves_until_it_is_fenced() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0142).await else { return };
    let (host, others) = owner(&mut scene).await;
    others.iter().for_each(|other| host.cut(other));
    passes(&scene).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn an_owner_cut_off_from_raft_alone_keeps_no_room_from_its_members() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0143).await else { return };
    let (host, others) = owner(&mut scene).await;
    for other in &others {
        host.is_deaf_to_packets_of(other, CONTROL_PORT);
        other.is_deaf_to_packets_of(&host, CONTROL_PORT);
    }
    passes(&scene).await;
    scene.end().await;
}

/// It has its lease and cannot commit: nothing false is acknowledged, and all is well afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn an_owner_cut_off_from_the_database_alone_acknowledges_nothing_false() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0144).await else { return };
    let (host, _) = owner(&mut scene).await;
    host.cut(&scene.fleet.database_host);
    passes(&scene).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn links_may_work_in_one_direction_only() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0145).await else { return };
    let (host, others) = owner(&mut scene).await;
    host.is_deaf_to(&others[0]);
    passes(&scene).await;
    others[1].is_deaf_to(&host);
    passes(&scene).await;
    // This time the sender is told.
    host.has_no_way_to(&others[0]);
    passes(&scene).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn two_nodes_that_reach_each_other_only_over_a_third_go_on() {
    let Some(scene) = Scene::open(SMALL, 0x5EED_0146).await else { return };
    let leader = scene.fleet.leader().await;
    // The leader in the middle, then the leader at one end.
    for (one, other) in [(leader + 1, leader + 2), (leader, leader + 1)] {
        let place = |number: usize| &scene.fleet.nodes[number % SMALL.nodes].host;
        place(one).cut(place(other));
        passes(&scene).await;
    }
    scene.end().await;
}

/// The host of some room's owner, and those of the other nodes.
async fn owner(scene: &mut Scene) -> (Host, Vec<Host>) {
    let room = scene.any_room();
    let place = scene.fleet.owner_of(room).await;
    scene.remember_loss(place).await;
    (scene.fleet.nodes[place].host.clone(), scene.fleet.hosts_but(place))
}

/// The fault lasts, and ends.
async fn passes(scene: &Scene) {
    scene.for_seconds(SECONDS).await;
    println!("the network heals after {} acks", scene.talk.acked());
    scene.fleet.network.heal();
    scene.talk.goes_on(50).await;
}
