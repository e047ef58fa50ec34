//! A database that stops, crashes, cuts connections or refuses rows, under load: clear errors, no
//! false ack, no repeat, no hole, and recovery without help.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parlance_actors::ports::history::{DatabaseId, History, NotTakenWhy, Outcome, Range};
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::testkit::history_suite::new_room;
use parlance_actors::vocab::{Epoch, Event, Key, Pos, RoomId, Seq, ShardId, TenantId, UserId};

use super::{Process, audit, execute, operator};
use crate::StorageConfig;
use crate::crypt::Crypt;
use crate::history::SqlHistory;
use crate::lane::{Batch, LaneHandle, Lookup, Placed, Raised, WriteError, Writer, Written};
use crate::limits;
use crate::reads::Reads;
use crate::sql::Db;
use crate::sqlite::{SqliteDb, SqliteWriter};
use crate::testkit::PostgresServer;

const ROOMS: usize = 6;
const POLL: Duration = Duration::from_millis(5);

/// Posts to a room until told to stop; what was acknowledged, by key.
async fn load(
    mut room: TestRoom,
    stop: Arc<AtomicBool>,
) -> (parlance_actors::vocab::RoomRef, HashMap<Key, Seq>) {
    let user = UserId::generate();
    let mut keys = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let draft = draft(user, message(&keys.len().to_string()));
        let key = draft.key;
        match room.post(draft) {
            Ok(_) => keys.push(key),
            Err(refused) => {
                assert_ne!(refused.why, NotTakenWhy::Closing);
                tokio::time::sleep(POLL).await;
            }
        }
        if keys.len() % 5 == 0 {
            tokio::time::sleep(POLL).await;
        }
    }
    let mut acked = HashMap::new();
    for (ticket, outcome) in room.outcomes().await {
        let key = keys[usize::try_from(ticket).expect("small")];
        match outcome {
            Outcome::Committed { seq } => _ = acked.insert(key, seq),
            other => panic!("a message without a repeated key got {other:?}"),
        }
    }
    assert_eq!(acked.len(), keys.len(), "everything that was taken is settled");
    (room.at, acked)
}

async fn whole_log(history: &dyn History, room: parlance_actors::vocab::RoomRef) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(Seq(0), |event| event.seq);
        let page = history.log(room, Range::After(after), 200).await.expect("a page");
        events.extend(page.events);
        if !page.more {
            return events;
        }
    }
}

