//! Migrations, forward and back, under a lock, each in one transaction with its record.
//!
//! A database that is ahead of this version is left alone: the release before a migration works
//! with the schema after it, so that a rolling upgrade never stops.

use aws_lc_rs::digest;
use parlance_actors::vocab::Timestamp;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::StorageConfig;
use crate::error::StorageError;
use crate::limits;
use crate::postgres;
use crate::schema::{GLOBAL, Schema};
use crate::sqlite::SqliteDb;

/// The key of PostgreSQL's advisory lock; any number that nobody else uses.
const LOCK: i64 = 0x7061_726c_616e_6365;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Global,
    Tenant,
}

#[derive(Debug)]
struct Migration {
    version: i32,
    name: &'static str,
    scope: Scope,
    up: &'static str,
    down: &'static str,
}

const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "global",
        scope: Scope::Global,
        up: include_str!("../migrations/postgres/0001_global.up.sql"),
        down: include_str!("../migrations/postgres/0001_global.down.sql"),
    },
    Migration {
        version: 2,
        name: "tenant",
        scope: Scope::Tenant,
        up: include_str!("../migrations/postgres/0002_tenant.up.sql"),
        down: include_str!("../migrations/postgres/0002_tenant.down.sql"),
    },
    Migration {
        version: 3,
        name: "room",
        scope: Scope::Tenant,
        up: include_str!("../migrations/postgres/0003_room.up.sql"),
        down: include_str!("../migrations/postgres/0003_room.down.sql"),
    },
];

const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "global",
        scope: Scope::Global,
        up: include_str!("../migrations/sqlite/0001_global.up.sql"),
        down: include_str!("../migrations/sqlite/0001_global.down.sql"),
    },
    Migration {
        version: 2,
        name: "tenant",
        scope: Scope::Tenant,
        up: include_str!("../migrations/sqlite/0002_tenant.up.sql"),
        down: include_str!("../migrations/sqlite/0002_tenant.down.sql"),
    },
    Migration {
        version: 3,
        name: "room",
        scope: Scope::Tenant,
        up: include_str!("../migrations/sqlite/0003_room.up.sql"),
        down: include_str!("../migrations/sqlite/0003_room.down.sql"),
    },
];

const POSTGRES_RECORD: &str = "CREATE SCHEMA IF NOT EXISTS parlance;
    CREATE TABLE IF NOT EXISTS parlance.migration (
      scope text NOT NULL, version integer NOT NULL, name text NOT NULL,
      checksum bytea NOT NULL, applied_at bigint NOT NULL, PRIMARY KEY (scope, version))";
const SQLITE_RECORD: &str = "CREATE TABLE IF NOT EXISTS migration (
      scope TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,
      checksum BLOB NOT NULL, applied_at INTEGER NOT NULL, PRIMARY KEY (scope, version))";
const APPLIED: &str = "SELECT version, name, checksum, applied_at FROM {g}.migration WHERE scope = $1 ORDER BY version";
const RECORD: &str = "INSERT INTO {g}.migration (scope, version, name, checksum, applied_at)
    VALUES ($1, $2, $3, $4, $5)";
const FORGET: &str = "DELETE FROM {g}.migration WHERE scope = $1 AND version = $2";

type AppliedRow = (i32, String, Vec<u8>, i64);

/// One migration and whether a schema has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The schema or file: `parlance` for what belongs to no tenant, else the tenant's name.
    pub scope: String,
    /// Its number.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When it was applied; `None` when it was not.
    pub applied_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Up,
    Down { to: i32 },
    Status,
}

/// Applies what is missing.
///
/// # Errors
/// [`StorageError`]; the migrations before the failed one stay applied.
pub async fn migrate_up(config: &StorageConfig) -> Result<Vec<MigrationStatus>, StorageError> {
    run(config, Task::Up).await
}

/// Takes back every migration above `to`, the newest first; 0 takes back all, and with them all data.
///
/// # Errors
/// [`StorageError`]; the migrations before the failed one stay taken back.
pub async fn migrate_down(
    config: &StorageConfig,
    to: i32,
) -> Result<Vec<MigrationStatus>, StorageError> {
    run(config, Task::Down { to }).await
}

