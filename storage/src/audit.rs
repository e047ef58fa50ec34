//! The audit: proves the order of every log from the database alone, whoever wrote it.

use std::fmt;

use parlance_actors::vocab::{Epoch, Key, Pos, RoomId, Seq, ShardId, TenantId, UserId};
use sqlx::Row as _;

use crate::StorageConfig;
use crate::error::StorageError;
use crate::limits;
use crate::postgres::{self, PostgresDb};
use crate::sql::{Arg, Db, For, Row};
use crate::sqlite::{self, SqliteDb};

/// A promise that the stored history breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The tenant, by the name of its schema or file.
    pub tenant: String,
    /// The shard.
    pub shard: ShardId,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An event was written under an older epoch than the one before it: two owners at once.
    EpochWentBack {
        /// The room.
        room: RoomId,
        /// The later event.
        seq: Seq,
        /// Its epoch.
        epoch: Epoch,
        /// The epoch of the event before.
        before: Epoch,
    },
    /// An event was written under an epoch that its shard's fence has not reached.
    EpochAboveFence {
        /// The room.
        room: RoomId,
        /// The event.
        seq: Seq,
        /// Its epoch.
        epoch: Epoch,
    },
    /// A room's log does not go on by one here, or does not begin at one.
    HoleInLog {
        /// The room.
        room: RoomId,
        /// The event.
        seq: Seq,
        /// The one before; 0 at the beginning.
        before: Seq,
    },
    /// A shard's stream does not go on by one here, or does not begin at one.
    HoleInStream {
        /// The event's place.
        pos: Pos,
        /// The one before; 0 at the beginning.
        before: Pos,
    },
    /// A key is in a log more than once.
    KeyTwice {
        /// The room.
        room: RoomId,
        /// The sender.
        sender: UserId,
        /// The key.
        key: Key,
        /// How often.
        times: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant {}, shard {}: ", self.tenant, self.shard)?;
        match &self.fault {
            Fault::EpochWentBack { room, seq, epoch, before } => {
                write!(f, "room {room}: epoch {epoch} at seq {seq} follows epoch {before}")
            }
            Fault::EpochAboveFence { room, seq, epoch } => {
                write!(f, "room {room}: epoch {epoch} at seq {seq} is above the shard's fence")
            }
            Fault::HoleInLog { room, seq, before } => {
                write!(f, "room {room}: seq {seq} follows {before}")
            }
            Fault::HoleInStream { pos, before } => write!(f, "pos {pos} follows {before}"),
            Fault::KeyTwice { room, sender, key, times } => {
                write!(f, "room {room}: key {key} of {sender} is there {times} times")
            }
        }
    }
}

type Read = fn(&Row) -> Result<Fault, sqlx::Error>;

const EPOCHS: &str = "SELECT shard, room, seq, epoch, before FROM (
      SELECT e.*, lag(epoch) OVER (PARTITION BY shard, room ORDER BY seq) AS before
      FROM {t}.event e) e
    WHERE epoch < before LIMIT $1";
const ABOVE: &str = "SELECT e.shard, e.room, e.seq, e.epoch
    FROM {t}.event e LEFT JOIN {g}.fence f ON f.shard = e.shard
    WHERE e.epoch > COALESCE(f.epoch, -1) LIMIT $1";
const SEQS: &str = "SELECT shard, room, seq, COALESCE(before, 0) FROM (
      SELECT e.*, lag(seq) OVER (PARTITION BY shard, room ORDER BY seq) AS before
      FROM {t}.event e) e
    WHERE seq <> COALESCE(before, 0) + 1 LIMIT $1";
const POSITIONS: &str = "SELECT shard, pos, COALESCE(before, 0) FROM (
      SELECT e.shard, e.pos, lag(pos) OVER (PARTITION BY shard ORDER BY pos) AS before
      FROM {t}.event e) e
    WHERE pos <> COALESCE(before, 0) + 1 LIMIT $1";
const KEYS: &str = "SELECT shard, room, sender, key, count(*) FROM {t}.event
    GROUP BY shard, room, sender, key HAVING count(*) > 1 LIMIT $1";

const CHECKS: [(&str, Read); 5] = [
    (EPOCHS, |row| {
        Ok(Fault::EpochWentBack {
            room: RoomId(row.id(1)?),
            seq: Seq(number(row, 2)?),
            epoch: Epoch(number(row, 3)?),
            before: Epoch(number(row, 4)?),
        })
    }),
    (ABOVE, |row| {
        Ok(Fault::EpochAboveFence {
            room: RoomId(row.id(1)?),
            seq: Seq(number(row, 2)?),
            epoch: Epoch(number(row, 3)?),
        })
    }),
    (SEQS, |row| {
        Ok(Fault::HoleInLog {
            room: RoomId(row.id(1)?),
            seq: Seq(number(row, 2)?),
            before: Seq(number(row, 3)?),
        })
    }),
    (POSITIONS, |row| {
        Ok(Fault::HoleInStream { pos: Pos(number(row, 1)?), before: Pos(number(row, 2)?) })
    }),
    (KEYS, |row| {
        Ok(Fault::KeyTwice {
            room: RoomId(row.id(1)?),
            sender: UserId(row.id(2)?),
            key: Key(row.id(3)?),
            times: number(row, 4)?,
        })
    }),
];

fn number(row: &Row, place: usize) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.int(place)?).unwrap_or_default())
}

/// Audits every tenant of a database; an empty list is the proof. Reads the whole history, and
/// gives at most [`limits::AUDIT_FAULTS_MAX`] violations of each kind and tenant.
///
/// # Errors
/// [`StorageError`]; then nothing is proven.
pub async fn audit(url: &str) -> Result<Vec<Violation>, StorageError> {
    let mut config = StorageConfig::new(url);
    let names = if config.is_postgres()? { schemas(url).await? } else { sqlite::names(url)? };
    config.tenants = (1..).map(TenantId).zip(names).collect();
    let db = if config.is_postgres()? {
        Db::Postgres(PostgresDb::open(&config).await?)
    } else {
        Db::Sqlite(SqliteDb::open(&config).await?)
    };
    let found = audit_tenants(&db, &config.tenants).await;
    match db {
        Db::Postgres(db) => db.close().await,
        Db::Sqlite(db) => db.close().await,
    }
    found
}

pub(crate) async fn audit_tenants(
    db: &Db,
    tenants: &[(TenantId, String)],
) -> Result<Vec<Violation>, StorageError> {
    let mut violations = Vec::new();
    for (tenant, name) in tenants {
        for (sql, read) in CHECKS {
            let failed = || StorageError::during(format!("auditing the tenant {name}"));
            let args = vec![Arg::Int(limits::AUDIT_FAULTS_MAX)];
            let rows = db.rows(*tenant, For::Scanning, sql, args).await.map_err(failed())?;
            for row in rows {
                let shard = u8::try_from(row.small(0).map_err(failed())?).unwrap_or_default();
                let fault = read(&row).map_err(failed())?;
                let violation = Violation { tenant: name.clone(), shard: ShardId(shard), fault };
                violations.push(violation);
            }
        }
    }
    Ok(violations)
}

/// The tenants' schemas, by the record of migrations.
async fn schemas(url: &str) -> Result<Vec<String>, StorageError> {
    let sql = "SELECT DISTINCT scope FROM parlance.migration WHERE scope <> 'parlance'";
    let mut connection = postgres::connect(url).await?;
    let rows = sqlx::query(sql).fetch_all(&mut connection).await;
    let rows = rows.map_err(StorageError::during("looking for tenants"))?;
    let names: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    names.map_err(StorageError::during("looking for tenants"))
}
