//! History, membership and accounts on SQLite and PostgreSQL.
//!
//! This crate implements the storage ports of `actors`. It decides nothing about rooms: it
//! commits what their owner decided, under a fence, and reads it back.

mod accounts;
mod audit;
mod crypt;
mod error;
mod flights;
mod history;
pub mod keyring;
mod lane;
pub mod limits;
mod lists;
mod members;
mod migrate;
mod postgres;
mod reads;
mod reseal;
mod rooms;
mod sabotage;
mod schema;
mod sql;
mod sqlite;
mod summaries;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::{History, Members};
use parlance_actors::vocab::{Epoch, RoomMeta, TenantId, Timestamp};
use uuid::Uuid;

pub use audit::{Fault, Violation, audit};
pub use crypt::{Crypt, CryptError, EventAad};
pub use error::{StorageError, redacted};
pub use migrate::{MigrationStatus, migrate_down, migrate_status, migrate_up};
pub use reseal::{KeysError, Resealed, key_in_use, remove_key, reseal};

pub use sabotage::Sabotage;

use history::SqlHistory;
use lane::LaneHandle;
use lists::Lists;
use members::SqlMembers;
use postgres::{LaneConnection, PostgresDb, PostgresWriter};
use reads::Reads;
use sql::Db;
use sqlite::{SqliteDb, SqliteWriter};

/// How to open storage.
#[derive(Clone)]
pub struct StorageConfig {
    /// `sqlite:FOLDER` (one file a tenant in it) or `postgres://…`, straight to the primary. A
    /// primary that may move is named with its standbys, as libpq does: `postgres://u@a,b/chat` or
    /// `…?host=a,b`, at most [`limits::SERVERS_MAX`]; a failover then needs no restart.
    pub url: String,
    /// PostgreSQL only: where reads go, a pooler in transaction mode for one.
    pub read_url: Option<String>,
    /// This node's name, shown in the server's list of connections. A number drawn at each open
    /// follows it, so that two processes never share a name: takeovers end connections by it.
    pub node: String,
    /// How many lanes write on PostgreSQL; `None` for the default. SQLite has one.
    pub lanes: Option<usize>,
    /// Connections for reads, to the primary and to the pooler each.
    pub read_connections: u32,
    /// Apply missing migrations when opening; otherwise their absence is an error.
    pub migrate: bool,
    /// The tenants and their names.
    pub tenants: Vec<(TenantId, String)>,
    /// At-rest encryption of bodies.
    pub crypt: Crypt,
    /// How long a takeover waits for the previous owner's insert before it ends its connection.
    pub lock_wait: Duration,
    /// What is broken on purpose; nothing but in tests.
    pub sabotage: Sabotage,
}

impl StorageConfig {
    /// The defaults for a database: tenant `main`, migrations applied, no encryption.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            read_url: None,
            node: "node".to_owned(),
            lanes: None,
            read_connections: limits::READ_CONNECTIONS,
            migrate: true,
            tenants: vec![(TenantId::MAIN, "main".to_owned())],
            crypt: Crypt::off(),
            lock_wait: limits::LOCK_WAIT,
            sabotage: Sabotage::None,
        }
    }

    /// Whether the URL names PostgreSQL; the other possibility is SQLite.
    ///
    /// # Errors
    /// [`StorageError::Config`] when it names neither.
    pub fn is_postgres(&self) -> Result<bool, StorageError> {
        match self.url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => Ok(true),
            Some(("sqlite", _)) => Ok(false),
            _ => Err(StorageError::Config(format!(
                "database URL {}: allowed are sqlite:FOLDER and postgres://USER@HOST/DATABASE",
                redacted(&self.url)
            ))),
        }
    }
}

impl fmt::Debug for StorageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageConfig")
            .field("url", &redacted(&self.url))
            .field("read_url", &self.read_url.as_deref().map(redacted))
            .field("node", &self.node)
            .field("lanes", &self.lanes)
            .field("tenants", &self.tenants)
            .finish_non_exhaustive()
    }
}

