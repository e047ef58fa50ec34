//! Migrations: forward, back, forward again, and what they refuse.

use sqlx::Connection;

use super::{execute, operator};
use crate::testkit::PostgresServer;
use crate::{Storage, StorageConfig, StorageError, migrate_down, migrate_status, migrate_up};

async fn up_down_and_up_again(config: &StorageConfig) {
    let applied = |status: &[crate::MigrationStatus]| {
        status.iter().filter(|migration| migration.applied_at.is_some()).count()
    };
    assert_eq!(applied(&migrate_status(config).await.expect("status")), 0);
    let mut checked = config.clone();
    checked.migrate = false;
    let behind = Storage::open(checked.clone()).await.expect_err("nothing is applied");
    assert!(matches!(behind, StorageError::Behind { .. }), "{behind}");
    let all = migrate_up(config).await.expect("up");
    assert_eq!(applied(&all), all.len());
    Storage::open(checked).await.expect("everything is applied").close().await;
    assert_eq!(migrate_up(config).await.expect("up twice").len(), all.len());
    let half = migrate_down(config, 1).await.expect("down to 1");
    assert_eq!(applied(&half), 1);
    assert_eq!(applied(&migrate_down(config, 0).await.expect("down")), 0);
    assert_eq!(applied(&migrate_up(config).await.expect("up again")), all.len());
    Storage::open(config.clone()).await.expect("it opens").close().await;
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().display());
    up_down_and_up_again(&StorageConfig::new(url)).await;
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again_on_postgres() {
    let server = PostgresServer::start(false).await;
    up_down_and_up_again(&StorageConfig::new(server.url())).await;
}

#[tokio::test]
async fn nodes_that_migrate_at_once_wait_for_one_another() {
    let server = PostgresServer::start(false).await;
    let config = StorageConfig::new(server.url());
    let (one, two, three) =
        tokio::join!(migrate_up(&config), migrate_up(&config), migrate_up(&config));
    one.expect("one");
    two.expect("two");
    three.expect("three");
}

#[tokio::test]
async fn an_altered_migration_is_refused_and_named() {
    let server = PostgresServer::start(false).await;
    let config = StorageConfig::new(server.url());
    migrate_up(&config).await.expect("up");
    let mut connection = operator(&server.url()).await;
    execute(&mut connection, "UPDATE parlance.migration SET checksum = '' WHERE version = 2").await;
    let _ = connection.close().await;
    let refused = Storage::open(config).await.expect_err("altered");
    assert!(matches!(refused, StorageError::Altered { version: 2, .. }), "{refused}");
}
