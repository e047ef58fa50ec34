//! Opening: wrong URLs, unreachable servers, cluster ids, and a large log.

use std::time::{Duration, Instant};

use parlance_actors::vocab::{Epoch, RoomId, RoomRef, Seq, TenantId};
use uuid::Uuid;

use super::{Process, execute, operator};
use crate::testkit::PostgresServer;
use crate::{Storage, StorageConfig, StorageError};

async fn refused(url: &str) -> StorageError {
    Storage::open(StorageConfig::new(url)).await.expect_err("it cannot be opened")
}

#[tokio::test]
async fn a_wrong_scheme_is_refused_without_its_password() {
    let error = refused("mysql://ann:s3cret@db/chat").await;
    let text = error.to_string();
    assert!(matches!(error, StorageError::Config(_)), "{text}");
    assert!(text.contains("mysql://ann:***@db/chat") && !text.contains("s3cret"), "{text}");
    assert!(matches!(refused("sqlite:").await, StorageError::Config(_)));
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_its_password() {
    // A port that was free a moment ago, on which nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let error = refused(&format!("postgres://ann:s3cret@127.0.0.1:{port}/chat")).await;
    let text = error.to_string();
    assert!(matches!(error, StorageError::Unreachable { .. }), "{text}");
    assert!(text.contains(&format!("ann:***@127.0.0.1:{port}")), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = refused(&format!("sqlite:{}/below", file.path().display())).await.to_string();
    assert!(text.contains("/below"), "{text}");
}

async fn one_cluster_wins(config: &StorageConfig) {
    let (one, two) = (Process::open(config).await, Process::open(config).await);
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let (first, second) = tokio::join!(one.storage.cluster_id(a), two.storage.cluster_id(b));
    let (first, second) = (first.expect("an id"), second.expect("an id"));
    assert_eq!(first, second);
    assert!([a, b].contains(&first));
    assert_eq!(one.storage.highest_epoch().await.expect("an epoch"), Epoch(0));
    let room = RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() };
    one.storage.history().open(room, Epoch(7), None).await.expect("opens");
    assert_eq!(two.storage.highest_epoch().await.expect("an epoch"), Epoch(7));
}

#[tokio::test]
async fn of_two_clusters_one_gets_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    one_cluster_wins(&StorageConfig::new(format!("sqlite:{}", folder.path().display()))).await;
    let server = PostgresServer::start(false).await;
    one_cluster_wins(&StorageConfig::new(server.url())).await;
}

#[tokio::test]
async fn a_million_events_do_not_slow_the_start() {
    let server = PostgresServer::start(false).await;
    let config = StorageConfig::new(server.url());
    Process::open(&config).await.storage.close().await;
    let mut connection = operator(&server.url()).await;
    execute(
        &mut connection,
        "INSERT INTO main.event (shard, room, seq, pos, epoch, kind, sender, key, sent_at, body)
         SELECT r % 256, lpad(to_hex(r % 256), 32, lpad(to_hex(r), 8, '0'))::uuid, s,
                (r / 256) * 1000 + s, 1, 1, md5((r * s)::text)::uuid, md5(r || ' ' || s)::uuid, 0, 'x'
         FROM generate_series(0, 999) r, generate_series(1, 1000) s;
         INSERT INTO main.member (shard, room, \"user\", role, joined_at)
         SELECT r.shard, r.room, md5(m::text)::uuid, 1, 0
         FROM (SELECT shard, room FROM main.event WHERE shard = 7 LIMIT 1) r,
              generate_series(1, 100000) m;
         ANALYZE",
    )
    .await;
    let rooms: Vec<Uuid> = sqlx::query_scalar("SELECT DISTINCT room FROM main.event")
        .fetch_all(&mut connection)
        .await
        .expect("rooms");
    assert_eq!(rooms.len(), 1_000);
    let begun = Instant::now();
    let process = Process::open(&config).await;
    let opened = begun.elapsed();
    let history = process.storage.history();
    let mut members = 0;
    for room in rooms {
        let room = RoomRef { tenant: TenantId::MAIN, room: RoomId(room) };
        let opened = history.open(room, Epoch(2), None).await.expect("opens");
        assert_eq!(opened.head, Seq(1_000));
        members += opened.members;
    }
    assert_eq!(members, 100_000);
    println!("storage opened in {opened:?}, 1,000 rooms in {:?}", begun.elapsed() - opened);
    // Not a measurement: a scan of the log for each room would take minutes.
    assert!(begun.elapsed() < Duration::from_secs(60));
}
