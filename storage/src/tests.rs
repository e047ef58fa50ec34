//! Tests against real databases: throwaway PostgreSQL servers and SQLite files.

mod auditing;
mod conformance;
mod failovers;
mod fences;
mod lists;
mod migrations;
mod opening;
mod outages;
mod owners;
mod proxy;
mod replies;
mod restarts;
mod sealed;
mod takeovers;

use std::sync::Arc;

use async_trait::async_trait;
use parlance_actors::ports::{History, Members};
use parlance_actors::testkit::history_suite::Store;
use parlance_actors::vocab::{RoomMeta, TenantId, UserId};
use sqlx::{Connection, PgConnection};

use crate::sql::Db;
use crate::{Storage, StorageConfig};

/// One process's storage, and how to open another.
struct Process {
    storage: Storage,
    config: StorageConfig,
}

impl Process {
    async fn open(config: &StorageConfig) -> Self {
        let storage = Storage::open(config.clone()).await.expect("storage opens");
        Self { storage, config: config.clone() }
    }
}

#[async_trait]
impl Store for Process {
    fn history(&self) -> Arc<dyn History> {
        self.storage.history()
    }

    fn members(&self) -> Arc<dyn Members> {
        self.storage.members()
    }

    async fn add_user(&self, user: UserId, username: &str) {
        let sql = "INSERT INTO {t}.\"user\" (id, username, folded, created_at)
            VALUES ($1, $2, lower($2), 0)";
        match &self.storage.db {
            Db::Postgres(db) => {
                let schema = db.schemas.of(TenantId::MAIN).expect("main is there");
                let query = sqlx::query(schema.sql(sql)).bind(user.0).bind(username);
                query.execute(&db.primary).await.expect("a user");
            }
            Db::Sqlite(db) => {
                let file = db.file(TenantId::MAIN).expect("main is there");
                let query = sqlx::query(file.schema.sql(sql)).bind(user.0).bind(username);
                query.execute(&file.writer).await.expect("a user");
            }
        }
    }

    async fn another_process(&self) -> Box<dyn Store> {
        Box::new(Self::open(&self.config).await)
    }

    async fn projected(&self) -> Vec<RoomMeta> {
        self.storage.projected_rooms().await.expect("read")
    }
}

/// An operator's connection.
pub(crate) async fn operator(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the server answers")
}

pub(crate) async fn execute(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.expect(sql);
}

/// The audit with only a URL; every violation is printed.
async fn audit(url: &str) -> Vec<crate::Fault> {
    let violations = crate::audit(url).await.expect("the audit runs");
    violations.iter().for_each(|violation| println!("{violation}"));
    violations.into_iter().map(|violation| violation.fault).collect()
}
