//! Rewrites stored bodies to the newest key, and tells whether a key is still in use: the half of
//! `parlance keys reseal|remove` that needs the database.
//!
//! It runs beside servers that write. It changes `body` and `crypt_key` of a row and nothing
//! else, each row only if its body is still the one that was read, and it never waits for a row
//! that somebody else holds. So a delete's blanking is never undone and nobody is held up for
//! longer than one small statement. Stopped at any moment it leaves every row readable; run
//! again it does what is left.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use parlance_actors::vocab::{Key, RoomId, RoomRef, Seq, ShardId, TenantId, Timestamp, UserId};
use uuid::Uuid;

use crate::StorageConfig;
use crate::crypt::{Crypt, CryptError, EventAad};
use crate::error::StorageError;
use crate::keyring::{KeyInfo, KeyRing, KeyRingError};
use crate::limits::{RESEAL_PASSES_MAX, RESEAL_ROWS_MAX, RESEAL_UNREADABLE_MAX};
use crate::migrate;
use crate::postgres::PostgresDb;
use crate::sql::{Arg, Db, For};
use crate::sqlite::SqliteDb;

/// Rows in the order of the primary key. Bodies that have the newest key already stay in the
/// database.
const READ: &str = "SELECT room, seq, sender, key, crypt_key,
      CASE WHEN crypt_key IS NULL OR crypt_key <> $4 THEN body END
    FROM {t}.event WHERE shard = $1 AND (room, seq) > ($2, $3) ORDER BY room, seq LIMIT $5";
const USES: &str = "SELECT 1 FROM {t}.event WHERE crypt_key = $1 AND body IS NOT NULL LIMIT 1";

/// What resealing has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Rows that were looked at in this pass.
    pub seen: u64,
    /// Rows that have the newest key now and had not before.
    pub resealed: u64,
    /// Rows of this pass that somebody else was changing; another pass looks at them again.
    pub skipped: u64,
    /// Rows of this pass that do not open and were left as they are.
    pub unreadable: u64,
    /// The first of those, with the reason.
    pub examples: Vec<(RoomRef, Seq, CryptError)>,
    /// The caller stopped it before its end.
    pub stopped: bool,
}

/// Why a key command failed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key ring; it was not changed.
    #[error(transparent)]
    Ring(#[from] KeyRingError),
    /// The database; the key ring was not changed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A body to be rewritten: what it must still be, and what it becomes.
pub(crate) struct Rewrite {
    pub(crate) room: Uuid,
    pub(crate) seq: i64,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
    pub(crate) crypt_key: i32,
}

/// Some rows of one shard.
struct Batch {
    rewrites: Vec<Rewrite>,
    /// Where the next batch begins; `None` at the end of the shard.
    next: Option<(Uuid, i64)>,
}

/// Rewrites every body that the newest key of `config.crypt` does not seal yet. `progress` is
/// asked after each batch whether to go on.
///
/// # Errors
/// [`StorageError`]; the rows before it are done and stay done.
pub async fn reseal(
    config: &StorageConfig,
    mut progress: impl FnMut(&Resealed) -> ControlFlow<()>,
) -> Result<Resealed, StorageError> {
    let Some(newest) = config.crypt.newest() else {
        return Err(StorageError::Config("no key ring is configured; nothing to reseal".into()));
    };
    let db = open(config).await?;
    let pass = Pass { db: &db, crypt: &config.crypt, newest };
    let mut done = Resealed::default();
    for _ in 0..RESEAL_PASSES_MAX {
        done = Resealed { resealed: done.resealed, ..Resealed::default() };
        let result = pass.run(config, &mut done, &mut progress).await;
        result.map_err(StorageError::during("resealing"))?;
        if done.stopped || done.skipped == 0 {
            break;
        }
    }
    close(&db).await;
    Ok(done)
}

/// Whether any stored body is sealed with this key. Reads through the whole history.
///
/// # Errors
/// [`StorageError`]; nothing was changed.
pub async fn key_in_use(config: &StorageConfig, key: i32) -> Result<bool, StorageError> {
    let db = open(config).await?;
    let mut used = false;
    for (tenant, _) in &config.tenants {
        let rows = db.rows(*tenant, For::Scanning, USES, vec![Arg::Whole(key)]).await;
        used |= !rows.map_err(StorageError::during("looking for uses of a key"))?.is_empty();
    }
    close(&db).await;
    Ok(used)
}

/// Removes a key from the ring in `path` if no stored body needs it.
///
/// # Errors
/// [`KeysError`]; the ring is as it was.
pub async fn remove_key(
    config: &StorageConfig,
    path: &Path,
    key: i32,
    now: Timestamp,
) -> Result<KeyInfo, KeysError> {
    KeyRing::load(path)?.removable(key, now)?;
    let used = key_in_use(config, key).await?;
    Ok(KeyRing::remove(path, key, used, now)?)
}

async fn open(config: &StorageConfig) -> Result<Db, StorageError> {
    migrate::check(config).await?;
    Ok(if config.is_postgres()? {
        Db::Postgres(PostgresDb::open(config).await?)
    } else {
        Db::Sqlite(SqliteDb::open(config).await?)
    })
}

async fn close(db: &Db) {
    match db {
        Db::Postgres(db) => db.close().await,
        Db::Sqlite(db) => db.close().await,
    }
}

/// One walk over every row.
struct Pass<'a> {
    db: &'a Db,
    crypt: &'a Crypt,
    newest: i32,
}

