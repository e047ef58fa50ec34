//! `parlance migrate up|down|status`: the database's schema, without starting a node. `serve`
//! applies what is missing by itself; this is for operators who want to do it apart.

use clap::Subcommand;
use parlance_actors::vocab::Timestamp;
use parlance_storage::MigrationStatus;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::print;
use crate::Settings;
use crate::assemble;
use crate::config;
use crate::data_dir::DataDir;
use crate::failure::{Cause, Failure};

/// What to do with the schema.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Apply what is missing.
    Up(Settings),
    /// Take back every migration above a version, the newest first. What they hold is lost.
    Down {
        /// The version to go back to; 0 takes back everything.
        #[arg(long, value_name = "VERSION")]
        to: i32,
        /// Yes, lose what the migrations hold.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Say which migrations there are and which are applied.
    Status(Settings),
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<(), Failure> {
    let (Action::Up(settings) | Action::Status(settings) | Action::Down { settings, .. }) = action;
    let config = config::load(&settings.flags(), true)?.config;
    if let Action::Down { to, yes: false, .. } = action {
        let what = format!(
            "this takes back every migration above {to} and loses what they hold; \
             say --yes if you mean it"
        );
        return Err(Failure::new(Cause::Other, what));
    }
    let makes_it = matches!(action, Action::Up(_));
    if !makes_it && config.database.url.is_none() && !config.data_dir.exists() {
        let what = format!("there is no data directory {}", config.data_dir.display());
        return Err(Failure::new(Cause::Other, what));
    }
    // SQLite's files belong to one process; PostgreSQL has a lock of its own.
    let data_dir = match config.database.url {
        None => Some(DataDir::open(&config.data_dir)?),
        Some(_) => None,
    };
    let folder = data_dir.as_ref().map(DataDir::database);
    let storage = assemble::storage_config(&config, folder.as_deref())?;
    let runtime = super::small_runtime()?;
    let status = runtime.block_on(async {
        match action {
            Action::Up(_) => parlance_storage::migrate_up(&storage).await,
            Action::Down { to, .. } => parlance_storage::migrate_down(&storage, *to).await,
            Action::Status(_) => parlance_storage::migrate_status(&storage).await,
        }
    });
    print(&table(&status.map_err(assemble::storage_failure)?))
}

fn table(status: &[MigrationStatus]) -> String {
    let line = |one: &MigrationStatus| {
        let state = match one.applied_at {
            Some(at) => format!("applied {}", utc(at)),
            None => "missing".to_owned(),
        };
        format!("{:<10} {:>3} {:<12} {state}\n", one.scope, one.version, one.name)
    };
    status.iter().map(line).collect()
}

/// A moment as people write it, in UTC to the second.
pub(super) fn utc(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} ms", at.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(utc(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(utc(Timestamp(951_782_400_000)), "2000-02-29T00:00:00Z");
        assert_eq!(utc(Timestamp(1_767_225_599_999)), "2025-12-31T23:59:59Z");
    }
}