/// Every known migration and whether it is applied.
///
/// # Errors
/// [`StorageError`]; also when an applied migration is not the one that this version knows.
pub async fn migrate_status(config: &StorageConfig) -> Result<Vec<MigrationStatus>, StorageError> {
    run(config, Task::Status).await
}

/// Fails unless every known migration is applied.
pub(crate) async fn check(config: &StorageConfig) -> Result<(), StorageError> {
    let status = migrate_status(config).await?;
    match status.into_iter().find(|migration| migration.applied_at.is_none()) {
        Some(missing) => {
            Err(StorageError::Behind { scope: missing.scope, version: missing.version })
        }
        None => Ok(()),
    }
}

async fn run(config: &StorageConfig, task: Task) -> Result<Vec<MigrationStatus>, StorageError> {
    if config.is_postgres()? {
        return on_postgres(config, task).await;
    }
    let db = SqliteDb::open(config).await?;
    let mut status = Vec::new();
    for (_, file) in db.files() {
        let doing = format!("migrating {}", file.path.display());
        let mut connection =
            file.writer.acquire().await.map_err(StorageError::during(doing.as_str()))?;
        status.extend(on_sqlite(&mut connection, &file.schema, task).await?);
    }
    db.close().await;
    Ok(status)
}

async fn on_postgres(
    config: &StorageConfig,
    task: Task,
) -> Result<Vec<MigrationStatus>, StorageError> {
    let schemas = postgres::schemas(config)?;
    let mut connection = postgres::connect(&config.url).await?;
    let wait = limits::MIGRATION_LOCK_WAIT.as_secs();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET lock_timeout = '{wait}s'")))
        .execute(&mut connection)
        .await
        .map_err(StorageError::during("preparing to migrate"))?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut connection)
        .await
        .map_err(StorageError::during("waiting for another node's migrations"))?;
    sqlx::raw_sql(POSTGRES_RECORD)
        .execute(&mut connection)
        .await
        .map_err(StorageError::during("making the record of migrations"))?;
    // Forward the global schema comes first, back it goes last.
    let tenants: Vec<&Schema> = schemas.iter().map(|(_, schema)| schema).collect();
    let global = tenants.first().copied();
    let mut places: Vec<(Scope, &Schema)> =
        global.map(|s| (Scope::Global, s)).into_iter().collect();
    places.extend(tenants.iter().map(|schema| (Scope::Tenant, *schema)));
    if matches!(task, Task::Down { .. }) {
        places.reverse();
    }
    let mut status = Vec::new();
    for (scope, schema) in places {
        status.extend(in_schema(&mut connection, scope, schema, task).await?);
    }
    // Closing the connection gives the lock back.
    let _ = connection.close().await;
    Ok(status)
}

async fn in_schema(
    connection: &mut PgConnection,
    scope: Scope,
    schema: &Schema,
    task: Task,
) -> Result<Vec<MigrationStatus>, StorageError> {
    let place = if scope == Scope::Global { GLOBAL } else { schema.name() };
    let applied: Vec<AppliedRow> = sqlx::query_as(schema.sql(APPLIED))
        .bind(place)
        .fetch_all(&mut *connection)
        .await
        .map_err(StorageError::during("reading the record of migrations"))?;
    let known: Vec<&Migration> = POSTGRES.iter().filter(|m| m.scope == scope).collect();
    let steps = plan(place, &known, &applied, task)?;
    let doing = |m: &Migration| format!("migration {} ({}) of {place}", m.version, m.name);
    for (migration, forward) in &steps {
        let mut transaction =
            connection.begin().await.map_err(StorageError::during(doing(migration)))?;
        if *forward && scope == Scope::Tenant {
            let make = sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {place}"));
            sqlx::raw_sql(make)
                .execute(&mut *transaction)
                .await
                .map_err(StorageError::during(doing(migration)))?;
        }
        let text = if *forward { migration.up } else { migration.down };
        sqlx::raw_sql(schema.sql(text))
            .execute(&mut *transaction)
            .await
            .map_err(StorageError::during(doing(migration)))?;
        let record = if *forward {
            sqlx::query(schema.sql(RECORD))
                .bind(place)
                .bind(migration.version)
                .bind(migration.name)
                .bind(checksum(migration))
                .bind(Timestamp::now().0)
        } else {
            sqlx::query(schema.sql(FORGET)).bind(place).bind(migration.version)
        };
        record.execute(&mut *transaction).await.map_err(StorageError::during(doing(migration)))?;
        transaction.commit().await.map_err(StorageError::during(doing(migration)))?;
    }
    Ok(after(place, &known, &applied, &steps))
}