/// The opened storage: the ports over one database.
pub struct Storage {
    db: Db,
    history: Arc<SqlHistory>,
    members: Arc<SqlMembers>,
    lists: Arc<Lists>,
    tenants: Vec<(TenantId, String)>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("db", &self.db).finish_non_exhaustive()
    }
}

impl Storage {
    /// Connects, migrates or checks the schema, and starts the lanes.
    ///
    /// # Errors
    /// [`StorageError`] that names the URL without its password.
    pub async fn open(config: StorageConfig) -> Result<Self, StorageError> {
        if config.tenants.is_empty() {
            return Err(StorageError::Config("storage needs at least one tenant".to_owned()));
        }
        if config.migrate {
            migrate_up(&config).await?;
        } else {
            migrate::check(&config).await?;
        }
        let (db, lanes) = if config.is_postgres()? {
            let db = PostgresDb::open(&config).await?;
            check_keys(&config, &Db::Postgres(db.clone())).await?;
            let lanes = postgres_lanes(&config, &db)?;
            (Db::Postgres(db), lanes)
        } else {
            let db = SqliteDb::open(&config).await?;
            check_keys(&config, &Db::Sqlite(db.clone())).await?;
            let writer = SqliteWriter::new(db.clone());
            let lane = LaneHandle::start(0, writer, config.crypt.clone(), config.lock_wait);
            (Db::Sqlite(db), vec![lane])
        };
        let reads = Reads { db: db.clone(), crypt: config.crypt };
        let history = Arc::new(SqlHistory::new(lanes, reads));
        let lists = Arc::new(Lists::over(config.read_connections));
        let members = Arc::new(SqlMembers { db: db.clone(), lists: lists.clone() });
        Ok(Self { db, history, members, lists, tenants: config.tenants })
    }

    /// Rooms' logs.
    #[must_use]
    pub fn history(&self) -> Arc<dyn History> {
        self.history.clone()
    }

    /// Rows of membership and read marks.
    #[must_use]
    pub fn members(&self) -> Arc<dyn Members> {
        self.members.clone()
    }

    /// Settles everything, ends the lanes and gives every connection back.
    pub async fn close(&self) {
        self.history.close().await;
        match &self.db {
            Db::Postgres(db) => db.close().await,
            Db::Sqlite(db) => db.close().await,
        }
    }

    /// Ends the lanes as `kill -9` would: nobody hears of what was queued.
    #[cfg(any(test, feature = "testkit"))]
    pub fn kill(&self) {
        self.history.kill();
    }

