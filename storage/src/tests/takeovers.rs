//! A restart or takeover over an insert that is still held, in one fixed interleaving: a trigger
//! on an advisory lock keeps the old process's insert from ending until the test lets it. The
//! append as it is passes; each broken build is caught.

use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::history::{History, Outcome};
use parlance_actors::testkit::history_room::{TestRoom, draft, keyed, message};
use parlance_actors::testkit::history_suite::new_room;
use parlance_actors::vocab::{Content, Epoch, Key, Seq, UserId};
use sqlx::PgConnection;

use super::{Process, audit, execute, operator};
use crate::limits;
use crate::testkit::PostgresServer;
use crate::{Fault, Sabotage, StorageConfig};

pub(super) const LONG: Duration = Duration::from_secs(60);
pub(super) const SHORT: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(10);

pub(super) const HOLD: &str = "
    CREATE FUNCTION main.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.body = 'held'::bytea THEN PERFORM pg_advisory_xact_lock(4242); END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER hold BEFORE INSERT ON main.event FOR EACH ROW EXECUTE FUNCTION main.hold();
    SELECT pg_advisory_lock(4242)";
pub(super) const HELD: &str =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
/// When a lane tried to raise fences last.
const TRIED: &str = "SELECT max(query_start)::text FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND query LIKE '%SKIP LOCKED%'";
const APPENDING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%owned AS MATERIALIZED%'";

pub(super) async fn count(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.expect(sql)
}

/// Polls until the count is above zero, or zero.
pub(super) async fn until(connection: &mut PgConnection, sql: &'static str, some: bool) {
    while (count(connection, sql).await > 0) != some {
        tokio::time::sleep(POLL).await;
    }
}

/// Returns when a lane has tried to raise a fence again, which is done only while it is held, or when
/// nothing more is to come.
pub(super) async fn until_tried_again(connection: &mut PgConnection, is_done: impl Fn() -> bool) {
    let mut first: Option<String> = None;
    while !is_done() {
        let last: Option<String> =
            sqlx::query_scalar(TRIED).fetch_one(&mut *connection).await.expect(TRIED);
        if first.is_some() && last.is_some() && first != last {
            return;
        }
        first = first.or(last);
        tokio::time::sleep(POLL).await;
    }
}

