//! Disks of voters that are full or refuse, the leader's too: the node acknowledges nothing that is
//! not on its disk, says what is wrong and ends, the others take its rooms over, and it comes back
//! when the disk is well.

use crate::harness::disk::{BadDisks, Refusal};
use crate::harness::fleet::Fleet;
use crate::harness::scene::{SMALL, Scene};
use crate::town::Chance;

/// The exit code of a node whose data directory cannot be used.
const DATA_DIRECTORY: i32 = 3;

/// Which voter is hit.
#[derive(Debug, Clone, Copy)]
enum Part {
    Leader,
    Follower,
}

async fn place_of(scene: &mut Scene, part: Part) -> usize {
    let leader = scene.fleet.leader().await;
    match part {
        Part::Leader => leader,
        Part::Follower => (leader + 1 + scene.any_node() % 2) % SMALL.nodes,
    }
}

/// Has the directory write until the node has ended by itself, and says that all of it was as it
/// should be.
async fn ends_by_itself(scene: &mut Scene, place: usize, words: &str) {
    let other = (place + 1) % SMALL.nodes;
    let id = scene.fleet.nodes[place].report().await.map(|report| report.node);
    let status = scene.write_entries_until_one_ends(place).await;
    assert_eq!(status.code(), Some(DATA_DIRECTORY), "{status}");
    is_told(scene, place, words);
    scene
        .until("its shards are taken over", other, |report| {
            report.shards.iter().all(|shard| shard.owner.is_some() && shard.owner != id)
        })
        .await;
    scene.talk.goes_on(50).await;
}

/// The last words name the folder and the reason.
fn is_told(scene: &Scene, place: usize, words: &str) {
    let node = &scene.fleet.nodes[place];
    let last = node.log(1);
    println!("{last}");
    assert!(last.starts_with("parlance: "), "the last words are an error's: {last}");
    let folder = node.data().display().to_string();
    assert!(last.contains(words) && last.contains(&folder), "{last}");
}

/// The disk is well: the same node is a voter again, and knows what the others know.
async fn comes_back(scene: &mut Scene, place: usize, id: Option<u64>) {
    let started = scene.fleet.start_one(place).await;
    assert!(started.is_ok(), "{started:?}: {}", scene.fleet.nodes[place].log(5));
    let report = scene.fleet.nodes[place].report().await.expect("it is ready");
    assert_eq!(Some(report.node), id, "the same node");
    assert!(report.raft.voters.contains(&report.node), "a voter");
    scene.agree().await;
    scene.talk.goes_on(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_voter_whose_disk_is_full_ends_and_comes_back_when_there_is_room() {
    let chance = Chance::seeded(0x5EED_0190);
    let Some(mut fleet) = Fleet::lay_out(SMALL.nodes).await else { return };
    fleet.mount_small_disks(16);
    fleet.start().await;
    let mut scene = Scene::with(fleet, SMALL, chance).await;
    for part in [Part::Follower, Part::Leader] {
        let place = place_of(&mut scene, part).await;
        let id = scene.fleet.nodes[place].report().await.map(|report| report.node);
        scene.remember_loss(place).await;
        println!("the disk of the {part:?}, node-{}, is full", place + 1);
        scene.fleet.small_disks[place].fill();
        ends_by_itself(&mut scene, place, "No space left on device").await;
        // As long as there is no room it does not start, and says why.
        let started = scene.fleet.start_one(place).await;
        let status = started.expect_err("there is no room");
        assert_eq!(status.code(), Some(DATA_DIRECTORY), "{status}");
        is_told(&scene, place, "No space left on device");
        scene.fleet.small_disks[place].empty();
        comes_back(&mut scene, place, id).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_syncs_nothing_any_more_ends_and_comes_back() {
    disks_refuse(&[(Part::Leader, Refusal::SyncFails)], 0x5EED_0191).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn voters_whose_disks_refuse_in_any_way_end_and_come_back() {
    let all = [
        (Part::Follower, Refusal::SyncFails),
        (Part::Leader, Refusal::WriteFails),
        (Part::Follower, Refusal::NoRoom),
        (Part::Follower, Refusal::WriteFails),
        (Part::Leader, Refusal::NoRoom),
    ];
    disks_refuse(&all, 0x5EED_0192).await;
}

async fn disks_refuse(refusals: &[(Part, Refusal)], seed: u64) {
    let Some(disks) = BadDisks::build() else { return };
    let chance = Chance::seeded(seed);
    let Some(mut fleet) = Fleet::lay_out(SMALL.nodes).await else { return };
    fleet.nodes.iter_mut().for_each(|node| disks.install(node));
    fleet.start().await;
    let mut scene = Scene::with(fleet, SMALL, chance).await;
    for (part, refusal) in refusals {
        let place = place_of(&mut scene, *part).await;
        let id = scene.fleet.nodes[place].report().await.map(|report| report.node);
        scene.remember_loss(place).await;
        println!("the disk of the {part:?}, node-{}: {refusal:?}", place + 1);
        disks.refuse(&scene.fleet.nodes[place], *refusal);
        ends_by_itself(&mut scene, place, refusal.words()).await;
        let started = scene.fleet.start_one(place).await;
        let status = started.expect_err("its disk still refuses");
        assert_eq!(status.code(), Some(DATA_DIRECTORY), "{status}");
        is_told(&scene, place, refusal.words());
        disks.mend(&scene.fleet.nodes[place]);
        comes_back(&mut scene, place, id).await;
    }
    scene.end().await;
}
