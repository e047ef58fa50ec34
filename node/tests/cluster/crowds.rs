//! Crowds: thousands of clients that lose their sockets at once, and clients that do not read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parlance_actors::limits::OUTBOX_BYTES_MAX;
use parlance_benches::process::raise_open_files;

use crate::harness::aside::Aside;
use crate::harness::crowd::Crowd;
use crate::harness::door::Door;
use crate::harness::fleet::Fleet;
use crate::harness::node::Node;
use crate::harness::scene::{Scene, Shape};
use crate::town::{Chance, until};

/// What goes on beside the crowd: 200 people in 20 rooms, 40 of whom write.
const BESIDE: Shape = Shape {
    nodes: 3,
    rooms: 20,
    members: 10,
    people: 200,
    pace: Duration::from_secs(4),
    body_bytes: 0,
};
/// Sessions of each of them: 5,000 in all, and no more for one user than a node takes.
const SESSIONS_EACH: usize = 25;
/// Sockets that a node opens a second: less than what two cores do with debug builds, clients and
/// all, because that is what leaves the others in peace.
const UPGRADES_PER_SECOND: &str = "100";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn five_thousand_clients_that_are_dropped_at_once_come_back_and_miss_nothing() {
    // A client's socket, and the two of the door.
    let needed = 3 * (BESIDE.people * SESSIONS_EACH) as u64 + 2_000;
    let files = raise_open_files();
    assert!(files >= needed, "{needed} open files are needed, and this system allows {files}");
    let chance = Chance::seeded(0x5EED_0190);
    let Some(mut fleet) = Fleet::lay_out(BESIDE.nodes).await else { return };
    for node in &mut fleet.nodes {
        node.set("PARLANCE_HTTP__UPGRADES_PER_SECOND", UPGRADES_PER_SECOND);
        node.set("PARLANCE_HTTP__UPGRADES_BURST", UPGRADES_PER_SECOND);
    }
    fleet.start().await;
    let mut scene = Scene::with(fleet, BESIDE, chance).await;

    let place = scene.any_node();
    let all: Vec<SocketAddr> = scene.fleet.nodes.iter().map(Node::address).collect();
    // Three of five come to one node.
    let most = std::iter::repeat_n(all[place], 2).chain(all.iter().copied());
    let aside = Aside::open();
    let door = Door::open(&aside, most.collect());
    let begun = Instant::now();
    let crowd = Crowd::gather(&aside, &door.server(), &scene.town, SESSIONS_EACH).await;
    println!("{} sessions after {:?}", crowd.len(), begun.elapsed());
    door.lead_to(all);

    let begun = Instant::now();
    scene.kill9(place).await;
    crowd.is_hit().await;
    comes_back(&mut scene, &crowd, "their node was killed", begun).await;

    scene.fleet.nodes[place].start();
    scene.fleet.is_ready().await;
    let begun = Instant::now();
    door.cut();
    crowd.is_hit().await;
    comes_back(&mut scene, &crowd, "their balancer was cut", begun).await;
    scene.end_with(vec![crowd]).await;
}

/// All of a crowd are live again, while others go on.
async fn comes_back(scene: &mut Scene, crowd: &Crowd, name: &'static str, begun: Instant) {
    let (waits, acked) = (crowd.told_to_wait(), scene.talk.acked());
    crowd.is_live(&scene.town, &scene.fleet.server(), begun).await;
    println!("{name}: {} times 503; {:?}", crowd.told_to_wait() - waits, crowd.losses());
    for node in scene.fleet.nodes.iter().filter(|node| node.is_running()) {
        let refused = node.counted("parlance_upgrades_refused_total").await;
        let sessions = node.counted("parlance_sessions").await;
        println!("{}: {sessions} sessions, {refused} refused in all", node.name);
    }
    scene.remember_period(name, begun);
    // Somebody else got an ack while they came back.
    assert!(scene.talk.acked() > acked, "nothing went on meanwhile");
    scene.talk.goes_on(40).await;
}

