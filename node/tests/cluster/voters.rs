//! Voters that are added, removed and replaced while other things go wrong: nodes are killed, and a
//! minority is cut off.

use serde_json::json;

use crate::harness::node::Report;
use crate::harness::scene::{SMALL, Scene, Shape};

/// The exit code of a node whose data directory cannot be used.
const DATA_DIRECTORY: i32 = 3;
/// How many voters there are to be.
const VOTERS: usize = 3;
/// Two of them learn.
const FIVE: Shape = Shape { nodes: 5, ..SMALL };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn voters_may_be_added_removed_and_replaced_while_nodes_are_killed() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0160).await else { return };
    let added = a_node_is_added(&mut scene).await;
    println!("added; {} acks", scene.talk.acked());
    a_voter_is_removed(&mut scene, added).await;
    println!("removed; {} acks", scene.talk.acked());
    a_dead_voter_is_replaced(&mut scene).await;
    scene.end().await;
}

/// It joins although a node is killed while it does.
async fn a_node_is_added(scene: &mut Scene) -> usize {
    let victim = scene.any_node();
    let added = scene.fleet.grow();
    scene.fleet.nodes[added].start();
    tokio::time::sleep(scene.chance.millis_below(3_000)).await;
    scene.kill9(victim).await;
    scene.for_seconds(4).await;
    scene.fleet.start().await;
    let id = id(scene, added).await;
    let known = |report: &Report| is_settled(report) && report.raft.learners.contains(&id);
    scene.until("it learns", victim, known).await;
    scene.agree().await;
    scene.talk.goes_on(50).await;
    added
}

/// An operator removes a voter while another one is killed: the new node votes in its place. The
/// removed one serves no more, and is refused until it is given an empty data directory.
async fn a_voter_is_removed(scene: &mut Scene, added: usize) {
    let removed = scene.any_node() % SMALL.nodes;
    let (victim, other) = ((removed + 1) % SMALL.nodes, (removed + 2) % SMALL.nodes);
    let (gone, new) = (id(scene, removed).await, id(scene, added).await);
    scene.remember_loss(removed).await;
    scene.kill9(victim).await;
    is_removed(scene, gone, other).await;
    scene.for_seconds(4).await;
    scene.fleet.nodes[victim].start();
    scene
        .until("another one votes in its place", other, |report| votes_instead(report, gone, new))
        .await;
    scene.until("its shards are taken over", other, |report| owns_nothing(report, gone)).await;
    scene.talk.goes_on(50).await;
    is_refused_until_it_is_wiped(scene, removed, gone).await;
}

/// A machine that does not come back: after a minute a learner votes in its place, although another
/// node is killed meanwhile. When it comes back after all it is a learner.
async fn a_dead_voter_is_replaced(scene: &mut Scene) {
    let voters = scene.fleet.view().await.expect("the nodes run").raft.voters;
    let mut dead = scene.any_node();
    while !voters.contains(&id(scene, dead).await) {
        dead = (dead + 1) % scene.fleet.nodes.len();
    }
    let gone = id(scene, dead).await;
    scene.kill9(dead).await;
    let victim = (dead + 1) % scene.fleet.nodes.len();
    let other = (dead + 2) % scene.fleet.nodes.len();
    scene.for_seconds(15).await;
    scene.kill9(victim).await;
    scene.for_seconds(5).await;
    scene.fleet.nodes[victim].start();
    let replaced = |report: &Report| is_settled(report) && !report.raft.voters.contains(&gone);
    scene.until("a learner votes in its place", other, replaced).await;
    scene.talk.goes_on(50).await;
    scene.fleet.start().await;
    assert_eq!(id(scene, dead).await, gone, "it is the same node");
    let learns = |report: &Report| is_settled(report) && report.raft.learners.contains(&gone);
    scene.until("it learns", other, learns).await;
    scene.agree().await;
    scene.talk.goes_on(50).await;
}

