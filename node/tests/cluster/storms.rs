//! Bad weather between the nodes, machines that are busy, and clocks that disagree.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::harness::fleet::Fleet;
use crate::harness::network::Network;
use crate::harness::node::{CONTROL_PORT, DATA_PORT};
use crate::harness::scene::{SMALL, Scene};
use crate::harness::weather::{PacketProxy, Sky, Weather};
use crate::tools::setting;
use crate::town::Chance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn packets_between_nodes_may_be_lost_late_and_out_of_order() {
    let chance = Chance::seeded(0x5EED_0180);
    let Some(mut fleet) = Fleet::lay_out(SMALL.nodes).await else { return };
    let sky = Sky::clear(&chance);
    let proxies = detours(&fleet, &sky).await;
    fleet.start().await;
    let scene = Scene::with(fleet, SMALL, chance).await;
    let lost = |lost_percent| Weather { lost_percent, ..Weather::default() };
    let late = |delay_ms, jitter_ms| Weather { delay_ms, jitter_ms, ..Weather::default() };
    for weather in [lost(1), lost(10), late(50, 0), late(20, 200), late(500, 0), lost(30)] {
        println!("{weather:?} after {} acks", scene.talk.acked());
        sky.turn(weather);
        scene.for_seconds(10).await;
        sky.turn(Weather::default());
        scene.talk.goes_on(50).await;
    }
    scene.end().await;
    drop(proxies);
}

/// Every packet between two nodes goes through the weather.
async fn detours(fleet: &Fleet, sky: &Sky) -> Vec<PacketProxy> {
    let at = fleet.network.gateway().into();
    let mut proxies = Vec::new();
    for (place, from) in fleet.nodes.iter().enumerate() {
        for to in fleet.hosts_but(place) {
            for port in [CONTROL_PORT, DATA_PORT] {
                let proxy = PacketProxy::open(at, (to.address, port).into(), sky.clone()).await;
                from.host.detour(&to, port, proxy.address);
                proxies.push(proxy);
            }
        }
    }
    proxies
}

/// For PARLANCE_TEST_MINUTES, a tenth of all packets between nodes is lost and every core is busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn no_shard_is_taken_over_for_a_tenth_of_loss_and_busy_cores() {
    let Some(scene) = Scene::open(SMALL, 0x5EED_0182).await else { return };
    let minutes = setting("PARLANCE_TEST_MINUTES", 10);
    let before = scene.fleet.newest_epoch().await;
    for (place, node) in scene.fleet.nodes.iter().enumerate() {
        for other in scene.fleet.hosts_but(place) {
            node.host.loses_packets_of(&other, 10);
        }
    }
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let busy: Vec<Busy> = (0..cores).map(|_| Busy::start(minutes)).collect();
    for minute in 0..minutes {
        println!("minute {minute}: {} acks", scene.talk.acked());
        for _ in 0..4 {
            scene.for_seconds(15).await;
            scene.must_have_moved_for_no_death(before).await;
        }
    }
    drop(busy);
    scene.fleet.print_log_counts(&["this node leads", "gossip believes that a node is dead"]);
    scene.end().await;
}

/// A process that keeps one core busy. It is ended when dropped.
struct Busy(Child);

impl Busy {
    fn start(minutes: u16) -> Self {
        // The kernel ends it after so much time of a core, should nobody be left to do it.
        let seconds = 60 * (u32::from(minutes) + 2);
        let work = format!("ulimit -t {seconds}; while :; do :; done");
        let child = Command::new("sh").args(["-c", &work]).stdin(Stdio::null()).spawn();
        Self(child.expect("a shell starts"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It has ended already when its time was over.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The library that Debian's libfaketime brings for programs with several threads.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    files.into_iter().find(|file| file.exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn wall_clocks_may_be_an_hour_apart() {
    let Some(faketime) = faketime() else {
        let why = "libfaketime is missing: apt install libfaketime";
        assert!(!Network::is_required(), "{why}");
        println!("SKIPPED: {why}");
        return;
    };
    let chance = Chance::seeded(0x5EED_0181);
    let Some(mut fleet) = Fleet::lay_out(SMALL.nodes).await else { return };
    for (node, offset) in fleet.nodes.iter_mut().zip(["-30m", "+0", "+30m"]) {
        node.set("LD_PRELOAD", faketime.to_str().expect("a plain path"));
        node.set("FAKETIME", offset);
        // Only the wall clock; what measures time is left alone.
        node.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    fleet.start().await;
    let mut scene = Scene::with(fleet, SMALL, chance).await;
    let place = scene.any_node();
    scene.kill9(place).await;
    scene.for_seconds(6).await;
    scene.fleet.start().await;
    scene.talk.goes_on(100).await;
    scene.end().await;
}
