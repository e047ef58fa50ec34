//! Many fences at once: in how many statements they are raised, and who goes on while one of them
//! is held by somebody else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use parlance_actors::ports::HistoryError;
use parlance_actors::ports::history::{History, Outcome};
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::vocab::{Epoch, Seq, UserId};
use sqlx::PgConnection;

use super::owners::room_of;
use super::takeovers::{HELD, HOLD, LONG, count, until, until_tried_again};
use super::{Process, audit, execute, operator};
use crate::StorageConfig;
use crate::testkit::PostgresServer;

/// The statements that raised the fences last: each is a transaction of its own.
const RAISES: &str =
    "SELECT count(DISTINCT xmin::text) FROM parlance.fence WHERE shard BETWEEN 1 AND 200";
const LOWEST_TURN: &str = "SELECT min(turn) FROM parlance.fence WHERE shard BETWEEN 1 AND 200";
const CUT_LANES: &str = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE application_name LIKE 'parlance/node/lane%'";
const HOLD_FENCE: &str = "BEGIN; SELECT FROM parlance.fence WHERE shard = 7 FOR SHARE";

async fn one_lane(server: &PostgresServer, lock_wait: Duration) -> Process {
    let mut config = StorageConfig::new(server.url());
    (config.lanes, config.lock_wait) = (Some(1), lock_wait);
    Process::open(&config).await
}

/// Opens 200 rooms of as many shards, all of which ask while the lane is in the middle of a batch.
async fn open_at_once(holder: &mut PgConnection, history: &Arc<dyn History>, epoch: Epoch) {
    let mut busy = TestRoom::open(history, room_of(0), epoch).await.expect("opens");
    execute(holder, "SELECT pg_advisory_lock(4242)").await;
    busy.post(draft(UserId::generate(), message("held"))).expect("taken");
    until(holder, HELD, true).await;
    let mut opening = join_all((1..=200).map(|shard| history.open(room_of(shard), epoch, None)));
    // A task may do so much at a time; some rounds are enough for all of them to be in the lane's queue.
    for _ in 0..20 {
        assert!(poll!(&mut opening).is_pending());
        tokio::task::yield_now().await;
    }
    execute(holder, "SELECT pg_advisory_unlock_all()").await;
    for opened in opening.await {
        assert_eq!(opened.expect("opens").head, Seq(0));
    }
    assert!(matches!(busy.outcomes().await[0].1, Outcome::Committed { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_that_are_asked_for_at_once_are_raised_in_one_statement() {
    let server = PostgresServer::start(false).await;
    let first = one_lane(&server, LONG).await;
    let mut holder = operator(&server.url()).await;
    execute(&mut holder, HOLD).await;
    execute(&mut holder, "SELECT pg_advisory_unlock_all()").await;
    let history: Arc<dyn History> = first.storage.history();
    open_at_once(&mut holder, &history, Epoch(1)).await;
    assert_eq!(count(&mut holder, RAISES).await, 1, "a start");

    execute(&mut holder, CUT_LANES).await;
    let mut room = TestRoom::open(&history, room_of(0), Epoch(1)).await.expect("opens");
    let outcome = room.settle(draft(UserId::generate(), message("after the cut"))).await;
    assert_eq!(outcome, Outcome::Committed { seq: Seq(1) });
    assert_eq!(count(&mut holder, RAISES).await, 1, "a lost connection");
    assert_eq!(count(&mut holder, LOWEST_TURN).await, 2);

    let second = one_lane(&server, LONG).await;
    let history: Arc<dyn History> = second.storage.history();
    open_at_once(&mut holder, &history, Epoch(2)).await;
    assert_eq!(count(&mut holder, RAISES).await, 1, "a takeover");
    assert_eq!(count(&mut holder, LOWEST_TURN).await, 1);
    first.storage.close().await;
    second.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_that_is_held_keeps_no_other_shard_waiting() {
    let server = PostgresServer::start(false).await;
    let (former, next) = (one_lane(&server, LONG).await, one_lane(&server, LONG).await);
    let former: Arc<dyn History> = former.storage.history();
    let history: Arc<dyn History> = next.storage.history();
    let user = UserId::generate();
    let mut old = TestRoom::open(&former, room_of(7), Epoch(1)).await.expect("opens");
    let mut holder = operator(&server.url()).await;
    execute(&mut holder, HOLD_FENCE).await;
    let (opener, at) = (history.clone(), old.at);
    let opening = tokio::spawn(async move { TestRoom::open(&opener, at, Epoch(2)).await });
    let mut watcher = operator(&server.url()).await;
    until_tried_again(&mut watcher, || false).await;

    // Others open and write, the former owner writes until it is fenced, and the lane may lose its
    // connection meanwhile.
    let mut room = TestRoom::open(&history, room_of(8), Epoch(2)).await.expect("opens");
    let written = |seq| Outcome::Committed { seq: Seq(seq) };
    assert_eq!(room.settle(draft(user, message("one"))).await, written(1));
    assert_eq!(old.settle(draft(user, message("not fenced yet"))).await, written(1));
    execute(&mut watcher, CUT_LANES).await;
    assert_eq!(room.settle(draft(user, message("two"))).await, written(2));
    until_tried_again(&mut watcher, || false).await;
    assert!(!opening.is_finished(), "the fence is held");

    execute(&mut holder, "COMMIT").await;
    let mut new = opening.await.expect("no panic").expect("opens");
    assert_eq!(new.opened.head, Seq(1));
    assert_eq!(new.settle(draft(user, message("the next owner"))).await, written(2));
    assert_eq!(old.settle(draft(user, message("late"))).await, Outcome::Fenced);
    former.close().await;
    next.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_whose_holder_cannot_be_ended_is_given_up() {
    let server = PostgresServer::start(false).await;
    let former = one_lane(&server, LONG).await;
    former.storage.history().open(room_of(7), Epoch(1), None).await.expect("opens");
    let mut holder = operator(&server.url()).await;
    execute(&mut holder, HOLD_FENCE).await;
    let next = one_lane(&server, Duration::from_millis(30)).await;
    let history = next.storage.history();
    let refused = history.open(room_of(7), Epoch(2), None).await.expect_err("it is held");
    assert!(matches!(&refused, HistoryError::Unavailable(why) if why.contains("holds the shard")));
    history.open(room_of(8), Epoch(2), None).await.expect("opens");
    execute(&mut holder, "COMMIT").await;
    history.open(room_of(7), Epoch(2), None).await.expect("opens");
    former.storage.close().await;
    next.storage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_gives_many_fences_in_one_transaction_and_the_same_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StorageConfig::new(format!("sqlite:{}", folder.path().display()));
    let process = Process::open(&config).await;
    let history = process.storage.history();
    let rooms = || 0..=255_u8;
    for epoch in [1, 3] {
        let opened =
            join_all(rooms().map(|shard| history.open(room_of(shard), Epoch(epoch), None)));
        opened.await.into_iter().for_each(|opened| _ = opened.expect("opens"));
    }
    let late = join_all(rooms().map(|shard| history.open(room_of(shard), Epoch(2), None)));
    assert!(late.await.iter().all(|late| matches!(late, Err(HistoryError::Fenced))));
    process.storage.close().await;
}
