//! PostgreSQL: connections to the primary, to the optional pooler for reads, and of the lanes.
//!
//! Statements of the ports are elsewhere: shared ones in `reads` and `members`, the append in
//! `writer`.

mod append;
mod reseal;
mod servers;
mod writer;

use std::sync::Arc;

use sqlx::Connection;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

use crate::StorageConfig;
use crate::error::{StorageError, redacted};
use crate::limits;
use crate::schema::{Schema, Schemas};

#[cfg(any(test, feature = "testkit"))]
pub(crate) use append::encoded_arguments;
use servers::Primary;
pub(crate) use servers::{Servers, database_id};
pub(crate) use writer::PostgresWriter;

/// The oldest server that is supported, as `server_version_num`.
const SERVER_VERSION_MIN: i32 = 150_000;

/// The pools.
#[derive(Debug, Clone)]
pub(crate) struct PostgresDb {
    /// Straight to the primary.
    pub(crate) primary: PgPool,
    /// For reads, through a pooler if one is configured.
    pub(crate) readers: PgPool,
    pub(crate) schemas: Schemas,
    pub(crate) servers: Arc<Servers>,
}

impl PostgresDb {
    /// Checks the server and makes the pools.
    pub(crate) async fn open(config: &StorageConfig) -> Result<Self, StorageError> {
        let servers = Arc::new(Servers::new(&config.url)?);
        check_server(config, &servers).await?;
        let pool = || {
            PgPoolOptions::new()
                .max_connections(config.read_connections.max(1))
                .acquire_timeout(limits::ACQUIRE_WAIT)
                // Asked below, and not before every statement: that would be a round trip for each.
                .test_before_acquire(false)
        };
        let name = application_name(&config.node, "read");
        let (idle, new) = (servers.seen(), servers.seen());
        let to_primary = pool().before_acquire(move |connection, of| {
            let is_present = idle.is_present(of.age);
            Box::pin(async move { Ok(is_present && lives(connection, of).await?) })
        });
        // A server may come back as a standby, or as the primary that it was, and so may what
        // stands behind the only address.
        let to_primary = to_primary.after_connect(move |connection, _| {
            let new = new.clone();
            Box::pin(async move {
                new.admit(connection).await?;
                // What is read for a page of rooms is many cheap look-ups, for which compiling would
                // take 30 times what they take.
                sqlx::raw_sql("SET jit = off").execute(connection).await?;
                Ok(())
            })
        });
        let primary = to_primary.connect_lazy_with(servers.options().application_name(&name));
        servers.lead(primary.clone());
        let readers = match &config.read_url {
            Some(url) => {
                let pool = pool().before_acquire(|connection, of| Box::pin(lives(connection, of)));
                pool.connect_lazy_with(Servers::new(url)?.options().application_name(&name))
            }
            None => primary.clone(),
        };
        Ok(Self { primary, readers, schemas: schemas(config)?, servers })
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.primary.close().await;
    }
}

/// Whether a pool's connection is still good: one that rested for a while is asked.
async fn lives(
    connection: &mut PgConnection,
    of: PoolConnectionMetadata,
) -> Result<bool, sqlx::Error> {
    if of.idle_for >= limits::IDLE_ASKED {
        connection.ping().await?;
    }
    Ok(true)
}

/// The schemas of the configured tenants.
pub(crate) fn schemas(config: &StorageConfig) -> Result<Schemas, StorageError> {
    let schemas = config.tenants.iter().map(|(id, name)| Ok((*id, Schema::qualified(name)?)));
    Ok(Schemas::new(schemas.collect::<Result<_, StorageError>>()?))
}

/// One connection to the primary outside of any pool.
pub(crate) async fn connect(url: &str) -> Result<PgConnection, StorageError> {
    let unreachable = |why: String| StorageError::Unreachable { url: redacted(url), why };
    let found = Servers::new(url)?.connect(|options| options).await;
    found.map(|found| found.connection).map_err(|error| unreachable(error.to_string()))
}

async fn check_server(config: &StorageConfig, servers: &Servers) -> Result<(), StorageError> {
    let unreachable = |why: String| StorageError::Unreachable { url: redacted(&config.url), why };
    let found = servers.connect(|options| options).await;
    let found = found.map_err(|error| unreachable(error.to_string()))?;
    let _ = found.connection.close().await;
    if found.version < SERVER_VERSION_MIN {
        let major = found.version / 10_000;
        return Err(unreachable(format!(
            "the server is PostgreSQL {major}; 15 or later is needed"
        )));
    }
    Ok(())
}

/// `parlance/NODE/ROLE`, by which an operator and a takeover recognise a connection.
pub(crate) fn application_name(node: &str, role: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let node: String = node.chars().map(plain).take(limits::NODE_NAME_BYTES_MAX).collect();
    format!("parlance/{node}/{role}")
}

/// How a lane connects.
#[derive(Debug, Clone)]
pub(crate) struct LaneConnection {
    servers: Arc<Servers>,
    name: String,
    lock_wait: String,
}

impl LaneConnection {
    /// `nonce` tells this process's lanes from those of an earlier process of the same node.
    pub(crate) fn new(
        config: &StorageConfig,
        servers: Arc<Servers>,
        lane: usize,
        nonce: u32,
    ) -> Self {
        let name = application_name(&config.node, &format!("lane{lane}/{nonce:08x}"));
        let lock_wait = format!("{}ms", config.lock_wait.as_millis());
        Self { servers, name, lock_wait }
    }

    async fn connect(&self) -> Result<Primary, sqlx::Error> {
        self.servers.connect(|options| self.dress(options)).await
    }

    fn dress(&self, options: PgConnectOptions) -> PgConnectOptions {
        options.application_name(&self.name).options([
            ("synchronous_commit", "on"),
            // A plan for the arrays of one batch would cost several times what it could save.
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
            ("lock_timeout", self.lock_wait.as_str()),
            ("idle_in_transaction_session_timeout", "10s"),
            ("tcp_user_timeout", "10s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
        ])
    }
}
