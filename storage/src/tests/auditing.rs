//! The audit finds what it is for, with only a URL, in every tenant; and what else is read about
//! the whole database.

use parlance_actors::ports::history::{Outcome, Range};
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::testkit::history_suite::new_room;
use parlance_actors::vocab::{Epoch, RoomRef, Seq, TenantId, UserId};

use super::{Process, audit, execute, operator};
use crate::sql::For;
use crate::testkit::PostgresServer;
use crate::{Fault, StorageConfig};

/// A second tenant with five messages in one room.
async fn five_messages(mut config: StorageConfig) -> Process {
    config.tenants.push((TenantId(2), "second".to_owned()));
    let process = Process::open(&config).await;
    let at = RoomRef { tenant: TenantId(2), ..new_room() };
    let mut room = TestRoom::open(&process.storage.history(), at, Epoch(3)).await.expect("opens");
    for _ in 0..5 {
        room.settle(draft(UserId::generate(), message("hello"))).await;
    }
    assert_eq!(process.storage.highest_epoch().await.expect("an epoch"), Epoch(3));
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_every_kind_of_violation_on_postgres() {
    let server = PostgresServer::start(false).await;
    let process = five_messages(StorageConfig::new(server.url())).await;
    assert_eq!(audit(&server.url()).await, []);
    assert_eq!(process.storage.audit().await.expect("audited"), []);
    let mut connection = operator(&server.url()).await;
    let broken = "ALTER TABLE second.event DROP CONSTRAINT event_shard_room_sender_key_key;
        UPDATE second.event SET epoch = 7 WHERE seq = 2;
        UPDATE second.event SET pos = 9 WHERE seq = 5;
        UPDATE second.event SET seq = 6 WHERE seq = 5;
        UPDATE second.event e SET sender = o.sender, key = o.key
          FROM second.event o WHERE o.seq = 1 AND e.seq = 4";
    execute(&mut connection, broken).await;
    let faults = audit(&server.url()).await;
    let [
        Fault::EpochWentBack { seq: Seq(3), epoch: Epoch(3), before: Epoch(7), .. },
        Fault::EpochAboveFence { seq: Seq(2), epoch: Epoch(7), .. },
        Fault::HoleInLog { seq: Seq(6), before: Seq(4), .. },
        Fault::HoleInStream { .. },
        Fault::KeyTwice { times: 2, .. },
    ] = &faults[..]
    else {
        panic!("{faults:?}");
    };
    assert!(process.storage.audit().await.expect("audited").iter().all(|v| v.tenant == "second"));
    // A tenant that was restored without its fences.
    let restored = "DELETE FROM parlance.fence; UPDATE second.event SET epoch = 11 WHERE pos = 9";
    execute(&mut connection, restored).await;
    assert_eq!(process.storage.highest_epoch().await.expect("an epoch"), Epoch(11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_reads_every_file_of_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().display());
    let process = five_messages(StorageConfig::new(&url)).await;
    assert_eq!(audit(&url).await, []);
    let crate::sql::Db::Sqlite(db) = &process.storage.db else { panic!("a folder of files") };
    let second = db.file(TenantId(2)).expect("the second tenant");
    let broken = "UPDATE event SET seq = 7 WHERE seq = 5; UPDATE event SET epoch = 1 WHERE seq = 3";
    sqlx::raw_sql(broken).execute(&second.writer).await.expect("broken");
    let faults = audit(&url).await;
    assert!(
        matches!(
            faults[..],
            [Fault::EpochWentBack { seq: Seq(3), .. }, Fault::HoleInLog { seq: Seq(7), .. }]
        ),
        "{faults:?}"
    );
}

/// Identical reads that wait for the one connection are one read, and it shows what was committed
/// before the last of them asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_identical_reads_is_one_read_of_the_present() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = StorageConfig::new(format!("sqlite:{}", folder.path().display()));
    config.read_connections = 1;
    let process = Process::open(&config).await;
    let history = process.storage.history();
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    let user = UserId::generate();
    let only = process.storage.db.begin(TenantId::MAIN, For::Reading).await.expect("the reader");
    let mut storm = tokio::task::JoinSet::new();
    for n in 1..=100_u64 {
        let outcome = room.settle(draft(user, message("hello"))).await;
        assert_eq!(outcome, Outcome::Committed { seq: Seq(n) });
        let (history, at) = (history.clone(), room.at);
        storm.spawn(async move { history.log(at, Range::Latest, 10).await.map(|page| (n, page)) });
    }
    let waits = process.storage.history.waiting_reads();
    assert!(waits <= 1, "{waits} reads wait");
    only.commit().await.expect("given back");
    while let Some(read) = storm.join_next().await {
        let (asked_at, page) = read.expect("no panic").expect("a page");
        assert!(page.as_of.0 >= asked_at);
        assert_eq!(page.events.len(), 10);
    }
    process.storage.close().await;
}
