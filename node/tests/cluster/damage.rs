//! Files of a voter's Raft that were damaged while it did not run. It refuses to start and says what
//! to do, or what was damaged meant nothing; it never serves anything else. The others go on, and an
//! operator who does what the message says has a whole cluster again.

use crate::harness::disk::{cut_the_tail, file, flip_a_bit};
use crate::harness::node::Report;
use crate::harness::scene::{SMALL, Scene};

/// The exit code of a node whose data directory cannot be used.
const DATA_DIRECTORY: i32 = 3;
/// More than there are between two snapshots.
const ENTRIES: usize = 4_300;
const LOG: &str = "log.redb";
const SNAPSHOT: &str = "snapshot-";

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Cut,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_with_a_damaged_log_refuses_to_start_or_is_whole() {
    let damages = [(LOG, Damage::Cut), (LOG, Damage::Flip)];
    files_are_damaged(&damages, 0x5EED_0194).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn voters_with_damaged_logs_and_snapshots_refuse_to_start_or_are_whole() {
    let mut damages = Vec::new();
    for _ in 0..3 {
        for damage in [Damage::Flip, Damage::Cut] {
            damages.extend([(LOG, damage), (SNAPSHOT, damage)]);
        }
    }
    files_are_damaged(&damages, 0x5EED_0195).await;
}

async fn files_are_damaged(damages: &[(&str, Damage)], seed: u64) {
    let Some(mut scene) = Scene::open(SMALL, seed).await else { return };
    if damages.iter().any(|(name, _)| *name == SNAPSHOT) {
        scene.write_entries(ENTRIES).await;
    }
    let mut refused = 0;
    for (name, damage) in damages {
        let place = scene.any_node();
        if *name == SNAPSHOT {
            has_a_snapshot(&mut scene, place).await;
        }
        refused += u32::from(!is_whole(&mut scene, place, name, *damage).await);
        scene.agree().await;
        scene.talk.goes_on(50).await;
    }
    println!("{refused} of {} were refused", damages.len());
    // Most of a file's bytes count, and nothing that is cut out of the middle is harmless.
    assert!(refused > 0, "the damage missed everything");
    scene.end().await;
}

/// A node that joined again may have got everything by entries.
async fn has_a_snapshot(scene: &mut Scene, place: usize) {
    if file(&scene.fleet.nodes[place].raft(), SNAPSHOT).is_none() {
        scene.write_entries(ENTRIES).await;
    }
    let folder = scene.fleet.nodes[place].raft();
    crate::town::until("there is a snapshot", || file(&folder, SNAPSHOT).is_some()).await;
}

/// Ends a node, damages a file, and starts it. Says whether it served as if nothing had been;
/// otherwise the operator has done what it said.
async fn is_whole(scene: &mut Scene, place: usize, name: &str, damage: Damage) -> bool {
    let other = (place + 1) % SMALL.nodes;
    let former = scene.fleet.nodes[place].report().await.expect("it is ready").node;
    if scene.chance.below(2) == 0 {
        scene.kill9(place).await;
    } else {
        scene.remember_loss(place).await;
        scene.fleet.nodes[place].terminate().await;
    }
    scene.for_seconds(3).await;
    let path = file(&scene.fleet.nodes[place].raft(), name).expect("the file is there");
    let what = match damage {
        Damage::Flip => flip_a_bit(&path, &mut scene.chance),
        Damage::Cut => cut_the_tail(&path, &mut scene.chance),
    };
    println!("{}: {what}", path.display());
    let Err(status) = scene.fleet.start_one(place).await else {
        println!("it meant nothing");
        let report = scene.fleet.nodes[place].report().await.expect("it is ready");
        assert_eq!(report.node, former, "the same node");
        return true;
    };
    let said = scene.fleet.nodes[place].log(1);
    println!("{said}");
    assert_eq!(status.code(), Some(DATA_DIRECTORY), "{status}");
    assert!(said.contains(&path.display().to_string()), "it names the file");
    let data = scene.fleet.nodes[place].data().display().to_string();
    assert!(said.contains(&format!("Move the whole data directory {data} away")), "{said}");
    scene.talk.goes_on(20).await;
    scene.fleet.nodes[place].wipe();
    let started = scene.fleet.start_one(place).await;
    assert!(started.is_ok(), "{started:?}: {}", scene.fleet.nodes[place].log(5));
    let again = scene.fleet.nodes[place].report().await.expect("it is ready").node;
    assert!(again > former, "{again} after {former}");
    let votes = |report: &Report| {
        report.raft.voters.contains(&again) && !report.raft.voters.contains(&former)
    };
    scene.until("it is a voter in the place of its former self", other, votes).await;
    false
}
