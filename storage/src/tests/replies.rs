//! A lane that loses its connection, or its answer, in the middle of a statement while its node
//! lives on, in fixed interleavings: each event is there once, and is answered once.

use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::history::{History, Outcome};
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::testkit::history_suite::new_room;
use parlance_actors::vocab::{Epoch, Seq, UserId};

use super::proxy::Proxy;
use super::takeovers::{HELD, HOLD, LONG, SHORT, until, until_tried_again};
use super::{Process, audit, execute, operator};
use crate::StorageConfig;
use crate::testkit::PostgresServer;

const ALL_THERE: &str = "SELECT count(*) FROM main.event WHERE seq = 4";
const UNLOCK: &str = "SELECT pg_advisory_unlock_all()";

/// A node with one lane behind a proxy, and a room that holds one message.
struct Scene {
    server: PostgresServer,
    proxy: Proxy,
    process: Process,
    room: TestRoom,
    user: UserId,
}

impl Scene {
    async fn new(lock_wait: Duration) -> Self {
        let server = PostgresServer::start(true).await;
        let proxy = Proxy::before(&server);
        let mut config = StorageConfig::new(proxy.url());
        (config.lanes, config.lock_wait) = (Some(1), lock_wait);
        let process = Process::open(&config).await;
        let history: Arc<dyn History> = process.storage.history();
        let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
        let user = UserId::generate();
        let first = room.settle(draft(user, message("first"))).await;
        assert_eq!(first, Outcome::Committed { seq: Seq(1) });
        Self { server, proxy, process, room, user }
    }

    /// Three messages, in one batch or in two.
    fn post(&mut self, body: &str) {
        for body in [body, "second", "third"] {
            self.room.post(draft(self.user, message(body))).expect("taken");
        }
    }

    /// Every message was answered with its one place.
    async fn ends_well(mut self) {
        for (ticket, outcome) in self.room.outcomes().await {
            assert_eq!(outcome, Outcome::Committed { seq: Seq(ticket + 1) });
        }
        let next = self.room.settle(draft(self.user, message("next"))).await;
        assert_eq!(next, Outcome::Committed { seq: Seq(5) });
        self.process.storage.close().await;
        assert_eq!(audit(&self.server.url()).await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_dropped_after_the_commit_is_found_again() {
    let mut scene = Scene::new(LONG).await;
    let mut watcher = operator(&scene.server.url()).await;
    scene.proxy.mute(true);
    scene.room.post(draft(scene.user, message("one"))).expect("taken");
    let one = "SELECT count(*) FROM main.event WHERE seq = 2";
    until(&mut watcher, one, true).await;
    assert_eq!(scene.room.heard_so_far().len(), 1, "no answer came");
    scene.room.post(draft(scene.user, message("two"))).expect("taken");
    scene.room.post(draft(scene.user, message("three"))).expect("taken");
    scene.proxy.mute(false);
    scene.proxy.cut();
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_whose_server_falls_silent_connects_again() {
    let mut scene = Scene::new(LONG).await;
    let mut watcher = operator(&scene.server.url()).await;
    scene.proxy.mute(true);
    scene.room.post(draft(scene.user, message("one"))).expect("taken");
    until(&mut watcher, "SELECT count(*) FROM main.event WHERE seq = 2", true).await;
    // The old connection stays open and mute; only the statement's own deadline ends the wait.
    scene.proxy.mute(false);
    scene.room.post(draft(scene.user, message("two"))).expect("taken");
    scene.room.post(draft(scene.user, message("three"))).expect("taken");
    until(&mut watcher, ALL_THERE, true).await;
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_in_mid_statement_is_waited_for_and_not_repeated() {
    let mut scene = Scene::new(LONG).await;
    let mut holder = operator(&scene.server.url()).await;
    execute(&mut holder, HOLD).await;
    scene.post("held");
    until(&mut holder, HELD, true).await;
    scene.proxy.cut();
    // The same node raises its own fence and waits for its own insert.
    until_tried_again(&mut holder, || false).await;
    assert_eq!(scene.room.heard_so_far().len(), 1);
    execute(&mut holder, UNLOCK).await;
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_insert_that_does_not_end_is_ended_and_submitted_again() {
    let mut scene = Scene::new(SHORT).await;
    let mut holder = operator(&scene.server.url()).await;
    execute(&mut holder, HOLD).await;
    let old = "SELECT pid::bigint FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    scene.post("held");
    until(&mut holder, HELD, true).await;
    let first: i64 = sqlx::query_scalar(old).fetch_one(&mut holder).await.expect("a backend");
    scene.proxy.cut();
    // Until another backend of the same lane waits in the old one's place.
    loop {
        let now: Option<i64> =
            sqlx::query_scalar(old).fetch_optional(&mut holder).await.expect("answered");
        if now.is_some_and(|now| now != first) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    execute(&mut holder, UNLOCK).await;
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_stopped_in_mid_batch_loses_and_repeats_nothing() {
    let mut scene = Scene::new(LONG).await;
    let mut holder = operator(&scene.server.url()).await;
    execute(&mut holder, HOLD).await;
    scene.post("held");
    until(&mut holder, HELD, true).await;
    // The insert is under way and not committed. Its lock ends with the server.
    scene.server.stop_immediate().await;
    assert_eq!(scene.room.heard_so_far().len(), 1, "nothing is answered");
    scene.server.start_again().await;
    scene.ends_well().await;
}
