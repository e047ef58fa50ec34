//! Migrations, forward and back, under a lock, each in one transaction with its record.
//!
//! The record says of each migration with which release it came and from which one on nodes work
//! with it. So a node works on a database that the next release migrated, and a rolling upgrade
//! never stops; one that is further ahead is refused.

mod build;

use aws_lc_rs::digest;
use parlance_actors::vocab::Timestamp;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::StorageConfig;
use crate::error::StorageError;
use crate::limits;
use crate::postgres;
use crate::schema::{GLOBAL, Schema};
use crate::sqlite::SqliteDb;
use build::{Build, Migration, Scope};

/// The key of PostgreSQL's advisory lock; any number that nobody else uses.
const LOCK: i64 = 0x7061_726c_616e_6365;

/// What PostgreSQL answers when a wait for a table is over.
const LOCK_NOT_AVAILABLE: &str = "55P03";

const POSTGRES_RECORD: &str = "CREATE SCHEMA IF NOT EXISTS parlance;
    CREATE TABLE IF NOT EXISTS parlance.migration (
      scope text NOT NULL, version integer NOT NULL, name text NOT NULL,
      checksum bytea NOT NULL, applied_at bigint NOT NULL, PRIMARY KEY (scope, version))";
const SQLITE_RECORD: &str = "CREATE TABLE IF NOT EXISTS migration (
      scope TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,
      checksum BLOB NOT NULL, applied_at INTEGER NOT NULL, PRIMARY KEY (scope, version))";
// The first records had no releases: rows without them are of the first one.
const POSTGRES_HAS_RELEASES: &str = "SELECT EXISTS (SELECT FROM information_schema.columns
    WHERE table_schema = 'parlance' AND table_name = 'migration' AND column_name = 'works_from')";
const SQLITE_HAS_RELEASES: &str = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('migration')
    WHERE name = 'works_from')";
const ADD_RELEASES: &str = "ALTER TABLE {g}.migration ADD COLUMN release integer;
    ALTER TABLE {g}.migration ADD COLUMN works_from integer";
const APPLIED: &str = "SELECT version, name, checksum, applied_at, release, works_from
    FROM {g}.migration WHERE scope = $1 ORDER BY version";
const RECORD: &str = "INSERT INTO {g}.migration
      (scope, version, name, checksum, applied_at, release, works_from)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const FORGET: &str = "DELETE FROM {g}.migration WHERE scope = $1 AND version = $2";

type AppliedRow = (i32, String, Vec<u8>, i64, Option<i32>, Option<i32>);

/// A migration as the database has it on record.
#[derive(Debug)]
struct Applied {
    version: i32,
    name: String,
    checksum: Vec<u8>,
    applied_at: i64,
    release: Option<i32>,
    works_from: Option<i32>,
}

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
    Down {
        to: i32,
    },
    Status,
    /// As `Status`; fails when this build cannot work with what is there.
    Check,
}

/// What one schema or file has, what this build knows of it, and what is to be done.
#[derive(Debug)]
struct Plan<'a> {
    place: &'a str,
    known: Vec<&'static Migration>,
    applied: Vec<Applied>,
    /// In order: a migration and whether forward.
    steps: Vec<(&'static Migration, bool)>,
}

/// Applies what is missing.
///
/// # Errors
/// [`StorageError`]; the migrations before the failed one stay applied. A database that a later
/// release migrated stays as it is, and is an error only when this one cannot work with it.
pub async fn migrate_up(config: &StorageConfig) -> Result<Vec<MigrationStatus>, StorageError> {
    run_as(&Build::NOW, config, Task::Up).await
}

/// Takes back every migration above `to`, the newest first; 0 takes back all, and with them all data.
///
/// # Errors
/// [`StorageError`]; the migrations before the failed one stay taken back. Nothing is done when one
/// of them came with a later release: only that one knows its way back.
pub async fn migrate_down(
    config: &StorageConfig,
    to: i32,
) -> Result<Vec<MigrationStatus>, StorageError> {
    run_as(&Build::NOW, config, Task::Down { to }).await
}

/// Every known migration and whether it is applied, and those of later releases that are.
///
/// # Errors
/// [`StorageError`]; also when an applied migration is not the one that this version knows.
pub async fn migrate_status(config: &StorageConfig) -> Result<Vec<MigrationStatus>, StorageError> {
    run_as(&Build::NOW, config, Task::Status).await
}

/// Fails unless every known migration is applied, and no other that this build cannot work with.
pub(crate) async fn check(config: &StorageConfig) -> Result<(), StorageError> {
    let status = run_as(&Build::NOW, config, Task::Check).await?;
    match status.into_iter().find(|migration| migration.applied_at.is_none()) {
        Some(missing) => {
            Err(StorageError::Behind { scope: missing.scope, version: missing.version })
        }
        None => Ok(()),
    }
}

