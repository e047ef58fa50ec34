//! The one place where concrete types meet: settings become the parts of a node, and each part's
//! errors become a message with what to do.

use std::path::Path;

use parlance_storage::{StorageConfig, StorageError};

use crate::config::Config;
use crate::failure::{Cause, Failure};

/// How to open the database: PostgreSQL where a URL is set, else SQLite in `folder`.
pub(crate) fn storage_config(config: &Config, folder: Option<&Path>) -> StorageConfig {
    let url = match (&config.database.url, folder) {
        (Some(url), _) => url.reveal().to_owned(),
        (None, folder) => format!("sqlite:{}", folder.unwrap_or(Path::new("")).display()),
    };
    StorageConfig {
        read_url: config.database.read_url.as_ref().map(|url| url.reveal().to_owned()),
        lanes: Some(config.database.lanes as usize),
        read_connections: config.database.pool_size,
        ..StorageConfig::new(url)
    }
}

/// A database that does not open, with what to do.
pub(crate) fn storage_failure(error: StorageError) -> Failure {
    let hint = match &error {
        StorageError::Unreachable { .. } => {
            "; check that it runs, and database.url with `parlance config show`"
        }
        StorageError::Altered { .. } => "; run the version of parlance that applied it",
        StorageError::Config(_) | StorageError::Behind { .. } | StorageError::Database { .. } => "",
    };
    Failure::new(Cause::Database, format!("{error}{hint}"))
}