/// One process dies with an insert under way, the next opens the room. What it learns must be
/// what the log holds once the old insert has ended.
async fn open_over_a_held_insert(
    sabotage: Sabotage,
    epoch: Epoch,
    lock_wait: Duration,
) -> Result<u64, String> {
    let server = PostgresServer::start(false).await;
    let mut config = StorageConfig::new(server.url());
    (config.lanes, config.sabotage, config.lock_wait) = (Some(1), sabotage, LONG);
    let old = Process::open(&config).await;
    let mut room =
        TestRoom::open(&old.storage.history(), new_room(), Epoch(1)).await.expect("opens");
    let (user, key) = (UserId::generate(), Key::generate());
    let first = room.settle(draft(user, message("first"))).await;
    assert_eq!(first, Outcome::Committed { seq: Seq(1) });

    let mut holder = operator(&server.url()).await;
    execute(&mut holder, HOLD).await;
    room.post(keyed(user, key, message("held"))).expect("taken");
    until(&mut holder, HELD, true).await;
    old.storage.kill();

    config.lock_wait = lock_wait;
    let new = Process::open(&config).await;
    let history: Arc<dyn History> = new.storage.history();
    let (opener, at) = (history.clone(), room.at);
    let opening = tokio::spawn(async move { opener.open(at, epoch, Some((user, key))).await });
    // Let go only when the open waits for it. A sabotaged one returns without waiting, however long that takes on a
    // busy machine, and must not meet an insert that has ended meanwhile.
    if lock_wait == LONG && matches!(sabotage, Sabotage::None) {
        until_tried_again(&mut holder, || opening.is_finished()).await;
        execute(&mut holder, "SELECT pg_advisory_unlock(4242)").await;
    }
    let opened = opening.await.expect("no panic").expect("opens");
    execute(&mut holder, "SELECT pg_advisory_unlock_all()").await;
    until(&mut holder, APPENDING, false).await;

    let head: i64 = sqlx::query_scalar("SELECT max(seq) FROM main.event")
        .fetch_one(&mut holder)
        .await
        .expect("a head");
    let there = history.key(at, user, key).await.expect("answered").map(|(seq, _)| seq);
    if opened.head.0 != head.unsigned_abs() || opened.asked != there {
        return Err(format!(
            "opened at {} with the key at {:?}, but the log ends at {head} with it at {there:?}",
            opened.head, opened.asked
        ));
    }
    let mut room = TestRoom::open(&history, at, epoch).await.expect("opens");
    let repeat = room.settle(keyed(user, key, message("held"))).await;
    match (there, &repeat) {
        (Some(seq), Outcome::Repeated { seq: again, .. }) if seq == *again => {}
        (None, Outcome::Committed { seq }) if seq.0 == opened.head.0 + 1 => {}
        _ => return Err(format!("the repeat is answered with {repeat:?}")),
    }
    new.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
    Ok(opened.head.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_waits_for_the_insert_of_the_process_before() {
    assert_eq!(open_over_a_held_insert(Sabotage::None, Epoch(1), LONG).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_waits_for_the_insert_of_the_owner_before() {
    assert_eq!(open_over_a_held_insert(Sabotage::None, Epoch(2), LONG).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_that_does_not_end_is_ended() {
    assert_eq!(open_over_a_held_insert(Sabotage::None, Epoch(1), SHORT).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_without_the_fence_is_caught() {
    let caught = open_over_a_held_insert(Sabotage::NoFence, Epoch(1), LONG).await;
    assert!(caught.as_ref().is_err_and(|why| why.starts_with("opened at 1")), "{caught:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_with_for_key_share_is_caught() {
    let caught = open_over_a_held_insert(Sabotage::KeyShare, Epoch(2), LONG).await;
    assert!(caught.as_ref().is_err_and(|why| why.starts_with("opened at 1")), "{caught:?}");
}

/// A new owner writes while an insert of the former one is held, which then goes on, with the second
/// barrier, the unique places, taken away. Gives what the new owner was told, and the audit.
async fn write_over_a_held_insert(sabotage: Sabotage) -> (Outcome, Vec<Fault>) {
    let server = PostgresServer::start(false).await;
    let mut config = StorageConfig::new(server.url());
    (config.lanes, config.sabotage, config.lock_wait) = (Some(1), sabotage, LONG);
    let old = Process::open(&config).await;
    let mut room =
        TestRoom::open(&old.storage.history(), new_room(), Epoch(1)).await.expect("opens");
    let user = UserId::generate();
    room.settle(draft(user, message("first"))).await;
    let mut holder = operator(&server.url()).await;
    let no_barrier = "ALTER TABLE main.event DROP CONSTRAINT event_pkey; DROP INDEX main.event_pos";
    execute(&mut holder, no_barrier).await;
    execute(&mut holder, HOLD).await;
    room.post(draft(user, message("held"))).expect("taken");
    until(&mut holder, HELD, true).await;
    old.storage.kill();

    config.lock_wait = SHORT;
    let new = Process::open(&config).await;
    let mut room = TestRoom::open(&new.storage.history(), room.at, Epoch(2)).await.expect("opens");
    let outcome = room.settle(draft(user, message("new"))).await;
    execute(&mut holder, "SELECT pg_advisory_unlock_all()").await;
    until(&mut holder, APPENDING, false).await;
    new.storage.close().await;
    (outcome, audit(&server.url()).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_two_owners_that_a_weaker_lock_let_write() {
    let second = Outcome::Committed { seq: Seq(2) };
    let (good, faults) = write_over_a_held_insert(Sabotage::None).await;
    assert_eq!((good, faults), (second.clone(), vec![]));
    for sabotage in [Sabotage::NoFence, Sabotage::KeyShare] {
        let (outcome, faults) = write_over_a_held_insert(sabotage).await;
        assert_eq!(outcome, second, "{sabotage:?}");
        let is_twice =
            |fault: &Fault| matches!(fault, Fault::HoleInLog { seq: Seq(2), before: Seq(2), .. });
        assert!(faults.iter().any(is_twice), "{sabotage:?}: {faults:?}");
    }
}

/// The same key in two batches, with or without the unique constraint over keys. What comes second
/// is written by the append that looks keys up, as every delete is.
async fn repeat(sabotage: Sabotage, constrained: bool) -> (Outcome, Vec<Fault>) {
    let server = PostgresServer::start(false).await;
    let mut config = StorageConfig::new(server.url());
    config.sabotage = sabotage;
    let process = Process::open(&config).await;
    if !constrained {
        let mut connection = operator(&server.url()).await;
        let drop = "ALTER TABLE main.event DROP CONSTRAINT event_shard_room_sender_key_key";
        execute(&mut connection, drop).await;
    }
    let mut room =
        TestRoom::open(&process.storage.history(), new_room(), Epoch(1)).await.expect("opens");
    let user = UserId::generate();
    room.settle(draft(user, message("once"))).await;
    let delete = draft(user, Content::Delete { target: Seq(1) });
    room.settle(delete.clone()).await;
    let repeat = room.settle(delete).await;
    process.storage.close().await;
    (repeat, audit(&server.url()).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_without_dedupe_is_caught() {
    // Without its look-up, a lane that collides connects again and finds the first one.
    for sabotage in [Sabotage::None, Sabotage::NoDedupe] {
        let (good, faults) = repeat(sabotage, true).await;
        assert!(matches!(good, Outcome::Repeated { seq: Seq(2), .. }), "{sabotage:?}: {good:?}");
        assert_eq!(faults, []);
    }
    let (good, _) = repeat(Sabotage::None, false).await;
    assert!(matches!(good, Outcome::Repeated { seq: Seq(2), .. }), "{good:?}");
    let (bad, faults) = repeat(Sabotage::NoDedupe, false).await;
    assert_eq!(bad, Outcome::Committed { seq: Seq(3) });
    assert!(matches!(faults[..], [Fault::KeyTwice { times: 2, .. }]), "{faults:?}");
}

/// The batch that met an old key is written again with its keys looked up, and so are the next
/// ones; then batches only add again, until the next old key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_key_is_answered_and_hurts_nobody_whichever_way_a_batch_is_written() {
    let server = PostgresServer::start(false).await;
    let mut config = StorageConfig::new(server.url());
    config.lanes = Some(1);
    let process = Process::open(&config).await;
    let history = process.storage.history();
    let mut room = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    let mut other = TestRoom::open(&history, new_room(), Epoch(1)).await.expect("opens");
    let user = UserId::generate();
    let old = draft(user, message("old"));
    assert_eq!(room.settle(old.clone()).await, Outcome::Committed { seq: Seq(1) });
    let mut head = 1;
    // Each round is a batch of its own and what is queued behind it.
    for round in 0..2 * limits::PROBES_AFTER_REPEAT {
        let repeat = round % 50 == 0;
        if repeat {
            room.post(old.clone()).expect("taken");
        }
        let next = room.settle(draft(user, message("new"))).await;
        head += 1;
        assert_eq!(next, Outcome::Committed { seq: Seq(head) });
        let aside = other.settle(draft(user, message("aside"))).await;
        assert_eq!(aside, Outcome::Committed { seq: Seq(u64::from(round) + 1) });
    }
    let repeats = room.heard_so_far();
    let repeats = repeats.iter().filter(|(_, o)| matches!(o, Outcome::Repeated { .. })).count();
    assert_eq!(repeats, 3, "every old key was answered as one");
    process.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_shard_does_not_hurt_the_rest_of_its_batch() {
    let server = PostgresServer::start(false).await;
    let mut config = StorageConfig::new(server.url());
    (config.lanes, config.lock_wait) = (Some(1), LONG);
    let process = Process::open(&config).await;
    let history = process.storage.history();
    let user = UserId::generate();
    let mut rooms = Vec::new();
    while rooms.len() < 3 {
        let at = new_room();
        if rooms.iter().all(|room: &TestRoom| room.at.shard() != at.shard()) {
            rooms.push(TestRoom::open(&history, at, Epoch(1)).await.expect("opens"));
        }
    }
    let mut holder = operator(&server.url()).await;
    execute(&mut holder, HOLD).await;
    rooms[0].post(draft(user, message("held"))).expect("taken");
    until(&mut holder, HELD, true).await;
    for n in 0..10 {
        for room in &mut rooms {
            room.post(draft(user, message(&n.to_string()))).expect("taken");
        }
    }
    let other = Process::open(&config).await;
    other.storage.history().open(rooms[1].at, Epoch(2), None).await.expect("opens");
    execute(&mut holder, "SELECT pg_advisory_unlock(4242)").await;
    for (place, first) in [(0, 1), (2, 1)] {
        for (ticket, outcome) in rooms[place].outcomes().await {
            assert_eq!(outcome, Outcome::Committed { seq: Seq(ticket + first) });
        }
    }
    assert!(rooms[1].outcomes().await.iter().all(|(_, outcome)| *outcome == Outcome::Fenced));
    process.storage.close().await;
    other.storage.close().await;
    assert_eq!(audit(&server.url()).await, []);
}
