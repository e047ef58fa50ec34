//! Networks that fall apart: whole sides, single links, one direction of a link, the way to the
//! other nodes or to the database alone.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::harness::network::Host;
use crate::harness::node::CONTROL_PORT;
use crate::harness::scene::{LARGE, SMALL, Scene, Shape};
use crate::town::{Ack, until};

/// How long nodes may take to find a way, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
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
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0146).await else { return };
    let local = locals(&mut scene);
    // The leader in the middle, then the leader at one end.
    for ends in [[1, 2], [0, 1]] {
        let leader = scene.fleet.leader().await;
        let [one, other] = ends.map(|number| (leader + number) % SMALL.nodes);
        scene.fleet.nodes[one].host.cut(&scene.fleet.nodes[other].host);
        let mut reached = 0;
        for (from, to) in [(one, other), (other, one)] {
            is_relayed(&scene, from, to, "data").await;
            reached += rooms_are_reached(&scene, from, to, &local[from]).await;
        }
        assert!(reached > 0, "neither end has kept a room of those that were looked at");
        if [one, other].contains(&leader) && scene.fleet.leader().await == leader {
            let follower = if one == leader { other } else { one };
            is_relayed(&scene, follower, leader, "control").await;
        }
        scene.talk.goes_on(50).await;
        passes(&scene).await;
    }
    scene.end().await;
}

/// Who writes in which room at one node and nowhere else.
type Local = Vec<(Uuid, Uuid)>;

/// For each node, writers in some rooms who know only this node.
fn locals(scene: &mut Scene) -> Vec<Local> {
    let mut all = Vec::new();
    for (nth, node) in scene.fleet.nodes.iter().enumerate() {
        let mut local = Local::new();
        let rooms = scene.town.rooms.iter().zip(&scene.town.members).enumerate();
        for (number, (room, members)) in rooms.skip(1).step_by(2) {
            // Two others write there already.
            let who = &scene.town.people[members[(number + 2 + nth) % members.len()]];
            let places = vec![node.http()];
            scene.talk.write(who, *room, |writer| writer.over_http(places));
            local.push((who.id, *room));
        }
        all.push(local);
    }
    all
}

/// Waits until a node says that its way to another one leads over the third.
async fn is_relayed(scene: &Scene, from: usize, to: usize, kind: &str) {
    let [from, to] = [from, to].map(|place| &scene.fleet.nodes[place]);
    let relayed = timeout(PATIENCE, async {
        loop {
            if let Some(report) = from.report().await
                && let Some(relay) = report.relay_to(&to.name, kind)
            {
                return relay.to_owned();
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    let relay = relayed.await.unwrap_or_else(|_| panic!("{} finds no way", from.name));
    println!("{} reaches {} over {relay} ({kind})", from.name, to.name);
    assert!(relay != from.name && relay != to.name);
}

/// Rooms that one end has are written to at the other end while the two do not reach each other.
/// Returns how many kept their owner meanwhile.
async fn rooms_are_reached(scene: &Scene, from: usize, to: usize, local: &Local) -> usize {
    let [here, there] = [from, to].map(|place| &scene.fleet.nodes[place]);
    let before = there.report().await.expect("the node runs");
    let since = Instant::now();
    let owned = |room: &Uuid| before.owner_of(*room) == Some(there.name.as_str());
    let rooms: Local = local.iter().filter(|(_, room)| owned(room)).copied().collect();
    for (who, room) in &rooms {
        let what = format!("an ack at {} in {room}, which {} has", here.name, there.name);
        let is_later = |ack: &Ack| ack.sender == *who && ack.room == *room && ack.begun >= since;
        until(&what, || scene.talk.acked_of(is_later) > 0).await;
    }
    let after = there.report().await.expect("the node runs");
    let kept = rooms.iter().filter(|(_, room)| before.epoch_of(*room) == after.epoch_of(*room));
    let kept = kept.count();
    println!(
        "{kept} of {} rooms of {} kept it and took from {}",
        rooms.len(),
        there.name,
        here.name
    );
    kept
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
