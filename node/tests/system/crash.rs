//! Rounds of kill -9 under load: nothing acknowledged is lost, nothing is there twice, everybody
//! hears one order, and every client goes on where it was.

use parlance_storage::testkit::PostgresServer;

use crate::harness::{Node, PACE};
use crate::town::{Chance, Talk, Talker, Town, small_damage_is_found, verdict};

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
    let town = Town::found(&node.http(), 5, 3, 5).await;
    let rooms = &town.rooms;
    let manners = [
        (0, rooms[0], Talker::InTurn),
        (1, rooms[1], Talker::InTurn),
        (2, rooms[1], Talker::BesideEachOther),
        (3, rooms[2], Talker::BesideEachOther),
        (4, rooms[3], Talker::OverHttp),
        (4, rooms[0], Talker::OverHttp),
    ];
    let mut talk = Talk::start(node.server(), &town, PACE, manners).await;
    for round in 1..=ROUNDS {
        talk.goes_on(ACKS_A_ROUND).await;
        // Somewhere in the middle of whatever is under way.
        tokio::time::sleep(chance.millis_below(250)).await;
        node.kill9().await;
        println!("round {round}: killed with {} acks", talk.acked());
        node.start_again().await;
    }
    talk.goes_on(ACKS_A_ROUND).await;
    let (run, _) = talk.end(&town).await.kept();
    verdict(&run, ROUNDS * ACKS_A_ROUND);
    small_damage_is_found(run, &mut chance);
}
