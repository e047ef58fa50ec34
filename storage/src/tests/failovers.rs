//! A synchronous standby takes over from its primary while a node writes: nothing acked is lost,
//! the node needs no restart, and it commits nothing in the new database before its rooms were
//! opened again there.

use std::os::unix::fs::symlink;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::history::{History, Outcome, Range};
use parlance_actors::testkit::history_room::{TestRoom, draft, keyed, message};
use parlance_actors::testkit::history_suite::new_room;
use parlance_actors::vocab::{Epoch, Key, RoomRef, Seq, UserId};
use tempfile::TempDir;

use super::owners::{Town, room_of};
use super::proxy::Proxy;
use super::takeovers::{HELD, HOLD, LONG, count, until};
use super::{Process, audit, execute, operator};
use crate::StorageConfig;
use crate::limits;
use crate::postgres::Servers;
use crate::testkit::{PostgresServer, Replication};

const POLL: Duration = Duration::from_millis(10);

/// Opens a room as soon as the database lets it.
async fn open_when_back(history: &Arc<dyn History>, at: RoomRef, epoch: Epoch) -> TestRoom {
    loop {
        if let Ok(room) = TestRoom::open(history, at, epoch).await {
            return room;
        }
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_nothing_is_committed_before_the_room_opens_again() {
    let mut primary = PostgresServer::start(true).await;
    let standby = primary.standby().await;
    let url = PostgresServer::url_of(&[&primary, &standby]);
    let mut config = StorageConfig::new(&url);
    config.lanes = Some(1);
    let process = Process::open(&config).await;
    let history: Arc<dyn History> = process.storage.history();
    let user = UserId::generate();
    let mut room = TestRoom::open(&history, new_room(), Epoch(5)).await.expect("opens");
    // The same shard, so that opening one of them again would let the other one go on.
    let neighbour = RoomRef { room: room_of(room.at.shard().0).room, ..room.at };
    let mut neighbour = TestRoom::open(&history, neighbour, Epoch(5)).await.expect("opens");
    for room in [&mut room, &mut neighbour] {
        let outcome = room.settle(draft(user, message("before"))).await;
        assert_eq!(outcome, Outcome::Committed { seq: Seq(1) });
    }
    primary.stop_immediate().await;
    let key = Key::generate();
    room.post(keyed(user, key, message("between"))).expect("taken");
    standby.promote().await;
    let outcomes = room.outcomes().await;
    assert_eq!(outcomes[1].1, Outcome::DatabaseChanged);
    assert_eq!(history.key(room.at, user, key).await.expect("answered"), None);

    let mut again = open_when_back(&history, room.at, Epoch(5)).await;
    assert_eq!(again.opened.head, Seq(1));
    let (before, now) = (room.opened.database, again.opened.database);
    assert_eq!((now.system, now.timeline), (before.system, before.timeline + 1));
    // The shard is the lane's again, but this room was not compared yet.
    let late = neighbour.settle(draft(user, message("late"))).await;
    assert_eq!(late, Outcome::DatabaseChanged);
    let repeat = again.settle(keyed(user, key, message("between"))).await;
    assert_eq!(repeat, Outcome::Committed { seq: Seq(2) });
    let page = history.log(room.at, Range::Latest, 10).await.expect("reads follow");
    assert_eq!((page.events.len(), page.as_of), (2, Seq(2)));
    history.healthy().await.expect("healthy again");
    process.storage.close().await;
    assert_eq!(audit(&url).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_under_load_loses_and_repeats_nothing() {
    let mut primary = PostgresServer::start(true).await;
    let standby = primary.standby().await;
    let url = PostgresServer::url_of(&[&primary, &standby]);
    let mut town = Town::new(&url, 2, 6).await;
    town.acked_more(200).await;
    primary.stop_immediate().await;
    standby.promote().await;
    town.acked_more(200).await;
    // The old primary comes back where it was, on the old timeline, and must not be believed.
    primary.start_again().await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND application_name LIKE 'parlance/%'";
    execute(&mut operator(&standby.url()).await, cut).await;
    town.acked_more(200).await;
    town.ends_well(&standby.url()).await;
}

/// Connections to a server until now that have ended.
async fn sessions(server: &PostgresServer) -> i64 {
    let sql = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(sql).fetch_one(&mut operator(&server.url()).await).await.expect(sql)
}

/// Nobody stopped it, and its connections are as good as they were: reads of rooms that open again
/// must not go there, and lanes neither, also when its successor is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_primary_that_lives_on_is_left_alone() {
    let primary = PostgresServer::start(true).await;
    let mut standby = primary.standby().await;
    let url = PostgresServer::url_of(&[&primary, &standby]);
    let mut town = Town::new(&url, 2, 6).await;
    town.acked_more(200).await;
    standby.promote().await;
    town.acked_more(200).await;
    // It waits for no standby any more, and would take everything.
    let mut former = operator(&primary.url()).await;
    execute(&mut former, "ALTER SYSTEM RESET synchronous_standby_names").await;
    execute(&mut former, "SELECT pg_reload_conf()").await;
    standby.stop_immediate().await;
    let before = sessions(&primary).await;
    while sessions(&primary).await < before + 40 {
        tokio::time::sleep(POLL).await;
    }
    let acks = town.acks();
    standby.start_again().await;
    town.acked_more(200).await;
    println!("{acks} messages were acked before the new primary came back");
    town.ends_well(&standby.url()).await;
}

/// Connects twice at once; the first does not hear of the new primary, the second one does.
/// `None` when the first one ended before the second, or heard of it after all.
async fn connect_over_a_muted_successor(
    servers: &Servers,
    proxy: &Proxy,
) -> Option<Result<u32, String>> {
    proxy.mute(true);
    let mut slow = pin!(servers.connect(|options| options));
    // Enough for the former primary to answer, and less than the others are waited for.
    tokio::select! {
        biased;
        _ = &mut slow => return None,
        () = tokio::time::sleep(limits::OTHER_PRIMARY_WAIT / 3) => {}
    }
    proxy.mute(false);
    let quick = tokio::select! {
        biased;
        _ = &mut slow => return None,
        quick = servers.connect(|options| options) => quick.expect("both servers answer"),
    };
    assert_eq!(quick.database.timeline, 2);
    match slow.await.map(|found| found.database.timeline) {
        Ok(2) => None,
        slow => Some(slow.map_err(|error| error.to_string())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_that_ends_late_does_not_lead_back_to_the_former_primary() {
    let primary = PostgresServer::start(false).await;
    let standby = primary.standby_at(None, Replication::Asynchronous).await;
    let proxy = Proxy::before(&standby);
    standby.promote().await;
    let socket = proxy.url().split_once("host=").expect("a socket").1.to_owned();
    let former = primary.socket_folder().display();
    let url = format!("postgres://postgres@localhost/postgres?host={former},{socket}");
    // A slow machine may miss the moment; then it is tried again.
    loop {
        let servers = Servers::new(&url).expect("a URL");
        let Some(slow) = connect_over_a_muted_successor(&servers, &proxy).await else { continue };
        let refused = slow.expect_err("a later timeline was seen");
        assert!(refused.contains("former primary"), "{refused}");
        let leads = servers.options().get_socket().map(|folder| folder.display().to_string());
        assert_eq!(leads.as_deref(), Some(socket.as_str()));
        return;
    }
}

/// A node with two lanes and a room on each, with a message. The standby of its primary was
/// promoted, and nobody noticed: every connection to the former primary is as it was.
struct Unnoticed {
    primary: PostgresServer,
    standby: PostgresServer,
    process: Process,
    history: Arc<dyn History>,
    rooms: [TestRoom; 2],
    user: UserId,
}

impl Unnoticed {
    async fn new() -> Self {
        let primary = PostgresServer::start(false).await;
        let standby = primary.standby_at(None, Replication::Asynchronous).await;
        let url = PostgresServer::url_of(&[&primary, &standby]);
        Self::at(primary, standby, &url).await
    }

    async fn at(primary: PostgresServer, standby: PostgresServer, url: &str) -> Self {
        let mut config = StorageConfig::new(url);
        (config.lanes, config.lock_wait) = (Some(2), LONG);
        let process = Process::open(&config).await;
        let history: Arc<dyn History> = process.storage.history();
        let user = UserId::generate();
        let mut rooms = [open(&history, 0).await, open(&history, 1).await];
        for room in &mut rooms {
            let outcome = room.settle(draft(user, message("before"))).await;
            assert_eq!(outcome, Outcome::Committed { seq: Seq(1) });
        }
        let written: String = sqlx::query_scalar("SELECT pg_current_wal_lsn()::text")
            .fetch_one(&mut operator(&primary.url()).await)
            .await
            .expect("a position");
        let behind = "SELECT pg_last_wal_replay_lsn() < $1::pg_lsn";
        let mut connection = operator(&standby.url()).await;
        let mut is_behind = async || -> bool {
            let asked = sqlx::query_scalar(behind).bind(&written).fetch_one(&mut connection);
            asked.await.expect(behind)
        };
        while is_behind().await {
            tokio::time::sleep(POLL).await;
        }
        standby.promote().await;
        Self { primary, standby, process, history, rooms, user }
    }

    /// The first lane loses its connection, and finds the new primary.
    async fn first_lane_notices(&mut self) {
        let cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
            WHERE application_name LIKE 'parlance/node/lane0/%'";
        execute(&mut operator(&self.primary.url()).await, cut).await;
        let outcome = self.rooms[0].settle(draft(self.user, message("first lane"))).await;
        assert_eq!(outcome, Outcome::DatabaseChanged);
    }

    /// Both rooms open again in the new database and go on there.
    async fn ends_well(self) {
        for room in &self.rooms {
            let mut room = open_when_back(&self.history, room.at, room.epoch).await;
            assert_eq!((room.opened.head, room.opened.database.timeline), (Seq(1), 2));
            let outcome = room.settle(draft(self.user, message("after"))).await;
            assert_eq!(outcome, Outcome::Committed { seq: Seq(2) });
        }
        self.process.storage.close().await;
        assert_eq!(audit(&self.standby.url()).await, []);
    }
}

/// Opens the room of a shard.
async fn open(history: &Arc<dyn History>, shard: u8) -> TestRoom {
    TestRoom::open(history, room_of(shard), Epoch(5)).await.expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_stops_on_a_former_primary_once_another_lane_has_seen_the_new_one() {
    let mut scene = Unnoticed::new().await;
    // Nothing can be known yet, and the standby is asynchronous.
    let late = scene.rooms[1].settle(draft(scene.user, message("not known yet"))).await;
    assert_eq!(late, Outcome::Committed { seq: Seq(2) });
    scene.first_lane_notices().await;
    let outcome = scene.rooms[1].settle(draft(scene.user, message("second lane"))).await;
    assert_eq!(outcome, Outcome::DatabaseChanged);
    let mut former = operator(&scene.primary.url()).await;
    assert_eq!(count(&mut former, "SELECT count(*) FROM main.event").await, 3);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_under_way_on_a_former_primary_is_not_acknowledged() {
    let mut scene = Unnoticed::new().await;
    let mut former = operator(&scene.primary.url()).await;
    execute(&mut former, HOLD).await;
    scene.rooms[1].post(draft(scene.user, message("held"))).expect("taken");
    until(&mut former, HELD, true).await;
    scene.first_lane_notices().await;
    execute(&mut former, "SELECT pg_advisory_unlock_all()").await;
    assert_eq!(scene.rooms[1].outcomes().await[1].1, Outcome::DatabaseChanged);
    scene.ends_well().await;
}

/// One address behind which servers change, as behind a name or a virtual address.
struct Address(TempDir);

impl Address {
    fn of(server: &PostgresServer) -> Self {
        let address = Self(tempfile::tempdir().expect("a folder"));
        address.moves_to(server);
        address
    }

    fn moves_to(&self, server: &PostgresServer) {
        let (next, socket) = (self.0.path().join("next"), ".s.PGSQL.5432");
        symlink(server.socket_folder().join(socket), &next).expect("a link");
        std::fs::rename(next, self.0.path().join(socket)).expect("moved");
    }

    fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.0.path().display())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_one_address_a_former_primary_gets_neither_reads_nor_appends() {
    const CUT_READS: &str = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE application_name = 'parlance/node/read'";
    let primary = PostgresServer::start(false).await;
    let standby = primary.standby_at(None, Replication::Asynchronous).await;
    let address = Address::of(&primary);
    let mut scene = Unnoticed::at(primary, standby, &address.url()).await;
    address.moves_to(&scene.standby);
    execute(&mut operator(&scene.primary.url()).await, CUT_READS).await;
    let at = scene.rooms[0].at;
    let read = scene.history.log(at, Range::Latest, 10).await.expect("the new primary answers");
    assert_eq!(read.as_of, Seq(1));
    // The read's connection was the first to reach it; those of the lanes are as they were.
    for room in &mut scene.rooms {
        let outcome = room.settle(draft(scene.user, message("to the former"))).await;
        assert_eq!(outcome, Outcome::DatabaseChanged);
    }
    address.moves_to(&scene.primary);
    execute(&mut operator(&scene.standby.url()).await, CUT_READS).await;
    let read = scene.history.log(at, Range::Latest, 10).await;
    assert!(read.is_err(), "{read:?}");
    address.moves_to(&scene.standby);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_forgot_a_fence_is_not_written_to() {
    let server = PostgresServer::start(false).await;
    let mut config = StorageConfig::new(server.url());
    config.lanes = Some(1);
    let process = Process::open(&config).await;
    let history: Arc<dyn History> = process.storage.history();
    let user = UserId::generate();
    let mut room = TestRoom::open(&history, new_room(), Epoch(5)).await.expect("opens");
    room.settle(draft(user, message("kept"))).await;
    let mut connection = operator(&server.url()).await;
    // As after a restore of the files under the running node.
    let restored = "UPDATE parlance.fence SET epoch = 4, turn = 9; DELETE FROM main.event;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name LIKE 'parlance/node/lane%'";
    execute(&mut connection, restored).await;
    let taken = room.post(draft(user, message("lost"))).is_ok();
    while history.healthy().await.is_ok() {
        tokio::time::sleep(POLL).await;
    }
    process.storage.close().await;
    let heard = room.heard_so_far();
    assert_eq!(heard.len(), 1 + usize::from(taken));
    assert!(heard[1..].iter().all(|(_, outcome)| matches!(outcome, Outcome::Failed { .. })));
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM main.event")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(left, 0, "a hole was not made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_see_the_system_still_sees_the_timeline() {
    let server = PostgresServer::start(false).await;
    let mut connection = operator(&server.url()).await;
    let rights = "CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE postgres TO plain;
        REVOKE EXECUTE ON FUNCTION pg_catalog.pg_control_system() FROM PUBLIC";
    execute(&mut connection, rights).await;
    let url = server.url().replace("postgres@", "plain@");
    let process = Process::open(&StorageConfig::new(&url)).await;
    let opened = process.storage.history().open(new_room(), Epoch(1), None).await.expect("opens");
    assert_eq!((opened.database.system, opened.database.timeline), (0, 1));
    execute(&mut connection, "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO plain")
        .await;
    let process = Process::open(&StorageConfig::new(&url)).await;
    let opened = process.storage.history().open(new_room(), Epoch(1), None).await.expect("opens");
    assert_ne!(opened.database.system, 0);
}
