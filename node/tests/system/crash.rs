//! Rounds of kill -9 under load: nothing acknowledged is lost, nothing is there twice, everybody
//! hears one order, and every client goes on where it was.

use parlance_benches::checker::Run;
use parlance_storage::testkit::PostgresServer;

use crate::harness::{Chance, Node, Talk, Talker, Town};

/// Kills in one test.
const ROUNDS: u64 = 12;
/// Acks that each life of the node must bring, so that no round is an empty one.
const ACKS_A_ROUND: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_sqlite_keeps_its_promises_through_kill_9() {
    rounds(None, 0x5EED_0001).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_postgresql_keeps_its_promises_through_kill_9() {
    let database = PostgresServer::start(true).await;
    rounds(Some(database.url()), 0x5EED_0002).await;
}

async fn rounds(database: Option<String>, seed: u64) {
    let mut chance = Chance::seeded(seed);
    let mut node = Node::start(database).await;
    let town = Town::found(&node.http(), 5, 3).await;
    let rooms = &town.rooms;
    let manners = [
        (0, rooms[0], Talker::InTurn),
        (1, rooms[1], Talker::InTurn),
        (2, rooms[1], Talker::BesideEachOther),
        (3, rooms[2], Talker::BesideEachOther),
        (4, rooms[3], Talker::OverHttp),
        (4, rooms[0], Talker::OverHttp),
    ];
    let talk = Talk::start(&node, &town, manners).await;
    for round in 1..=ROUNDS {
        talk.goes_on(ACKS_A_ROUND).await;
        // Somewhere in the middle of whatever is under way.
        tokio::time::sleep(chance.millis_below(250)).await;
        node.kill9().await;
        println!("round {round}: killed with {} acks", talk.acked());
        node.start_again().await;
    }
    talk.goes_on(ACKS_A_ROUND).await;
    let run = talk.end(&node, &town).await;
    verdict(&run, &node, ROUNDS * ACKS_A_ROUND);
    small_damage_is_found(run, &mut chance);
}

/// The verdict on this very run would have been another one for a single lost event or ack: what
/// was collected really reaches the checker.
fn small_damage_is_found(mut run: Run, chance: &mut Chance) {
    let heard_much = run.streams.iter().position(|stream| stream.received.len() > 2);
    let whose = heard_much.expect("somebody heard something");
    let received = &mut run.streams[whose].received;
    let place = 1 + usize::try_from(chance.below(received.len() as u64 - 2)).expect("an index");
    let heard = received.remove(place);
    assert!(!run.check().1.is_empty(), "a client that missed {} went unseen", heard.seq);
    run.streams[whose].received.insert(place, heard);
    assert!(run.check().1.is_empty(), "the damage was the only one");

    let log = run.logs.values_mut().find(|log| log.len() > 10).expect("a room with a history");
    let lost = log.pop().expect("it has a last entry");
    assert!(!run.check().1.is_empty(), "the loss of {} went unseen", lost.entry.seq);
}

/// Fails with every broken promise, and when too little was looked at to say anything.
pub(crate) fn verdict(run: &Run, node: &Node, acks_at_least: u64) {
    let (looked, violations) = run.check();
    println!("{looked:?}");
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}\nthe node's log:\n{}", texts.join("\n"), node.log());
    assert!(looked.acked as u64 >= acks_at_least, "too little was looked at: {looked:?}");
}