/// Everybody writes, long messages, so that who does not read is soon behind.
const WORDY: Shape = Shape {
    nodes: 3,
    rooms: 12,
    members: 5,
    people: 15,
    pace: Duration::from_millis(150),
    body_bytes: 2 * 1024,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn clients_that_do_not_read_hurt_nobody_and_miss_nothing_when_they_read_again() {
    let Some(mut scene) = Scene::open(WORDY, 0x5EED_0200).await else { return };
    let all: Vec<SocketAddr> = scene.fleet.nodes.iter().map(Node::address).collect();
    // With the fifteen who write and read: a fifth does not read.
    let aside = Aside::open();
    let [open, short, long] = [(); 3].map(|()| Door::open(&aside, all.clone()));
    let reading = Crowd::gather(&aside, &open.server(), &scene.town, 5).await;
    let pausing = Crowd::gather(&aside, &short.server(), &scene.town, 1).await;
    let away = Crowd::gather(&aside, &long.server(), &scene.town, 1).await;
    let slow_before = counted(&scene, "parlance_slow_consumers_total").await;
    let cuts_before = counted(&scene, "parlance_feed_cuts_total").await;

    // Some read again before the server loses patience, and some after it.
    let begun = Instant::now();
    short.plug(true);
    long.plug(true);
    goes_on_for(&scene, &reading, Duration::from_secs(20)).await;
    let cuts = counted(&scene, "parlance_feed_cuts_total").await - cuts_before;
    println!("{cuts} feeds were cut");
    assert!(cuts >= pausing.len() as f64, "their outboxes were full");
    let again = Instant::now();
    short.plug(false);
    pausing.is_live(&scene.town, &scene.fleet.server(), again).await;
    goes_on_for(&scene, &reading, Duration::from_secs(20)).await;
    let slow = counted(&scene, "parlance_slow_consumers_total").await - slow_before;
    println!("{slow} slow consumers were closed");
    assert!(slow >= away.len() as f64, "who reads nothing for so long is closed");
    let again = Instant::now();
    long.plug(false);
    away.is_live(&scene.town, &scene.fleet.server(), again).await;
    println!("losses: {:?} and {:?}", pausing.losses(), away.losses());
    scene.remember_period("a fifth did not read", begun);

    // The same, and a node of theirs dies meanwhile.
    let begun = Instant::now();
    short.plug(true);
    long.plug(true);
    goes_on_for(&scene, &reading, Duration::from_secs(6)).await;
    let place = scene.any_node();
    scene.kill9(place).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    scene.fleet.nodes[place].start();
    scene.fleet.is_ready().await;
    goes_on_for(&scene, &reading, Duration::from_secs(2)).await;
    let again = Instant::now();
    short.plug(false);
    long.plug(false);
    pausing.is_live(&scene.town, &scene.fleet.server(), again).await;
    away.is_live(&scene.town, &scene.fleet.server(), again).await;
    println!("losses: {:?} and {:?}", pausing.losses(), away.losses());
    scene.remember_period("and a node died", begun);
    scene.end_with(vec![reading, pausing, away]).await;
}

/// For some time sends are acknowledged and those who read hear everything, and what waits for
/// the others stays within its bound.
async fn goes_on_for(scene: &Scene, reading: &Crowd, time: Duration) {
    let begun = Instant::now();
    let (mut fullest, mut waiting) = (0.0_f64, 0.0_f64);
    while begun.elapsed() < time {
        let acked = scene.talk.acked();
        until("others go on", || scene.talk.acked() > acked).await;
        for node in scene.fleet.nodes.iter().filter(|node| node.is_running()) {
            fullest = fullest.max(node.counted("parlance_outbox_bytes_max").await);
            waiting = waiting.max(node.counted("parlance_outbox_bytes").await);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    reading.is_live(&scene.town, &scene.fleet.server(), Instant::now()).await;
    let memory = scene.fleet.nodes.iter().filter(|node| node.is_running());
    let memory: Vec<u64> = memory.map(|node| node.memory_kib() / 1024).collect();
    println!(
        "after {time:?}: memory MiB {memory:?}; the fullest outbox held {:.0} KiB, all of a node \
         {:.0} KiB",
        fullest / 1024.0,
        waiting / 1024.0
    );
    // Answers have room above the events, and these clients ask for nothing.
    assert!(fullest <= OUTBOX_BYTES_MAX as f64, "an outbox held {fullest} bytes");
}

/// What all running nodes counted.
async fn counted(scene: &Scene, name: &str) -> f64 {
    let mut all = 0.0;
    for node in scene.fleet.nodes.iter().filter(|node| node.is_running()) {
        all += node.counted(name).await;
    }
    all
}
