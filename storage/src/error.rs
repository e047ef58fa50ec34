//! What can go wrong while opening storage, and how a database's errors become the ports' errors.

use parlance_actors::ports::HistoryError;

/// Why storage could not be opened or migrated. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The configuration is wrong; retrying does not help.
    #[error("{0}")]
    Config(String),
    /// The server or file cannot be reached; retrying later may help.
    #[error("cannot open the database {url}: {why}")]
    Unreachable {
        /// The URL, its password redacted.
        url: String,
        /// The cause.
        why: String,
    },
    /// A migration that was applied is not the one that this version knows. Retrying does not help.
    #[error("migration {version} of {scope} was applied in another form than this version has")]
    Altered {
        /// Which schema.
        scope: String,
        /// Which migration.
        version: i32,
    },
    /// Migrations are missing; run `parlance migrate up`.
    #[error("the schema {scope} misses migration {version}; run `parlance migrate up`")]
    Behind {
        /// Which schema.
        scope: String,
        /// Which migration.
        version: i32,
    },
    /// A later release migrated the database, and this one is too old for it. Retrying does not help.
    #[error(
        "the schema {scope} was migrated by release {release} of the schema (migration {version}, \
         {name}), with which nodes work from release {works_from} on; this one is release {own}"
    )]
    Ahead {
        /// Which schema.
        scope: String,
        /// The migration.
        version: i32,
        /// Its name.
        name: String,
        /// The release that it came with.
        release: i32,
        /// The oldest release that works with it.
        works_from: i32,
        /// The release of this build.
        own: i32,
    },
    /// A migration of a later release is to be taken back. Retrying does not help.
    #[error(
        "migration {version} ({name}) of {scope} came with a later release, and only that one \
         knows its way back: use its `parlance migrate down`"
    )]
    NotKnown {
        /// Which schema.
        scope: String,
        /// The migration.
        version: i32,
        /// Its name.
        name: String,
    },
    /// A statement failed. Each migration is one transaction, so the failed one left nothing.
    #[error("{doing}: {source}")]
    Database {
        /// What was being done.
        doing: String,
        /// The cause.
        source: sqlx::Error,
    },
}

impl StorageError {
    pub(crate) fn during(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Database { doing, source }
    }
}

/// A failed read: what the database holds is unreadable, or it is away.
pub(crate) fn read_failed(error: sqlx::Error) -> HistoryError {
    match error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => HistoryError::Unreadable(error.to_string()),
        other => HistoryError::Unavailable(other.to_string()),
    }
}

/// A URL as it may be logged: without its password, and without parameters that could hold one.
#[must_use]
pub fn redacted(url: &str) -> String {
    let (main, query) = url.split_once('?').map_or((url, ""), |(main, query)| (main, query));
    let mut shown = match (main.find("://"), main.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let user = main[scheme + 3..at].split(':').next().unwrap_or_default();
            format!("{}{user}:***{}", &main[..scheme + 3], &main[at..])
        }
        _ => main.to_owned(),
    };
    if !query.is_empty() {
        let kept = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name @ ("host" | "port" | "dbname" | "sslmode" | "user"), value)) => {
                format!("{name}={value}")
            }
            Some((name, _)) => format!("{name}=***"),
            None => "***".to_owned(),
        });
        shown.push('?');
        shown.push_str(&kept.collect::<Vec<_>>().join("&"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn a_password_never_shows_in_a_url() {
        for url in [
            "postgres://ann:s3cret@db:5432/chat",
            "postgres://ann:s3c@ret@db/chat",
            "postgres://ann@db/chat?password=s3cret&host=/run",
        ] {
            let shown = redacted(url);
            assert!(!shown.contains("s3c") && !shown.contains("ret@"), "{shown}");
            assert!(shown.contains("ann") && shown.contains("db/chat") || shown.contains("db:"));
        }
        assert_eq!(redacted("sqlite:/var/lib/parlance"), "sqlite:/var/lib/parlance");
    }
}
