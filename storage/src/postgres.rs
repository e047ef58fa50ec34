//! PostgreSQL: connections to the primary, to the optional pooler for reads, and of the lanes.
//!
//! Statements of the ports are elsewhere: shared ones in `reads` and `members`, the append in
//! `writer`.

mod reseal;
mod writer;

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use crate::StorageConfig;
use crate::error::{StorageError, redacted};
use crate::limits;
use crate::schema::{Schema, Schemas};

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
}

impl PostgresDb {
    /// Checks the server and makes the pools.
    pub(crate) async fn open(config: &StorageConfig) -> Result<Self, StorageError> {
        check_server(config).await?;
        let pool = |options: PgConnectOptions| {
            PgPoolOptions::new()
                .max_connections(config.read_connections.max(1))
                .acquire_timeout(limits::ACQUIRE_WAIT)
                .connect_lazy_with(options)
        };
        let name = application_name(&config.node, "read");
        let primary = pool(parse(&config.url)?.application_name(&name));
        let readers = match &config.read_url {
            Some(url) => pool(parse(url)?.application_name(&name)),
            None => primary.clone(),
        };
        Ok(Self { primary, readers, schemas: schemas(config)? })
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.primary.close().await;
    }
}

/// The schemas of the configured tenants.
pub(crate) fn schemas(config: &StorageConfig) -> Result<Schemas, StorageError> {
    let schemas = config.tenants.iter().map(|(id, name)| Ok((*id, Schema::qualified(name)?)));
    Ok(Schemas::new(schemas.collect::<Result<_, StorageError>>()?))
}

/// One connection outside of any pool.
pub(crate) async fn connect(url: &str) -> Result<PgConnection, StorageError> {
    let unreachable = |why: String| StorageError::Unreachable { url: redacted(url), why };
    match tokio::time::timeout(limits::CONNECT_WAIT, parse(url)?.connect()).await {
        Ok(connected) => connected.map_err(|error| unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no answer in {:?}", limits::CONNECT_WAIT))),
    }
}

async fn check_server(config: &StorageConfig) -> Result<(), StorageError> {
    let mut connection = connect(&config.url).await?;
    let (version, standby): (i32, bool) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::integer, pg_is_in_recovery()",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(StorageError::during("asking the server for its version"))?;
    let _ = connection.close().await;
    let url = redacted(&config.url);
    if version < SERVER_VERSION_MIN {
        let why = format!("the server is PostgreSQL {}; 15 or later is needed", version / 10_000);
        return Err(StorageError::Unreachable { url, why });
    }
    if standby {
        let why = "the server is a standby; name the primary".to_owned();
        return Err(StorageError::Unreachable { url, why });
    }
    Ok(())
}

fn parse(url: &str) -> Result<PgConnectOptions, StorageError> {
    PgConnectOptions::from_str(url)
        .map_err(|error| StorageError::Config(format!("database URL {}: {error}", redacted(url))))
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
    options: PgConnectOptions,
    name: String,
}

impl LaneConnection {
    /// `nonce` tells this process's lanes from those of an earlier process of the same node.
    pub(crate) fn new(
        config: &StorageConfig,
        lane: usize,
        nonce: u32,
    ) -> Result<Self, StorageError> {
        let name = application_name(&config.node, &format!("lane{lane}/{nonce:08x}"));
        let lock_wait = format!("{}ms", config.lock_wait.as_millis());
        let options = parse(&config.url)?.application_name(&name).options([
            ("synchronous_commit", "on"),
            ("lock_timeout", lock_wait.as_str()),
            ("idle_in_transaction_session_timeout", "10s"),
            ("tcp_user_timeout", "10s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
        ]);
        Ok(Self { options, name })
    }
}
