//! SQLite: a folder with one file a tenant. Each has one writing connection, which the lane and
//! the other writers of this process take in turn, and a pool of readers.

mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parlance_actors::vocab::TenantId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlitePool};

use crate::StorageConfig;
use crate::error::StorageError;
use crate::limits;
use crate::schema::Schema;

pub(crate) use writer::SqliteWriter;

/// One tenant's file.
#[derive(Debug, Clone)]
pub(crate) struct TenantFile {
    /// The one connection that writes.
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    pub(crate) schema: Schema,
    pub(crate) path: PathBuf,
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct SqliteDb {
    files: Arc<BTreeMap<TenantId, TenantFile>>,
}

impl SqliteDb {
    /// Opens every tenant's file, making those that are missing.
    pub(crate) async fn open(config: &StorageConfig) -> Result<Self, StorageError> {
        let folder = folder(&config.url)?;
        let unreachable = |path: &Path, why: String| StorageError::Unreachable {
            url: format!("sqlite:{}", path.display()),
            why,
        };
        std::fs::create_dir_all(folder).map_err(|error| unreachable(folder, error.to_string()))?;
        let mut files = BTreeMap::new();
        for (tenant, name) in &config.tenants {
            let schema = Schema::file(name)?;
            let path = folder.join(format!("{name}.db"));
            let file = TenantFile::open(path.clone(), schema, config.read_connections)
                .await
                .map_err(|error| unreachable(&path, error.to_string()))?;
            files.insert(*tenant, file);
        }
        Ok(Self { files: Arc::new(files) })
    }

    /// The tenant's file, or the error that there is none.
    pub(crate) fn file(&self, tenant: TenantId) -> Result<&TenantFile, sqlx::Error> {
        let missing = || sqlx::Error::InvalidArgument(format!("storage has no tenant {tenant}"));
        self.files.get(&tenant).ok_or_else(missing)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (TenantId, &TenantFile)> {
        self.files.iter().map(|(id, file)| (*id, file))
    }

    pub(crate) async fn close(&self) {
        for file in self.files.values() {
            file.readers.close().await;
            file.writer.close().await;
        }
    }
}

impl TenantFile {
    async fn open(path: PathBuf, schema: Schema, readers: u32) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(limits::SQLITE_BUSY_WAIT)
            // An append with its commit is thousands of places long; how long it took is measured.
            .disable_statement_logging();
        // The first connection makes the file and turns it to WAL before any reader comes.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(limits::ACQUIRE_WAIT)
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(readers.max(1))
            .test_before_acquire(false)
            .acquire_timeout(limits::ACQUIRE_WAIT)
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { writer, readers, schema, path })
    }
}

/// The tenants that have a file in a folder.
pub(crate) fn names(url: &str) -> Result<Vec<String>, StorageError> {
    let folder = folder(url)?;
    let unreachable = |why: std::io::Error| StorageError::Unreachable {
        url: url.to_owned(),
        why: why.to_string(),
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreachable)? {
        let name = entry.map_err(unreachable)?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(".db")).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The folder that a `sqlite:` URL names.
fn folder(url: &str) -> Result<&Path, StorageError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains(":memory:") {
        return Err(StorageError::Config(format!(
            "database URL {url}: write sqlite: and the folder for its files, as in sqlite:./data"
        )));
    }
    Ok(Path::new(path))
}
