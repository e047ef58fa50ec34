//! The ports' suites on both databases, and the reads again through PgBouncer.

use parlance_actors::ports::HistoryError;
use parlance_actors::ports::history::Range;
use parlance_actors::testkit::{history_suite, members_suite};
use parlance_actors::vocab::Seq;

use super::{Process, audit};
use crate::StorageConfig;
use crate::testkit::{PgBouncer, PostgresServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contracts_of_history_and_members() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StorageConfig::new(format!("sqlite:{}", folder.path().display()));
    let process = Process::open(&config).await;
    members_suite::all(&process).await;
    history_suite::all(&process).await;
    process.storage.close().await;
    assert!(folder.path().join("main.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contracts_of_history_and_members() {
    let server = PostgresServer::start(false).await;
    let process = Process::open(&StorageConfig::new(server.url())).await;
    members_suite::all(&process).await;
    history_suite::all(&process).await;
    process.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_through_a_pooler_in_transaction_mode() {
    let server = PostgresServer::start(false).await;
    let pooler = PgBouncer::start(&server).await;
    let mut config = StorageConfig::new(server.url());
    config.read_url = Some(pooler.url());
    let process = Process::open(&config).await;
    members_suite::all(&process).await;
    history_suite::all(&process).await;
    // Pages did come through the pooler, and what decides did not.
    drop(pooler);
    let (history, room) = (process.storage.history(), history_suite::new_room());
    let page = history.log(room, Range::Latest, 1).await;
    assert!(matches!(page, Err(HistoryError::Unavailable(_))), "{page:?}");
    assert_eq!(history.event(room, Seq(1)).await.expect("from the primary"), None);
    process.storage.close().await;
}