impl Pass<'_> {
    async fn run(
        &self,
        config: &StorageConfig,
        done: &mut Resealed,
        progress: &mut impl FnMut(&Resealed) -> ControlFlow<()>,
    ) -> Result<(), sqlx::Error> {
        for (tenant, _) in &config.tenants {
            for shard in ShardId::all() {
                let mut from = Some((Uuid::nil(), 0));
                while let Some(after) = from {
                    let batch = self.read(*tenant, shard, after, done).await?;
                    from = batch.next;
                    let wanted = batch.rewrites.len() as u64;
                    let written = self.write(*tenant, shard, batch.rewrites).await?;
                    done.resealed += written;
                    done.skipped += wanted - written;
                    if (from.is_some() || wanted > 0) && progress(done).is_break() {
                        done.stopped = true;
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        tenant: TenantId,
        shard: ShardId,
        (room, seq): (Uuid, i64),
        done: &mut Resealed,
    ) -> Result<Batch, sqlx::Error> {
        let args = vec![
            Arg::Small(shard.0.into()),
            Arg::Id(room),
            Arg::Int(seq),
            Arg::Whole(self.newest),
            Arg::Int(RESEAL_ROWS_MAX),
        ];
        let rows = self.db.rows(tenant, For::Deciding, READ, args).await?;
        let mut rewrites = Vec::new();
        let mut last = None;
        for row in &rows {
            let (room, seq) = (row.id(0)?, row.int(1)?);
            last = Some((room, seq));
            done.seen += 1;
            let Some(old) = row.maybe_bytes(5)? else { continue };
            let (sender, key) = (UserId(row.id(2)?), Key(row.id(3)?));
            let aad = EventAad::new(tenant, RoomId(room), sender, key);
            match self.crypt.open(row.maybe_whole(4)?, aad.as_ref(), old.clone()) {
                Ok(plain) => {
                    let (crypt_key, new) = self.crypt.seal(aad.as_ref(), &plain);
                    let crypt_key = crypt_key.expect("resealing needs a key ring");
                    rewrites.push(Rewrite { room, seq, old, new, crypt_key });
                }
                Err(error) => {
                    done.unreadable += 1;
                    if done.examples.len() < RESEAL_UNREADABLE_MAX {
                        let room = RoomRef { tenant, room: RoomId(room) };
                        done.examples.push((room, Seq(seq.cast_unsigned()), error));
                    }
                }
            }
        }
        let full = rows.len() as i64 == RESEAL_ROWS_MAX;
        Ok(Batch { rewrites, next: last.filter(|_| full) })
    }

    /// Writes what nobody has changed since; gives how many rows that were.
    async fn write(
        &self,
        tenant: TenantId,
        shard: ShardId,
        rewrites: Vec<Rewrite>,
    ) -> Result<u64, sqlx::Error> {
        if rewrites.is_empty() {
            return Ok(0);
        }
        // By key: the statement of one batch takes one key.
        let mut by_key: BTreeMap<i32, Vec<Rewrite>> = BTreeMap::new();
        for rewrite in rewrites {
            by_key.entry(rewrite.crypt_key).or_default().push(rewrite);
        }
        let mut written = 0;
        for (key, rewrites) in by_key {
            written += match self.db {
                Db::Postgres(db) => db.rewrite(tenant, shard, key, rewrites).await?,
                Db::Sqlite(_) => self.rewrite_in_transaction(tenant, shard, rewrites).await?,
            };
        }
        Ok(written)
    }

    /// SQLite has one writer at a time: a short transaction of single statements.
    async fn rewrite_in_transaction(
        &self,
        tenant: TenantId,
        shard: ShardId,
        rewrites: Vec<Rewrite>,
    ) -> Result<u64, sqlx::Error> {
        const REWRITE: &str = "UPDATE {t}.event SET body = $5, crypt_key = $6
            WHERE shard = $1 AND room = $2 AND seq = $3 AND body = $4 RETURNING 1";
        let mut transaction = self.db.begin(tenant, For::Writing).await?;
        let mut written = 0;
        for Rewrite { room, seq, old, new, crypt_key } in rewrites {
            let args = vec![
                Arg::Small(shard.0.into()),
                Arg::Id(room),
                Arg::Int(seq),
                Arg::Bytes(old),
                Arg::Bytes(new),
                Arg::Whole(crypt_key),
            ];
            written += transaction.rows(REWRITE, args).await?.len() as u64;
        }
        transaction.commit().await?;
        Ok(written)
    }
}

#[cfg(test)]
mod beside_a_server;
#[cfg(test)]
mod tests;
