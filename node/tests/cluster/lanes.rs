//! Lanes that lose their connection in the middle of a statement while everything else lives on, and
//! nodes that start again while the database still holds an insert of their last life.

use std::time::Duration;

use parlance_storage::testkit::PostgresServer;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgConnection;
use tokio::time::sleep;

use crate::harness::fleet::POSTGRES_PORT;
use crate::harness::holds::Holder;
use crate::harness::scene::{SMALL, Scene};

const POLL: Duration = Duration::from_millis(5);
const END_LANES: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name LIKE 'parlance/%/lane%'";
const END_BUSY_LANES: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name LIKE 'parlance/%/lane%' AND state = 'active'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn lanes_may_be_ended_in_the_middle_of_their_statements() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0190).await else { return };
    let mut operator = scene.fleet.database.operator().await;
    let (mut busy, mut all) = (0, 0);
    for round in 0..100 {
        sleep(scene.chance.millis_below(200)).await;
        if round % 10 == 0 {
            all += number(&mut operator, END_LANES).await;
        } else {
            busy += number(&mut operator, END_BUSY_LANES).await;
        }
        if round % 20 == 0 {
            scene.talk.goes_on(20).await;
        }
    }
    println!("ended: {busy} lanes in the middle of a statement, and {all} as they were");
    assert!(busy > 0, "no lane was in the middle of a statement");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn connections_to_the_database_may_be_reset_at_any_time() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0191).await else { return };
    let database = scene.fleet.database_host.clone();
    for round in 0..30 {
        let place = scene.any_node();
        let node = scene.fleet.nodes[place].host.clone();
        // What the node says is answered with a reset, or what the database answers.
        if scene.chance.below(2) == 0 {
            database.resets_streams_of(&node, POSTGRES_PORT);
        } else {
            node.resets_answers_of(&database, POSTGRES_PORT);
        }
        sleep(scene.chance.millis_below(300)).await;
        scene.fleet.network.heal();
        sleep(scene.chance.millis_below(700)).await;
        if round % 5 == 0 {
            scene.talk.goes_on(20).await;
        }
    }
    scene.end().await;
}

/// The old insert is let go at any time: before the next owner asks for it, while one waits for it,
/// or after one has ended it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_node_may_start_again_while_an_insert_of_its_last_life_is_held() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0192).await else { return };
    let mut holder = Holder::prepare(&scene.fleet.database).await;
    let (mut seen, mut ended) = (0, 0);
    for _ in 0..6 {
        let place = owner_of_some_room(&mut scene).await;
        holder.hold(&scene.fleet.nodes[place].name, 1).await;
        let before = holder.held().await;
        scene.kill9(place).await;
        scene.fleet.nodes[place].start();
        sleep(scene.chance.millis_below(6_000)).await;
        let after = holder.held().await;
        println!("{before} inserts were held when the node was killed, and {after} are let go");
        if after > 0 {
            seen += 1;
        } else {
            ended += 1;
        }
        holder.let_go().await;
        scene.talk.goes_on(50).await;
        scene.fleet.is_ready().await;
    }
    println!("held inserts were let go {seen} times, and had been ended by others {ended} times");
    scene.end().await;
}

/// A process of the database stands still, so that nobody can end its insert either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_node_may_start_again_while_the_database_stands_still_over_its_insert() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0193).await else { return };
    for _ in 0..4 {
        let place = owner_of_some_room(&mut scene).await;
        let stopped = Stopped::in_an_insert(&scene.fleet.database, &scene.fleet.nodes[place].name);
        let stopped = stopped.await;
        scene.kill9(place).await;
        scene.fleet.nodes[place].start();
        sleep(scene.chance.millis_below(8_000)).await;
        drop(stopped);
        scene.talk.goes_on(50).await;
        scene.fleet.is_ready().await;
    }
    scene.end().await;
}

/// The database's processes of a node's lanes that are in the middle of an insert, which stand still
/// until this is dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    async fn in_an_insert(database: &PostgresServer, node: &str) -> Self {
        let mut operator = database.operator().await;
        let mut tries = 0;
        loop {
            tries += 1;
            let found = inserting(&mut operator, node).await;
            let pids = found.iter().map(|pid| Pid::from_raw(*pid).expect("an id is not zero"));
            let stopped = Self(pids.collect());
            // It may have ended by itself.
            for pid in &stopped.0 {
                let _ = kill_process(*pid, Signal::STOP);
            }
            // Nothing shows which statement that was; a stopped one shows the same as long as it is.
            let still = inserting(&mut operator, node).await;
            if still.iter().any(|pid| found.contains(pid)) {
                println!("{found:?} stand still, {still:?} in an insert, at the try {tries}");
                return stopped;
            }
            drop(stopped);
            sleep(POLL).await;
        }
    }
}

async fn inserting(connection: &mut PgConnection, node: &str) -> Vec<i32> {
    const INSERTING: &str = "SELECT pid FROM pg_stat_activity
        WHERE application_name LIKE 'parlance/' || $1 || '/lane%' AND state = 'active'
          AND query LIKE '%probed AS MATERIALIZED%'";
    sqlx::query_scalar(INSERTING).bind(node).fetch_all(connection).await.expect(INSERTING)
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            // Somebody may have killed it.
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

async fn owner_of_some_room(scene: &mut Scene) -> usize {
    let room = scene.any_room();
    scene.fleet.owner_of(room).await
}

async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.expect(sql)
}