    /// The id of the cluster that the database belongs to; `proposed` becomes it if there is none.
    /// Of several nodes that try at once exactly one wins.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn cluster_id(&self, proposed: Uuid) -> Result<Uuid, StorageError> {
        const CLAIM: &str = "INSERT INTO {g}.cluster (one, id, created_at) VALUES (true, $1, $2)
            ON CONFLICT (one) DO UPDATE SET one = true RETURNING id";
        let args = vec![sql::Arg::Id(proposed), sql::Arg::Int(Timestamp::now().0)];
        let failed = || StorageError::during("reading the cluster's id");
        let rows = self.db.rows(TenantId::MAIN, sql::For::Writing, CLAIM, args).await;
        let rows = rows.map_err(failed())?;
        rows.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.id(0)).map_err(failed())
    }

    /// The id of the cluster that the database belongs to, if it belongs to one.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn known_cluster(&self) -> Result<Option<Uuid>, StorageError> {
        const KNOWN: &str = "SELECT id FROM {g}.cluster";
        let failed = || StorageError::during("reading the cluster's id");
        let rows = self.db.rows(TenantId::MAIN, sql::For::Deciding, KNOWN, Vec::new()).await;
        let rows = rows.map_err(failed())?;
        rows.first().map(|row| row.id(0)).transpose().map_err(failed())
    }

    /// What the directory knew of every room of every tenant, for making a lost one again.
    ///
    /// # Errors
    /// [`StorageError::Database`], also when a row cannot be read: leaving a room out would lose it.
    pub async fn projected_rooms(&self) -> Result<Vec<RoomMeta>, StorageError> {
        let mut all = Vec::new();
        for (tenant, _) in &self.tenants {
            let rooms = rooms::projected(&self.db, *tenant).await;
            all.extend(rooms.map_err(StorageError::during("reading the projection of rooms"))?);
        }
        Ok(all)
    }

    /// Audits the stored history of every tenant; an empty list is the proof of its order. Reads
    /// all of it. [`audit()`] does the same with only a URL.
    ///
    /// # Errors
    /// [`StorageError::Database`]; then nothing is proven.
    pub async fn audit(&self) -> Result<Vec<Violation>, StorageError> {
        audit::audit_tenants(&self.db, &self.tenants).await
    }

    /// The highest epoch of any fence and of each shard's newest event; a new cluster's epochs
    /// start above it. An event's epoch is never above its fence's; the events are looked at for
    /// the case that a tenant was restored without the fences.
    ///
    /// # Errors
    /// [`StorageError::Database`].
    pub async fn highest_epoch(&self) -> Result<Epoch, StorageError> {
        // Along `pos` as along `seq` no epoch goes back, so that 256 look-ups in an index do.
        const HIGHEST: &str = "WITH RECURSIVE s(shard) AS (
                SELECT 0 UNION ALL SELECT shard + 1 FROM s WHERE shard < 255)
            SELECT (SELECT max(f.epoch) FROM {g}.fence f),
              (SELECT max((SELECT e.epoch FROM {t}.event e WHERE e.shard = CAST(s.shard AS smallint)
                           ORDER BY e.pos DESC LIMIT 1)) FROM s)";
        let failed = || StorageError::during("reading the highest epoch");
        let mut highest = 0;
        for (tenant, _) in &self.tenants {
            let rows = self.db.rows(*tenant, sql::For::Deciding, HIGHEST, Vec::new()).await;
            for row in rows.map_err(failed())? {
                for place in 0..2 {
                    let epoch = row.maybe_int(place).map_err(failed())?;
                    highest = highest.max(epoch.unwrap_or_default());
                }
            }
        }
        Ok(Epoch(u64::try_from(highest).unwrap_or_default()))
    }
}

/// Refuses a database whose newest bodies are sealed with keys that are not in the ring: a setting
/// that was forgotten would otherwise show as errors in every room, and as bodies stored open.
async fn check_keys(config: &StorageConfig, db: &Db) -> Result<(), StorageError> {
    const NEWEST: &str = "SELECT DISTINCT (SELECT e.crypt_key FROM {t}.event e
        WHERE e.shard = f.shard ORDER BY e.pos DESC LIMIT 1) FROM {g}.fence f";
    let failed = || StorageError::during("reading which keys seal the newest bodies");
    for (tenant, _) in &config.tenants {
        let rows = db.rows(*tenant, sql::For::Deciding, NEWEST, Vec::new()).await;
        for row in rows.map_err(failed())? {
            let key = row.maybe_whole(0).map_err(failed())?;
            if let Some(key) = key.filter(|key| !config.crypt.holds(*key)) {
                return Err(StorageError::Config(format!(
                    "bodies in the database are sealed with key {key}, which the key ring does not \
                     hold; set crypt.keyring to the file that does"
                )));
            }
        }
    }
    Ok(())
}

fn postgres_lanes(
    config: &StorageConfig,
    db: &PostgresDb,
) -> Result<Vec<LaneHandle>, StorageError> {
    let count = config.lanes.unwrap_or(limits::LANES_POSTGRES);
    if count == 0 || count > limits::LANES_MAX {
        let most = limits::LANES_MAX;
        return Err(StorageError::Config(format!("lanes is {count}; allowed are 1 to {most}")));
    }
    let nonce = Uuid::new_v4().as_fields().0;
    let start = |number| {
        let how = LaneConnection::new(config, db.servers.clone(), number, nonce);
        let writer = PostgresWriter::new(how, db.schemas.clone(), config.sabotage);
        LaneHandle::start(number, writer, config.crypt.clone(), config.lock_wait)
    };
    Ok((0..count).map(start).collect())
}
