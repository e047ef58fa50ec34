//! The database goes away under load and comes back: clear refusals meanwhile, no false ack, no
//! repeat, and the node recovers by itself.

use parlance_benches::checker::{Fate, Sent, digest};
use parlance_client::ClientError;
use parlance_storage::testkit::PostgresServer;
use uuid::Uuid;

use crate::harness::{Node, PACE};
use crate::town::{Chance, Talk, Talker, Town, verdict};

/// Stops and crashes of the database, in turn. A send without a database waits up to 10 s for its
/// commit before it is refused, which is most of this test's time.
const ROUNDS: u64 = 2;
/// Acks between them.
const ACKS_A_ROUND: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_survives_stops_and_crashes_of_its_database_under_load() {
    let mut chance = Chance::seeded(0x5EED_0003);
    let mut database = PostgresServer::start(true).await;
    let node = Node::start(Some(database.url())).await;
    let town = Town::found(&node.http(), 4, 2, 4).await;
    let rooms = &town.rooms;
    let manners = [
        (0, rooms[0], Talker::InTurn),
        (1, rooms[1], Talker::BesideEachOther),
        (2, rooms[2], Talker::BesideEachOther),
        (3, rooms[1], Talker::OverHttp),
    ];
    let mut talk = Talk::start(node.server(), &town, PACE, manners).await;
    let mut refused = Vec::new();
    for round in 1..=ROUNDS {
        talk.goes_on(ACKS_A_ROUND).await;
        tokio::time::sleep(chance.millis_below(250)).await;
        if round.is_multiple_of(2) {
            // Every connection is cut, also in the middle of a batch.
            database.kill9().await;
        } else {
            database.stop().await;
        }
        // A send now is refused with words, not hung up on and not acknowledged.
        let person = &town.people[0];
        let (key, body) = (Uuid::now_v7(), "into the void");
        match node.http().send(&person.token, rooms[2], key, body).await {
            Err(error @ ClientError::Refused { .. }) if error.can_repeat() => {}
            other => panic!("without a database a send gave {other:?}\n{}", node.log()),
        }
        // Whether it was done stays open: nobody repeats its key.
        let (room, sender, body) = (rooms[2], person.id, digest(body.as_bytes()));
        refused.push(Sent { room, sender, key, body, fate: Fate::Open, order: None });
        println!("round {round}: the database is away after {} acks", talk.acked());
        tokio::time::sleep(chance.millis_below(500)).await;
        database.start_again().await;
    }
    talk.goes_on(ACKS_A_ROUND).await;
    let (mut run, _) = talk.end(&town).await.kept();
    run.sent.append(&mut refused);
    verdict(&run, ROUNDS * ACKS_A_ROUND);
}