/// Runs load while `trouble` happens, and checks every promise afterwards.
async fn survives(server: &mut PostgresServer, trouble: impl AsyncFnOnce(&mut PostgresServer)) {
    let mut config = StorageConfig::new(server.url());
    config.lanes = Some(2);
    let process = Process::open(&config).await;
    let stop = Arc::<AtomicBool>::default();
    let history: Arc<dyn History> = process.storage.history();
    let mut loads = Vec::new();
    for _ in 0..ROOMS {
        // Opened before the trouble begins: an open that is cut off is refused, and rightly so.
        let room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
        loads.push(tokio::spawn(load(room, stop.clone())));
    }
    trouble(server).await;
    // A while without trouble, so that everybody recovers while posting.
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        let (room, acked) = load.await.expect("no panic");
        assert!(!acked.is_empty());
        let events = whole_log(&*process.storage.history(), room).await;
        assert_eq!(events.len(), acked.len(), "nothing is there that was not acknowledged");
        for (place, event) in events.iter().enumerate() {
            assert_eq!(event.seq.0, place as u64 + 1, "no hole");
            assert_eq!(acked.get(&event.key), Some(&event.seq), "acknowledged where it is");
        }
    }
    process.storage.history().healthy().await.expect("healthy again");
    process.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_in_mid_batch_lose_and_repeat_nothing() {
    let mut server = PostgresServer::start(true).await;
    survives(&mut server, async |server| {
        let mut connection = operator(&server.url()).await;
        for _ in 0..40 {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND application_name LIKE 'parlance/%'";
            execute(&mut connection, cut).await;
            tokio::time::sleep(Duration::from_millis(37)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_and_starts_loses_and_repeats_nothing() {
    let mut server = PostgresServer::start(true).await;
    survives(&mut server, async |server| {
        for round in 0..4 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            if round % 2 == 0 {
                server.stop().await
            } else {
                server.kill9().await
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.start_again().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_new_appends_are_refused_and_old_ones_wait() {
    let mut server = PostgresServer::start(true).await;
    let process = Process::open(&StorageConfig::new(server.url())).await;
    let history = process.storage.history();
    let user = UserId::generate();
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    room.settle(draft(user, message("before"))).await;
    server.stop().await;
    let mut taken = 0;
    let refused = loop {
        match room.post(draft(user, message("away"))) {
            Ok(_) => taken += 1,
            Err(refused) => break refused.why,
        }
        tokio::time::sleep(POLL).await;
    };
    assert_eq!(refused, NotTakenWhy::Away);
    assert!(taken > 0);
    assert!(history.healthy().await.is_err());
    let read = history.log(room.at, Range::Latest, 5).await;
    assert!(read.is_err(), "a read says that the database is away");
    server.start_again().await;
    for (ticket, outcome) in room.outcomes().await {
        assert_eq!(outcome, Outcome::Committed { seq: Seq(ticket + 1) });
    }
    process.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_without_a_database_settles_everything_as_failed() {
    let mut server = PostgresServer::start(false).await;
    let process = Process::open(&StorageConfig::new(server.url())).await;
    let history = process.storage.history();
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    server.stop().await;
    for n in 0..10 {
        room.post(draft(UserId::generate(), message(&n.to_string()))).expect("taken");
    }
    history.close().await;
    let heard = room.heard_so_far();
    assert_eq!(heard.len(), 10);
    assert!(heard.iter().all(|(_, outcome)| matches!(outcome, Outcome::Failed { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_database_refuses_fails_alone() {
    let server = PostgresServer::start(false).await;
    let mut config = StorageConfig::new(server.url());
    config.lanes = Some(1);
    let process = Process::open(&config).await;
    let mut connection = operator(&server.url()).await;
    let rule = "ALTER TABLE main.event ADD CHECK (body <> 'bad'::bytea)";
    execute(&mut connection, rule).await;
    let history = process.storage.history();
    let user = UserId::generate();
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    let mut other = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    for n in 0..100 {
        let body = if n % 33 == 10 { "bad" } else { "good" };
        room.post(draft(user, message(body))).expect("taken");
        other.post(draft(user, message("good"))).expect("taken");
    }
    let mut next = 1;
    for (ticket, outcome) in room.outcomes().await {
        if ticket % 33 == 10 {
            assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        } else {
            assert_eq!(outcome, Outcome::Committed { seq: Seq(next) });
            next += 1;
        }
    }
    for (ticket, outcome) in other.outcomes().await {
        assert_eq!(outcome, Outcome::Committed { seq: Seq(ticket + 1) });
    }
    process.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}

/// A writer whose answer gets lost after the commit, or whose batch gets lost before it.
struct Lossy {
    within: SqliteWriter,
    /// Even counts lose the answer, odd ones the batch; 0 loses nothing.
    losses: Arc<AtomicU32>,
}

impl Writer for Lossy {
    fn fences_of(&self, tenant: TenantId) -> TenantId {
        self.within.fences_of(tenant)
    }
    async fn connect(&mut self) -> Written<DatabaseId> {
        self.within.connect().await
    }
    async fn raise(
        &mut self,
        fences: TenantId,
        wanted: &[(ShardId, Epoch)],
    ) -> Written<Vec<Raised>> {
        self.within.raise(fences, wanted).await
    }
    async fn end_holders(&mut self, fences: TenantId, shards: &[ShardId]) -> Written<()> {
        self.within.end_holders(fences, shards).await
    }
    async fn last_pos(&mut self, tenant: TenantId, shards: &[ShardId]) -> Written<Vec<Pos>> {
        self.within.last_pos(tenant, shards).await
    }
    async fn append(&mut self, batch: &Batch) -> Written<Vec<Option<Placed>>> {
        let lose = |n: u32| n.checked_sub(1);
        let before = self.losses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lose);
        match before {
            Ok(n) if n % 2 == 1 => Err(WriteError::Lost("the batch got lost".to_owned())),
            Ok(_) => {
                self.within.append(batch).await?;
                Err(WriteError::Lost("the answer got lost".to_owned()))
            }
            Err(_) => self.within.append(batch).await,
        }
    }
    async fn find(&mut self, tenant: TenantId, keys: &[Lookup]) -> Written<Vec<Option<Placed>>> {
        self.within.find(tenant, keys).await
    }
    async fn heads(&mut self, tenant: TenantId, rooms: &[RoomId]) -> Written<Vec<Seq>> {
        self.within.heads(tenant, rooms).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_commit_is_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = StorageConfig::new(format!("sqlite:{}", folder.path().display()));
    crate::migrate_up(&config).await.expect("up");
    let db = SqliteDb::open(&config).await.expect("opens");
    let losses = Arc::<AtomicU32>::default();
    let within = SqliteWriter::new(db.clone());
    let lossy = Lossy { within, losses: losses.clone() };
    let lane = LaneHandle::start(0, lossy, Crypt::off(), limits::LOCK_WAIT);
    let reads = Reads { db: Db::Sqlite(db), crypt: Crypt::off() };
    let history: Arc<dyn History> = Arc::new(SqlHistory::new(vec![lane], reads));
    let user = UserId::generate();
    let mut rooms = Vec::new();
    for _ in 0..3 {
        rooms.push(TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens"));
    }
    let old = draft(user, message("old"));
    rooms[0].settle(old.clone()).await;
    for round in 0..10_u64 {
        losses.store(2 + u32::try_from(round % 2).expect("small"), Ordering::Relaxed);
        // A repeat of an old key is still one, and not taken for this batch's own.
        rooms[0].post(old.clone()).expect("taken");
        for room in &mut rooms {
            for n in 0..5 {
                room.post(draft(user, message(&n.to_string()))).expect("taken");
            }
        }
        let heard = rooms[0].outcomes().await;
        let repeat = &heard[1 + usize::try_from(round).expect("small") * 6].1;
        assert!(matches!(repeat, Outcome::Repeated { seq: Seq(1), .. }), "{repeat:?}");
    }
    for room in &rooms {
        let acked: Vec<u64> = room
            .outcomes()
            .await
            .into_iter()
            .filter_map(|(_, outcome)| match outcome {
                Outcome::Committed { seq } => Some(seq.0),
                _ => None,
            })
            .collect();
        let events = whole_log(&*history, room.at).await;
        assert_eq!(acked, (1..=events.len() as u64).collect::<Vec<_>>());
    }
    history.close().await;
}
