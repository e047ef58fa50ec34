//! Rotation and resealing while a server writes: nothing in clear, nothing lost, nothing undone.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parlance_actors::ports::History;
use parlance_actors::ports::accounts::NewUser;
use parlance_actors::ports::history::{Outcome, Range};
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::vocab::{
    Content, Epoch, RoomId, RoomRef, Seq, TenantId, Timestamp, UserId, Username,
};

use super::*;
use crate::testkit::PostgresServer;
use crate::{Crypt, Storage};

const WORD: &str = "never in clear";

/// A server of its own on this database: its own copy of the ring, as of now.
async fn serve(config: &StorageConfig, ring: &Path) -> Storage {
    let crypt = Crypt::from_file(ring).expect("a ring");
    Storage::open(StorageConfig { crypt, ..config.clone() }).await.expect("opened")
}

async fn somebody(storage: &Storage) -> UserId {
    let new = NewUser {
        tenant: TenantId::MAIN,
        id: UserId::generate(),
        username: Username::known("ann"),
        password: None,
        admin: false,
        at: Timestamp::now(),
    };
    storage.accounts().create_user(new).await.expect("made").id
}

async fn say(room: &mut TestRoom, user: UserId, number: u64) {
    let said = room.settle(draft(user, message(&format!("{WORD} {number}")))).await;
    assert!(matches!(said, Outcome::Committed { .. }), "{said:?}");
}

async fn bodies(history: &Arc<dyn History>, at: RoomRef) -> Vec<(Seq, Option<String>)> {
    let mut all = Vec::new();
    loop {
        let from = all.last().map_or(Seq(0), |(seq, _)| *seq);
        let page = history.log(at, Range::After(from), 50).await.expect("a page");
        all.extend(page.events.iter().map(|event| match &event.content {
            Content::Message { body, .. } => (event.seq, Some(body.to_string())),
            _ => (event.seq, None),
        }));
        if !page.more {
            return all;
        }
    }
}

async fn stored_keys(db: &Db) -> Vec<Option<i32>> {
    const ALL: &str = "SELECT crypt_key, body FROM {t}.event WHERE body IS NOT NULL";
    let rows = db.rows(TenantId::MAIN, For::Deciding, ALL, Vec::new()).await.expect("read");
    let key = |row: &crate::sql::Row| {
        let body = row.maybe_bytes(1).expect("a body").expect("not null");
        let clear = body.windows(WORD.len()).any(|part| part == WORD.as_bytes());
        assert!(!clear, "a body is stored in clear");
        row.maybe_whole(0).expect("a key")
    };
    rows.iter().map(key).collect()
}

async fn a_server_writes_on_while_its_keys_change(config: StorageConfig) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ring = folder.path().join("keys");
    KeyRing::generate(&ring, Timestamp(0)).expect("a first key");
    let server = serve(&config, &ring).await;
    let user = somebody(&server).await;
    let at = RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() };
    let mut room = TestRoom::open(&server.history(), at, Epoch(1)).await.expect("opened");
    for number in 1..=40 {
        say(&mut room, user, number).await;
    }
    assert_eq!(stored_keys(&server.db).await, [Some(1); 40]);

    KeyRing::rotate(&ring, Timestamp(0)).expect("a second key");
    let command =
        StorageConfig { crypt: Crypt::from_file(&ring).expect("a ring"), ..config.clone() };
    let written = AtomicBool::new(false);
    let rewriting = async {
        while !written.load(Ordering::Acquire) {
            reseal(&command, |_| ControlFlow::Continue(())).await.expect("resealed");
        }
    };
    let writing = async {
        for number in 41..=60 {
            say(&mut room, user, number).await;
            // Deletes something that is being resealed at about this moment.
            let target = Seq(number - 40);
            let deleted = room.settle(draft(user, Content::Delete { target })).await;
            assert!(matches!(deleted, Outcome::Committed { .. }), "{deleted:?}");
        }
        written.store(true, Ordering::Release);
    };
    tokio::join!(rewriting, writing);

    // The server, which began with one key, reads all of it, and so does a new one.
    for history in [server.history(), serve(&config, &ring).await.history()] {
        let read = bodies(&history, at).await;
        assert_eq!(read.len(), 80);
        for (seq, body) in &read[..40] {
            let expected = (seq.0 > 20).then(|| format!("{WORD} {}", seq.0));
            assert_eq!(*body, expected, "seq {seq}");
        }
    }
    let done = reseal(&command, |_| ControlFlow::Continue(())).await.expect("resealed");
    assert_eq!((done.skipped, done.unreadable), (0, 0));
    assert_eq!(stored_keys(&server.db).await, [Some(2); 40]);
    assert!(!key_in_use(&command, 1).await.expect("answered"));
    // Having read the new key's rows, the server seals with it.
    say(&mut room, user, 61).await;
    assert_eq!(stored_keys(&server.db).await, [Some(2); 41]);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_sqlite_writes_on_while_its_keys_change() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().display());
    a_server_writes_on_while_its_keys_change(StorageConfig::new(url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_postgres_writes_on_while_its_keys_change() {
    let server = PostgresServer::start(false).await;
    a_server_writes_on_while_its_keys_change(StorageConfig::new(server.url())).await;
}