async fn run_as(
    build: &Build,
    config: &StorageConfig,
    task: Task,
) -> Result<Vec<MigrationStatus>, StorageError> {
    if config.is_postgres()? {
        return on_postgres(build, config, task).await;
    }
    let db = SqliteDb::open(config).await?;
    let mut status = Vec::new();
    for (_, file) in db.files() {
        let doing = format!("migrating {}", file.path.display());
        let mut connection =
            file.writer.acquire().await.map_err(StorageError::during(doing.as_str()))?;
        status.extend(on_sqlite(build, &mut connection, &file.schema, task).await?);
    }
    db.close().await;
    Ok(status)
}

async fn on_postgres(
    build: &Build,
    config: &StorageConfig,
    task: Task,
) -> Result<Vec<MigrationStatus>, StorageError> {
    let schemas = postgres::schemas(config)?;
    let mut connection = postgres::connect(&config.url).await?;
    // Forward the global schema comes first, back it goes last.
    let tenants: Vec<&Schema> = schemas.iter().map(|(_, schema)| schema).collect();
    let global = tenants.first().copied();
    if let Some(any) = global {
        lock_and_keep_record(&mut connection, any).await?;
    }
    let mut places: Vec<(Scope, &Schema)> =
        global.map(|s| (Scope::Global, s)).into_iter().collect();
    places.extend(tenants.iter().map(|schema| (Scope::Tenant, *schema)));
    if matches!(task, Task::Down { .. }) {
        places.reverse();
    }
    // All of them first: what one refuses is not to be half done in another.
    let mut plans = Vec::new();
    for (scope, schema) in places {
        let place = if scope == Scope::Global { GLOBAL } else { schema.name() };
        let applied: Vec<AppliedRow> = sqlx::query_as(schema.sql(APPLIED))
            .bind(place)
            .fetch_all(&mut connection)
            .await
            .map_err(StorageError::during("reading the record of migrations"))?;
        let known = build.postgres.iter().copied().flatten();
        let known = known.filter(|migration| migration.scope == scope).collect();
        plans.push((schema, Plan::new(build, place, known, applied, task)?));
    }
    let mut status = Vec::new();
    for (schema, plan) in &plans {
        for (migration, forward) in &plan.steps {
            step_when_free(&mut connection, schema, plan.place, migration, *forward).await?;
        }
        status.extend(plan.after());
    }
    // Closing the connection gives the lock back.
    let _ = connection.close().await;
    Ok(status)
}

/// Waits for other nodes' migrations, and makes the record if it is not there.
async fn lock_and_keep_record(
    connection: &mut PgConnection,
    any: &Schema,
) -> Result<(), StorageError> {
    let wait = limits::MIGRATION_LOCK_WAIT.as_secs();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET lock_timeout = '{wait}s'")))
        .execute(&mut *connection)
        .await
        .map_err(StorageError::during("preparing to migrate"))?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await
        .map_err(StorageError::during("waiting for another node's migrations"))?;
    let failed = || StorageError::during("making the record of migrations");
    sqlx::raw_sql(POSTGRES_RECORD).execute(&mut *connection).await.map_err(failed())?;
    let has_releases: bool = sqlx::query_scalar(POSTGRES_HAS_RELEASES)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed())?;
    if !has_releases {
        sqlx::raw_sql(any.sql(ADD_RELEASES)).execute(&mut *connection).await.map_err(failed())?;
    }
    Ok(())
}

/// One step. A table that somebody reads for long is left alone for a while: everybody else who
/// wants it waits behind a migration that waits.
async fn step_when_free(
    connection: &mut PgConnection,
    schema: &Schema,
    place: &str,
    migration: &Migration,
    forward: bool,
) -> Result<(), StorageError> {
    let doing = format!("migration {} ({}) of {place}", migration.version, migration.name);
    let mut tries = 0;
    loop {
        let done = postgres_step(connection, schema, place, migration, forward).await;
        let in_use = done.as_ref().is_err_and(|error| {
            error.as_database_error().and_then(|error| error.code()).as_deref()
                == Some(LOCK_NOT_AVAILABLE)
        });
        tries += 1;
        if !in_use || tries == limits::MIGRATION_TRIES_MAX {
            return done.map_err(StorageError::during(doing));
        }
        tracing::info!(doing, tries, "a table is in use; trying again");
        tokio::time::sleep(limits::MIGRATION_PAUSE).await;
    }
}

async fn postgres_step(
    connection: &mut PgConnection,
    schema: &Schema,
    place: &str,
    migration: &Migration,
    forward: bool,
) -> sqlx::Result<()> {
    let wait = limits::MIGRATION_TABLE_WAIT.as_millis();
    let mut transaction = connection.begin().await?;
    let bound = sqlx::AssertSqlSafe(format!("SET LOCAL lock_timeout = '{wait}ms'"));
    sqlx::raw_sql(bound).execute(&mut *transaction).await?;
    if forward && migration.scope == Scope::Tenant {
        let make = sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {place}"));
        sqlx::raw_sql(make).execute(&mut *transaction).await?;
    }
    let text = if forward { migration.up } else { migration.down };
    sqlx::raw_sql(schema.sql(text)).execute(&mut *transaction).await?;
    let record = if forward {
        sqlx::query(schema.sql(RECORD))
            .bind(place)
            .bind(migration.version)
            .bind(migration.name)
            .bind(checksum(migration))
            .bind(Timestamp::now().0)
            .bind(migration.release)
            .bind(migration.works_from)
    } else {
        sqlx::query(schema.sql(FORGET)).bind(place).bind(migration.version)
    };
    record.execute(&mut *transaction).await?;
    transaction.commit().await
}

