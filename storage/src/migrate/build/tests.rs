//! What holds of every list of migrations, and how builds and databases of other releases meet.

use parlance_actors::ports::history::Outcome;
use parlance_actors::testkit::history_room::{TestRoom, draft, message};
use parlance_actors::testkit::history_suite::new_room;
use parlance_actors::vocab::{Epoch, Seq, UserId};

use super::super::{Task, run_as};
use super::*;
use crate::testkit::PostgresServer;
use crate::tests::{execute, operator};
use crate::{MigrationStatus, Storage, StorageConfig, StorageError};

/// The release after the next one: it has given up what the first release needs.
const AFTER_NEXT: Build = Build {
    release: 3,
    postgres: &[POSTGRES, next::POSTGRES, LATER],
    sqlite: &[SQLITE, next::SQLITE, LATER],
};
const LATER: &[Migration] = &[Migration {
    version: 8,
    name: "later",
    scope: Scope::Tenant,
    release: 3,
    works_from: 2,
    up: "CREATE TABLE {t}.later (one integer)",
    down: "DROP TABLE {t}.later",
}];

#[test]
fn every_migration_works_with_the_release_before_it() {
    for build in [Build::NOW, Build::NEXT, AFTER_NEXT] {
        for list in [build.postgres, build.sqlite] {
            let all: Vec<&Migration> = list.iter().copied().flatten().collect();
            let later = |two: &[&Migration]| two[0].version < two[1].version;
            assert!(all.windows(2).all(later), "each has a number of its own");
            for migration in all {
                let before = (migration.release - 1).max(1);
                assert!(migration.works_from <= before, "{migration:?}");
                assert!(migration.release <= build.release, "{migration:?}");
            }
        }
    }
}

fn applied(status: &[MigrationStatus]) -> Vec<i32> {
    let applied = status.iter().filter(|one| one.applied_at.is_some());
    let mut versions: Vec<i32> = applied.map(|one| one.version).collect();
    versions.sort_unstable();
    versions
}

async fn releases_meet(config: &StorageConfig) {
    let first = async |task| run_as(&Build::NOW, config, task).await;
    let next = async |task| run_as(&Build::NEXT, config, task).await;
    let later = async |task| run_as(&AFTER_NEXT, config, task).await;
    let checked = StorageConfig { migrate: false, ..config.clone() };

    // One release ahead: nodes of this release work on it, with or without migrating.
    first(Task::Up).await.expect("up");
    assert_eq!(applied(&next(Task::Up).await.expect("up")), [1, 2, 3, 4, 5, 6, 7]);
    Storage::open(config.clone()).await.expect("it opens").close().await;
    Storage::open(checked.clone()).await.expect("it opens").close().await;
    let seen = first(Task::Status).await.expect("status");
    assert_eq!(
        applied(&seen),
        [1, 2, 3, 4, 5, 6, 7],
        "also what this release does not know is shown"
    );

    // What this release does not know it cannot take back, and says who can.
    for to in [0, 6] {
        let refused = first(Task::Down { to }).await.expect_err("it does not know the way");
        assert!(matches!(refused, StorageError::NotKnown { version: 7, .. }), "{refused}");
    }
    assert_eq!(applied(&next(Task::Down { to: 6 }).await.expect("back")), [1, 2, 3, 4, 5, 6]);
    assert_eq!(applied(&next(Task::Up).await.expect("forth")), [1, 2, 3, 4, 5, 6, 7]);

    // Two releases ahead: refused, and both are named.
    later(Task::Up).await.expect("up");
    let refusals = [
        Storage::open(config.clone()).await.expect_err("too far ahead"),
        Storage::open(checked).await.expect_err("too far ahead"),
        first(Task::Up).await.expect_err("too far ahead"),
    ];
    for refused in refusals {
        let said = refused.to_string();
        assert!(
            said.contains("release 3 ")
                && said.contains("is release 1")
                && said.contains("from release 2"),
            "{said}"
        );
    }
    assert_eq!(applied(&first(Task::Status).await.expect("status")), [1, 2, 3, 4, 5, 6, 7, 8]);
    next(Task::Check).await.expect("the release before the last one works on it");

    // And all the way back.
    assert_eq!(applied(&later(Task::Down { to: 6 }).await.expect("back")), [1, 2, 3, 4, 5, 6]);
    Storage::open(config.clone()).await.expect("it opens").close().await;
}

#[tokio::test]
async fn a_database_may_be_one_release_ahead_and_not_two_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().display());
    releases_meet(&StorageConfig::new(url)).await;
}

#[tokio::test]
async fn a_database_may_be_one_release_ahead_and_not_two_on_postgres() {
    let server = PostgresServer::start(false).await;
    releases_meet(&StorageConfig::new(server.url())).await;
}

/// Of a migration that waits for a table of the log.
const WAITING: &str = "SELECT EXISTS (SELECT FROM pg_locks
    WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'main.event'::regclass)";

#[tokio::test]
async fn a_room_goes_on_while_the_next_release_migrates_over_somebody_who_reads_for_long() {
    let server = PostgresServer::start(false).await;
    let config = StorageConfig::new(server.url());
    let storage = Storage::open(config.clone()).await.expect("it opens");
    let room = TestRoom::open(&storage.history(), new_room(), Epoch(1)).await;
    let (mut room, user) = (room.expect("opens"), UserId::generate());
    let first = room.settle(draft(user, message("before"))).await;
    assert_eq!(first, Outcome::Committed { seq: Seq(1) });

    let mut reader = operator(&server.url()).await;
    execute(&mut reader, "BEGIN; SELECT count(*) FROM main.event").await;
    let up = tokio::spawn(async move { run_as(&Build::NEXT, &config, Task::Up).await });
    let mut look = operator(&server.url()).await;
    loop {
        let waits = sqlx::query_scalar::<_, bool>(WAITING).fetch_one(&mut look).await;
        if waits.expect("asked") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Behind the migration, which gives up its place again and again until the reader has gone.
    let second = room.settle(draft(user, message("meanwhile"))).await;
    assert_eq!(second, Outcome::Committed { seq: Seq(2) });
    assert!(!up.is_finished(), "the reader is still there");
    execute(&mut reader, "COMMIT").await;
    assert_eq!(applied(&up.await.expect("no panic").expect("up")), [1, 2, 3, 4, 5, 6, 7]);
    // The lane has prepared its statement for the table as it was.
    let third = room.settle(draft(user, message("after"))).await;
    assert_eq!(third, Outcome::Committed { seq: Seq(3) });
    storage.close().await;
}
