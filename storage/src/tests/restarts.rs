//! A process that ends in the middle of its load, and several tenants beside one another, on
//! both databases.

use parlance_actors::ports::history::{Outcome, Range};
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::testkit::history_suite::new_room;
use parlance_actors::vocab::{Draft, Epoch, RoomRef, Seq, TenantId, Timestamp, UserId};

use super::{Process, audit};
use crate::StorageConfig;
use crate::testkit::PostgresServer;

/// The second process repeats everything, as clients do, and every promise holds.
async fn a_killed_process_loses_and_repeats_nothing(config: &StorageConfig) {
    let old = Process::open(config).await;
    let mut room =
        TestRoom::open(&old.storage.history(), new_room(), Epoch(1)).await.expect("opens");
    let user = UserId::generate();
    let mut drafts: Vec<Draft> = Vec::new();
    for n in 0..2_000 {
        let draft = draft(user, message(&n.to_string()));
        room.post(draft.clone()).expect("taken");
        drafts.push(draft);
    }
    while room.heard_so_far().is_empty() {
        tokio::task::yield_now().await;
    }
    old.storage.kill();
    let heard = room.heard_so_far();
    let new = Process::open(config).await;
    let mut again = TestRoom::open(&new.storage.history(), room.at, Epoch(1)).await.expect("opens");
    assert!(again.opened.head.0 >= heard.len() as u64, "what was acknowledged is there");
    for draft in drafts {
        again.post(draft).expect("taken");
    }
    let repeated = again.outcomes().await;
    for (ticket, outcome) in &heard {
        assert_eq!(*outcome, Outcome::Committed { seq: Seq(ticket + 1) });
    }
    for (ticket, outcome) in repeated {
        match outcome {
            Outcome::Repeated { seq, .. } => assert!(seq <= again.opened.head),
            Outcome::Committed { seq } => assert!(seq > again.opened.head),
            other => panic!("{other:?}"),
        }
        let (Outcome::Repeated { seq, .. } | Outcome::Committed { seq }) = outcome else {
            continue;
        };
        assert_eq!(seq.0, ticket + 1, "one order, before and after");
    }
    new.storage.close().await;
}

async fn tenants_do_not_mix(mut config: StorageConfig) {
    config.tenants.push((TenantId(2), "second".to_owned()));
    config.lanes = Some(1);
    let process = Process::open(&config).await;
    let history = process.storage.history();
    let user = UserId::generate();
    let main = new_room();
    // The same id, so that nothing but the tenant tells them apart.
    let second = RoomRef { tenant: TenantId(2), ..main };
    let mut rooms = Vec::new();
    for at in [main, second] {
        rooms.push(TestRoom::open(&history, at, Epoch(1)).await.expect("opens"));
    }
    for n in 0..50 {
        for room in &mut rooms {
            room.post(draft(user, message(&format!("{} {n}", room.at)))).expect("taken");
        }
    }
    for room in &rooms {
        for (ticket, outcome) in room.outcomes().await {
            assert_eq!(outcome, Outcome::Committed { seq: Seq(ticket + 1) });
        }
        let page = history.log(room.at, Range::Latest, 200).await.expect("a page");
        assert_eq!(page.events.len(), 50);
        for (n, event) in page.events.iter().enumerate() {
            assert_eq!(event.content, message(&format!("{} {n}", room.at)));
        }
    }
    let nobody = RoomRef { tenant: TenantId(3), ..main };
    assert!(history.log(nobody, Range::Latest, 1).await.is_err(), "there is no third tenant");
    process.storage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_and_repeats_nothing_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().display());
    a_killed_process_loses_and_repeats_nothing(&StorageConfig::new(url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_and_repeats_nothing_on_postgres() {
    let server = PostgresServer::start(false).await;
    a_killed_process_loses_and_repeats_nothing(&StorageConfig::new(server.url())).await;
    assert_eq!(audit(&server.url()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_do_not_mix_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().display());
    tenants_do_not_mix(StorageConfig::new(url)).await;
    assert!(folder.path().join("second.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_do_not_mix_on_postgres() {
    let server = PostgresServer::start(false).await;
    tenants_do_not_mix(StorageConfig::new(server.url())).await;
    assert_eq!(audit(&server.url()).await, []);
}

/// Writes sealed bodies, and opens the database again without the ring.
async fn a_forgotten_key_ring_is_refused(mut config: StorageConfig) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("ring");
    crate::keyring::KeyRing::generate(&path, Timestamp::now()).expect("a ring");
    config.crypt = crate::Crypt::from_file(&path).expect("the ring");
    let process = Process::open(&config).await;
    let history = process.storage.history();
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    room.settle(draft(UserId::generate(), message("sealed"))).await;
    process.storage.close().await;
    config.crypt = crate::Crypt::off();
    let refused = crate::Storage::open(config).await.expect_err("the ring is missing");
    assert!(refused.to_string().contains("crypt.keyring"), "{refused}");
}

#[tokio::test]
async fn a_forgotten_key_ring_is_refused_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().display());
    a_forgotten_key_ring_is_refused(StorageConfig::new(url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_key_ring_is_refused_on_postgres() {
    let server = PostgresServer::start(false).await;
    a_forgotten_key_ring_is_refused(StorageConfig::new(server.url())).await;
}
