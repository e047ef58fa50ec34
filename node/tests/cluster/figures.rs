//! What a cluster of ten thousand rooms takes: memory, joins and elections. It prints figures, and
//! asserts only that everything is there.

use std::time::{Duration, Instant};

use parlance_client::protocol::View;
use tokio::time::{sleep, timeout};

use crate::harness::fleet::Fleet;
use crate::harness::node::{Node, Report};
use crate::town::Town;

const ROOMS: usize = 10_000;
/// Kills of the Raft leader.
const ELECTIONS: usize = 20;
/// Joins of a node with an empty disk.
const JOINS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn what_ten_thousand_rooms_take() {
    let Some(mut fleet) = Fleet::open(3).await else { return };
    restart(&mut fleet).await;
    let before = memory(&fleet);
    let begun = Instant::now();
    let town = Town::found(&fleet.http(), 8, ROOMS, 1).await;
    println!("{ROOMS} rooms made in {:?}, 8 at a time", begun.elapsed());
    // Of the rooms only their entries stay: nobody asks for them any more.
    restart(&mut fleet).await;
    let after = memory(&fleet);
    println!("KiB of each node without rooms {before:?}, with {ROOMS} that sleep {after:?}");

    let mut joins = Vec::new();
    for _ in 0..JOINS {
        let newcomer = fleet.leader().await;
        // Not the leader: an election is a figure of its own.
        let newcomer = (newcomer + 1) % fleet.nodes.len();
        assert!(fleet.nodes[newcomer].terminate().await.success(), "an asked-for end");
        fleet.nodes[newcomer].wipe();
        let begun = Instant::now();
        fleet.start().await;
        joins.push(begun.elapsed());
        all_vote(&fleet).await;
    }
    print("from the start of a node with an empty disk until all are ready", joins);

    let mut elections = Vec::new();
    for _ in 0..ELECTIONS {
        let leader = fleet.leader().await;
        fleet.nodes[leader].kill9().await;
        let begun = Instant::now();
        let killed = &fleet.nodes[leader].name;
        while fleet.nodes[fleet.leader().await].name == *killed {
            sleep(Duration::from_millis(10)).await;
        }
        elections.push(begun.elapsed());
        fleet.start().await;
        all_vote(&fleet).await;
    }
    print("from the kill of the Raft leader until there is another", elections);

    let last = *town.rooms.last().expect("there are many");
    let eye = &town.people[town.members[ROOMS][0]].token;
    for node in &fleet.nodes {
        let page = node.http().history_latest(eye, last, 1, View::Log).await;
        let page = page.expect("every node leads to every room");
        assert!(!page.messages.is_empty(), "it has begun with an event");
    }
}

/// Waits until no life of a node votes but the present ones: without a majority nobody is elected.
async fn all_vote(fleet: &Fleet) {
    let waited = timeout(Duration::from_secs(120), async {
        let vote = |view: &Report| {
            let ids = fleet.nodes.iter().map(|node| view.id_of(&node.name));
            view.raft.voters.len() == ids.len()
                && ids.flatten().all(|id| view.raft.voters.contains(&id))
        };
        while !fleet.view().await.is_some_and(|view| vote(&view)) {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "not every node votes: {:?}", fleet.view().await);
}

async fn restart(fleet: &mut Fleet) {
    for node in &mut fleet.nodes {
        node.kill9().await;
    }
    fleet.start().await;
}

fn memory(fleet: &Fleet) -> Vec<u64> {
    fleet.nodes.iter().map(Node::memory_kib).collect()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what} (median, worst of {}): {median:?}, {worst:?}", times.len());
}
