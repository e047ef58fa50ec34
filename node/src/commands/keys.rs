//! `parlance keys generate|list|rotate|reseal|remove`: the key ring that message bodies are
//! encrypted with. A running node reads a changed ring by itself.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use parlance_actors::vocab::Timestamp;
use parlance_storage::keyring::{KeyInfo, KeyRing, KeyRingError};
use parlance_storage::{KeysError, Resealed, StorageConfig};

use super::migrate::utc;
use super::print;
use crate::Settings;
use crate::assemble;
use crate::config::{self, Config};
use crate::data_dir::DataDir;
use crate::failure::{Cause, Failure};

/// A line of progress after this many rows.
const PROGRESS_ROWS: u64 = 100_000;

/// What to do with the key ring.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make a ring of one key in a new file.
    Generate(Ring),
    /// Say which keys there are, and never the keys themselves.
    List(Ring),
    /// Add a key, which encrypts from now on; the earlier ones keep opening.
    Rotate(Ring),
    /// Rewrite stored bodies to the newest key. It can be stopped and run again at any time.
    Reseal(Ring),
    /// Remove a key that no stored body needs any more.
    Remove {
        /// The key's number.
        id: i32,
        #[command(flatten)]
        ring: Ring,
    },
}

/// Which ring.
#[derive(Debug, Args)]
pub(crate) struct Ring {
    /// The ring's file; else `crypt.keyring` of the configuration.
    #[arg(long, value_name = "FILE")]
    ring: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<(), Failure> {
    let (Action::Generate(ring)
    | Action::List(ring)
    | Action::Rotate(ring)
    | Action::Reseal(ring)
    | Action::Remove { ring, .. }) = action;
    let mut config = config::load(&ring.settings.flags(), false)?.config;
    let Some(path) = ring.ring.clone().or_else(|| config.crypt.keyring.clone()) else {
        let what = "which key ring? set crypt.keyring in the configuration, or name it with --ring";
        return Err(Failure::new(Cause::Configuration, what));
    };
    config.crypt.keyring = Some(path.clone());
    match action {
        Action::Generate(_) => {
            let key = KeyRing::generate(&path, Timestamp::now()).map_err(ring_failure)?;
            print(&format!(
                "{}the key ring is {}; set crypt.keyring to it, and keep a copy apart from the database\n",
                line(&key),
                path.display()
            ))
        }
        Action::List(_) => {
            let ring = KeyRing::load(&path).map_err(ring_failure)?;
            print(&ring.list().iter().map(line).collect::<String>())
        }
        Action::Rotate(_) => {
            print(&line(&KeyRing::rotate(&path, Timestamp::now()).map_err(ring_failure)?))
        }
        Action::Reseal(_) => with_storage(&config, async |storage| {
            let done = parlance_storage::reseal(storage, progress()).await;
            let done = done.map_err(assemble::storage_failure)?;
            print(&summary(&done))?;
            match done.unreadable {
                0 => Ok(()),
                n => Err(Failure::new(Cause::Database, format!("{n} bodies do not open"))),
            }
        }),
        Action::Remove { id, .. } => with_storage(&config, async |storage| {
            let removed = parlance_storage::remove_key(storage, &path, *id, Timestamp::now()).await;
            let key = removed.map_err(|error| match error {
                KeysError::Ring(error) => ring_failure(error),
                KeysError::Storage(error) => assemble::storage_failure(error),
            })?;
            print(&format!("key {} is removed\n", key.id))
        }),
    }
}

/// Runs something on the database with the ring's keys.
fn with_storage(
    config: &Config,
    work: impl AsyncFnOnce(&StorageConfig) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // SQLite's files belong to one process.
    let data_dir = match config.database.url {
        None => Some(DataDir::open(&config.data_dir)?),
        Some(_) => None,
    };
    let folder = data_dir.as_ref().map(DataDir::database);
    let storage = assemble::storage_config(config, folder.as_deref())?;
    super::small_runtime()?.block_on(work(&storage))
}

fn progress() -> impl FnMut(&Resealed) -> ControlFlow<()> {
    let mut next = PROGRESS_ROWS;
    move |done| {
        if done.seen >= next {
            eprintln!("{} rows seen, {} resealed", done.seen, done.resealed);
            next = done.seen + PROGRESS_ROWS;
        }
        ControlFlow::Continue(())
    }
}

fn summary(done: &Resealed) -> String {
    let mut text = format!("{} rows seen, {} resealed", done.seen, done.resealed);
    if done.skipped > 0 {
        text.push_str(&format!(", {} busy: run it again for those", done.skipped));
    }
    text.push('\n');
    for (room, seq, why) in &done.examples {
        text.push_str(&format!("room {room} seq {seq}: {why}\n"));
    }
    text
}

fn line(key: &KeyInfo) -> String {
    let state = if key.seals { "encrypts" } else { "opens" };
    format!("key {:<3} made {} {state}\n", key.id, utc(key.created_at))
}

fn ring_failure(error: KeyRingError) -> Failure {
    Failure::new(Cause::Configuration, error.to_string())
}