/// One transaction for the whole file, which is also the lock.
async fn on_sqlite(
    connection: &mut SqliteConnection,
    schema: &Schema,
    task: Task,
) -> Result<Vec<MigrationStatus>, StorageError> {
    let place = schema.name();
    let failed = || StorageError::during(format!("migrating {place}.db"));
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
    sqlx::raw_sql(SQLITE_RECORD).execute(&mut *transaction).await.map_err(failed())?;
    let applied: Vec<AppliedRow> = sqlx::query_as(schema.sql(APPLIED))
        .bind(place)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed())?;
    let known: Vec<&Migration> = SQLITE.iter().collect();
    let steps = plan(place, &known, &applied, task)?;
    for (migration, forward) in &steps {
        let text = if *forward { migration.up } else { migration.down };
        let doing = format!("migration {} ({}) of {place}.db", migration.version, migration.name);
        sqlx::raw_sql(schema.sql(text))
            .execute(&mut *transaction)
            .await
            .map_err(StorageError::during(doing))?;
        let record = if *forward {
            sqlx::query(schema.sql(RECORD))
                .bind(place)
                .bind(migration.version)
                .bind(migration.name)
                .bind(checksum(migration))
                .bind(Timestamp::now().0)
        } else {
            sqlx::query(schema.sql(FORGET)).bind(place).bind(migration.version)
        };
        record.execute(&mut *transaction).await.map_err(failed())?;
    }
    transaction.commit().await.map_err(failed())?;
    Ok(after(place, &known, &applied, &steps))
}

/// What to do, in order: a migration and whether forward.
fn plan(
    place: &str,
    known: &[&'static Migration],
    applied: &[AppliedRow],
    task: Task,
) -> Result<Vec<(&'static Migration, bool)>, StorageError> {
    for migration in known {
        let row = applied.iter().find(|(version, ..)| *version == migration.version);
        if row.is_some_and(|(_, _, sum, _)| *sum != checksum(migration)) {
            let scope = place.to_owned();
            return Err(StorageError::Altered { scope, version: migration.version });
        }
    }
    let has = |m: &Migration| applied.iter().any(|(version, ..)| *version == m.version);
    Ok(match task {
        Task::Status => Vec::new(),
        Task::Up => known.iter().filter(|m| !has(m)).map(|m| (*m, true)).collect(),
        Task::Down { to } => {
            let back = known.iter().rev().filter(|m| has(m) && m.version > to);
            back.map(|m| (*m, false)).collect()
        }
    })
}

fn after(
    place: &str,
    known: &[&'static Migration],
    applied: &[AppliedRow],
    steps: &[(&'static Migration, bool)],
) -> Vec<MigrationStatus> {
    let status = known.iter().map(|migration| {
        let step = steps.iter().find(|(m, _)| m.version == migration.version);
        let row = applied.iter().find(|(version, ..)| *version == migration.version);
        let applied_at = match step {
            Some((_, true)) => Some(Timestamp::now()),
            Some((_, false)) => None,
            None => row.map(|(.., at)| Timestamp(*at)),
        };
        MigrationStatus {
            scope: place.to_owned(),
            version: migration.version,
            name: migration.name.to_owned(),
            applied_at,
        }
    });
    status.collect()
}

fn checksum(migration: &Migration) -> Vec<u8> {
    digest::digest(&digest::SHA256, migration.up.as_bytes()).as_ref().to_vec()
}