/// One transaction for the whole file, which is also the lock.
async fn on_sqlite(
    build: &Build,
    connection: &mut SqliteConnection,
    schema: &Schema,
    task: Task,
) -> Result<Vec<MigrationStatus>, StorageError> {
    let place = schema.name();
    let failed = || StorageError::during(format!("migrating {place}.db"));
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
    sqlx::raw_sql(SQLITE_RECORD).execute(&mut *transaction).await.map_err(failed())?;
    let has_releases: bool = sqlx::query_scalar(SQLITE_HAS_RELEASES)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed())?;
    if !has_releases {
        let add = sqlx::raw_sql(schema.sql(ADD_RELEASES));
        add.execute(&mut *transaction).await.map_err(failed())?;
    }
    let applied: Vec<AppliedRow> = sqlx::query_as(schema.sql(APPLIED))
        .bind(place)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed())?;
    let known = build.sqlite.iter().copied().flatten().collect();
    let plan = Plan::new(build, place, known, applied, task)?;
    for (migration, forward) in &plan.steps {
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
                .bind(migration.release)
                .bind(migration.works_from)
        } else {
            sqlx::query(schema.sql(FORGET)).bind(place).bind(migration.version)
        };
        record.execute(&mut *transaction).await.map_err(failed())?;
    }
    transaction.commit().await.map_err(failed())?;
    Ok(plan.after())
}

impl<'a> Plan<'a> {
    fn new(
        build: &Build,
        place: &'a str,
        known: Vec<&'static Migration>,
        applied: Vec<AppliedRow>,
        task: Task,
    ) -> Result<Self, StorageError> {
        let row = |(version, name, checksum, applied_at, release, works_from)| Applied {
            version,
            name,
            checksum,
            applied_at,
            release,
            works_from,
        };
        let applied = applied.into_iter().map(row).collect();
        let mut plan = Self { place, known, applied, steps: Vec::new() };
        for migration in &plan.known {
            let row = plan.row(migration.version);
            if row.is_some_and(|row| row.checksum != checksum(migration)) {
                let scope = place.to_owned();
                return Err(StorageError::Altered { scope, version: migration.version });
            }
        }
        let has = |migration: &Migration| plan.row(migration.version).is_some();
        plan.steps = match task {
            Task::Status => Vec::new(),
            Task::Check => {
                plan.works_with(build)?;
                Vec::new()
            }
            Task::Up => {
                plan.works_with(build)?;
                plan.known.iter().filter(|m| !has(m)).map(|m| (*m, true)).collect()
            }
            Task::Down { to } => {
                if let Some(row) = plan.later().find(|row| row.version > to) {
                    let (scope, name) = (place.to_owned(), row.name.clone());
                    return Err(StorageError::NotKnown { scope, version: row.version, name });
                }
                let back = plan.known.iter().rev().filter(|m| has(m) && m.version > to);
                back.map(|m| (*m, false)).collect()
            }
        };
        Ok(plan)
    }

    fn row(&self, version: i32) -> Option<&Applied> {
        self.applied.iter().find(|row| row.version == version)
    }

    /// What is applied and this build does not know.
    fn later(&self) -> impl Iterator<Item = &Applied> {
        let known = |row: &Applied| self.known.iter().any(|known| known.version == row.version);
        self.applied.iter().filter(move |row| !known(row))
    }

    fn works_with(&self, build: &Build) -> Result<(), StorageError> {
        // What does not say from when on it works is of nobody's release.
        let fits = |row: &Applied| row.works_from.is_some_and(|from| from <= build.release);
        match self.later().find(|row| !fits(row)) {
            None => Ok(()),
            Some(row) => Err(StorageError::Ahead {
                scope: self.place.to_owned(),
                version: row.version,
                name: row.name.clone(),
                release: row.release.unwrap_or_default(),
                works_from: row.works_from.unwrap_or_default(),
                own: build.release,
            }),
        }
    }

    fn after(&self) -> Vec<MigrationStatus> {
        let status = |version, name: &str, applied_at| MigrationStatus {
            scope: self.place.to_owned(),
            version,
            name: name.to_owned(),
            applied_at,
        };
        let known = self.known.iter().map(|migration| {
            let step = self.steps.iter().find(|(m, _)| m.version == migration.version);
            let applied_at = match step {
                Some((_, true)) => Some(Timestamp::now()),
                Some((_, false)) => None,
                None => self.row(migration.version).map(|row| Timestamp(row.applied_at)),
            };
            status(migration.version, migration.name, applied_at)
        });
        let later = self.later();
        let later =
            later.map(|row| status(row.version, &row.name, Some(Timestamp(row.applied_at))));
        known.chain(later).collect()
    }
}

fn checksum(migration: &Migration) -> Vec<u8> {
    digest::digest(&digest::SHA256, migration.up.as_bytes()).as_ref().to_vec()
}