/// While a voter and a learner are cut off from the others and from the database, the others remove
/// the voter, put a learner in its place, and take a new node in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_majority_may_replace_a_voter_of_a_minority_that_is_cut_off() {
    let Some(mut scene) = Scene::open(FIVE, 0x5EED_0161).await else { return };
    let view = scene.until("there are enough voters", 0, is_settled).await;
    let place = |id: &u64| scene.fleet.place_of(view.name_of(*id).expect("it is known"));
    let nth = usize::try_from(scene.chance.below(VOTERS as u64)).expect("a small number");
    let (voter, learner) = (place(&view.raft.voters[nth]), place(&view.raft.learners[0]));
    let other = place(&view.raft.voters[(nth + 1) % VOTERS]);
    let minority = [voter, learner];
    let (cut_off, gone) = (id(&scene, learner).await, id(&scene, voter).await);
    let added = scene.fleet.grow();
    for place in minority {
        scene.remember_loss(place).await;
    }
    for place in minority {
        let host = &scene.fleet.nodes[place].host;
        host.cut(&scene.fleet.database_host);
        let others = scene.fleet.nodes.iter().enumerate();
        let others = others.filter(|(other, _)| !minority.contains(other));
        others.for_each(|(_, other)| host.cut(&other.host));
    }
    is_removed(&scene, gone, other).await;
    let started = scene.fleet.start_one(added).await;
    assert!(started.is_ok(), "{started:?}: {}", scene.fleet.nodes[added].log(5));
    let replaced = |report: &Report| {
        let former = [gone, cut_off];
        is_settled(report) && !former.iter().any(|former| report.raft.voters.contains(former))
    };
    scene.until("the majority has its own voters", other, replaced).await;
    scene.for_seconds(8).await;
    println!("the network heals after {} acks", scene.talk.acked());
    scene.fleet.network.heal();
    scene.talk.goes_on(50).await;
    is_refused_until_it_is_wiped(&mut scene, voter, gone).await;
    scene.end().await;
}

async fn id(scene: &Scene, place: usize) -> u64 {
    let known = |report: &Report| report.id_of(&scene.fleet.nodes[place].name);
    match scene.fleet.nodes[place].report().await {
        Some(report) => report.node,
        None => scene.fleet.view().await.as_ref().and_then(known).expect("it is known"),
    }
}

fn is_settled(report: &Report) -> bool {
    report.raft.voters.len() == VOTERS
}

fn votes_instead(report: &Report, gone: u64, new: u64) -> bool {
    let voters = &report.raft.voters;
    is_settled(report) && !voters.contains(&gone) && voters.contains(&new)
}

fn owns_nothing(report: &Report, gone: u64) -> bool {
    report.shards.iter().all(|shard| shard.owner.is_some() && shard.owner != Some(gone))
}

/// As an operator does it, who asks again where it is not known whether it was done.
async fn is_removed(scene: &Scene, gone: u64, at: usize) {
    for _ in 0..20 {
        let asked = scene.fleet.nodes[at].ask(&json!({"do": "remove", "node": gone})).await;
        match asked {
            Ok(_) => return,
            Err(why) => println!("not removed: {why}"),
        }
        scene.for_seconds(1).await;
    }
    panic!("{gone} cannot be removed");
}

/// The removed node runs, takes nobody, and says what to do when it starts again.
async fn is_refused_until_it_is_wiped(scene: &mut Scene, place: usize, former: u64) {
    let node = &mut scene.fleet.nodes[place];
    let taken = node.http().call("GET", "/api/health/ready", None, None::<&()>).await;
    assert!(taken.is_err(), "a removed node is not ready");
    node.must_run();
    node.kill9().await;
    let status = scene.fleet.start_one(place).await.expect_err("it was removed");
    let said = scene.fleet.nodes[place].log(1);
    println!("{said}");
    assert_eq!(status.code(), Some(DATA_DIRECTORY), "{status}");
    assert!(said.contains("was removed") && said.contains("empty data directory"), "{said}");
    scene.fleet.nodes[place].wipe();
    let started = scene.fleet.start_one(place).await;
    assert!(started.is_ok(), "{started:?}: {}", scene.fleet.nodes[place].log(5));
    let again = id(scene, place).await;
    assert!(again > former, "{again} after {former}");
    scene.agree().await;
    scene.talk.goes_on(50).await;
}
