//! Lists while their reads hang: what messages need still finds a connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parlance_actors::ports::{History, HistoryError, Members};
use parlance_actors::vocab::{Epoch, TenantId, UserId};

use super::owners::room_of;
use super::takeovers::count;
use super::{Process, execute, operator};
use crate::testkit::PostgresServer;
use crate::{StorageConfig, limits};

/// Read marks are what lists need, and openings of rooms and facts about members do not.
const HOLD_MARKS: &str = "BEGIN; LOCK TABLE main.read_mark IN ACCESS EXCLUSIVE MODE";
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_hang_leave_connections_to_openings_and_facts() {
    let server = PostgresServer::start(false).await;
    let config = StorageConfig::new(server.url());
    let process = Process::open(&config).await;
    let history: Arc<dyn History> = process.storage.history();
    let members: Arc<dyn Members> = process.storage.members();
    let (mut holder, mut watcher) = (operator(&server.url()).await, operator(&server.url()).await);
    execute(&mut holder, HOLD_MARKS).await;
    let user = UserId::generate();
    let rooms = [room_of(1).room, room_of(2).room];
    let list = move |members: Arc<dyn Members>| async move {
        members.summaries(TenantId::MAIN, user, &rooms).await.map(|summaries| summaries.len())
    };
    let reader = members.clone();
    let lists = tokio::spawn(async move { join_all((0..20).map(|_| list(reader.clone()))).await });
    let turns = i64::from(config.read_connections / limits::LISTS_SHARE);
    while count(&mut watcher, WAITING).await < turns {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    history.open(room_of(3), Epoch(1), None).await.expect("a room opens");
    let role = members.role(room_of(3), user).await;
    assert!(matches!(role, Ok(None)), "{role:?}");
    // Each of the others waits for its turn, and is told when it takes too long.
    let refused = members.summaries(TenantId::MAIN, user, &rooms).await;
    assert!(matches!(refused, Err(HistoryError::Busy)), "{refused:?}");
    assert_eq!(count(&mut watcher, WAITING).await, turns);

    execute(&mut holder, "COMMIT").await;
    let answers = lists.await.expect("no panic");
    let read = answers.iter().filter(|answer| matches!(answer, Ok(2))).count();
    assert!(read >= usize::try_from(turns).expect("few"), "who had a turn is answered");
    let is_settled = |answer: &Result<_, _>| matches!(answer, Ok(2) | Err(HistoryError::Busy));
    assert!(answers.iter().all(is_settled), "{answers:?}");
    members.rooms_of(TenantId::MAIN, user, None, 10).await.expect("turns came back");
    process.storage.close().await;
}
