//! A lane's writes to SQLite: the same append in one `BEGIN IMMEDIATE` transaction, which checks
//! the fence rows of the tenant's own file. What only adds events is in `plain`.

mod mentions;
mod plain;

use std::collections::HashMap;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Row as _, Sqlite};

use parlance_actors::ports::history::DatabaseId;
use parlance_actors::vocab::event::Kind;
use parlance_actors::vocab::{Epoch, Pos, RoomId, Seq, ShardId, TenantId, Timestamp, Turn};

use super::SqliteDb;
use crate::lane::{Batch, EventRow, Lookup, Placed, Raised, WriteError, Writer, Written, column};
use crate::limits;

const FENCE: &str = "SELECT 1 FROM fence WHERE shard = $1 AND epoch = $2 AND turn = $3";
const RAISE: &str = "INSERT INTO fence (shard, epoch, turn, holder) VALUES ($1, $2, 1, '')
    ON CONFLICT (shard) DO UPDATE SET
      turn = CASE WHEN fence.epoch = excluded.epoch THEN fence.turn + 1 ELSE 1 END,
      epoch = excluded.epoch
    WHERE fence.epoch <= excluded.epoch
    RETURNING turn";
const INSERT: &str = "INSERT INTO event (shard, room, seq, pos, epoch, kind, sender, device, key,
      target, thread, enc, sent_at, crypt_key, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    ON CONFLICT (shard, room, sender, key) DO NOTHING
    RETURNING seq";
const KEY: &str = "SELECT seq, sent_at FROM event
    WHERE shard = $1 AND room = $2 AND sender = $3 AND key = $4";
const BLANK: &str = "UPDATE event SET body = NULL, crypt_key = NULL
    WHERE shard = $1 AND room = $2 AND seq = $3 AND kind = 1";
const BLANK_EDITS: &str = "UPDATE event SET body = NULL, crypt_key = NULL
    WHERE shard = $1 AND room = $2 AND target = $3 AND kind = 2 AND kind IN (2, 3, 4, 5)";
const JOIN: &str = "INSERT INTO member (shard, room, \"user\", role, joined_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (shard, room, \"user\") DO UPDATE SET role = excluded.role,
      joined_at = CASE WHEN $6 THEN excluded.joined_at ELSE member.joined_at END";
const LEAVE: &str = "DELETE FROM member WHERE shard = $1 AND room = $2 AND \"user\" = $3";
const LAST_POS: &str = "SELECT COALESCE(max(pos), 0) FROM event WHERE shard = $1";
const HEAD: &str = "SELECT COALESCE(max(seq), 0) FROM event WHERE shard = $1 AND room = $2";

/// The lane of a folder of files.
#[derive(Debug)]
pub(crate) struct SqliteWriter {
    db: SqliteDb,
    /// How many batches are still written row by row, their keys looked up.
    probes: u32,
}

impl SqliteWriter {
    pub(crate) fn new(db: SqliteDb) -> Self {
        Self { db, probes: 0 }
    }

    async fn connection(&self, tenant: TenantId) -> Written<Held> {
        let file = self.db.file(tenant).map_err(|e| WriteError::Refused(e.to_string()))?;
        let connection = file.writer.acquire().await;
        Ok(Held(Some(connection.map_err(|e| WriteError::Lost(e.to_string()))?)))
    }

    /// Row by row, with all that a batch may ask for.
    async fn append_each(&self, batch: &Batch) -> Written<Vec<Option<Placed>>> {
        let mut held = self.connection(batch.tenant).await?;
        held.control("BEGIN IMMEDIATE").await?;
        let appended = append_all(held.get(), batch).await;
        match appended {
            Ok(placed) => {
                held.control("COMMIT").await.map_err(unsure)?;
                held.give_back();
                Ok(placed)
            }
            Err(error) => {
                held.roll_back().await;
                Err(error)
            }
        }
    }
}

/// The writing connection. Dropped before [`Held::give_back`], it is closed: a transaction that
/// was cut off half-way must not meet the next one.
struct Held(Option<PoolConnection<Sqlite>>);

impl Held {
    fn get(&mut self) -> &mut sqlx::SqliteConnection {
        self.0.as_mut().expect("held until it is given back")
    }

    fn give_back(mut self) {
        self.0 = None;
    }

    /// Gives it back without what was done in it.
    async fn roll_back(mut self) {
        if self.control("ROLLBACK").await.is_ok() {
            self.give_back();
        }
    }

    async fn control(&mut self, sql: &'static str) -> Written<()> {
        sqlx::raw_sql(sql).execute(self.get()).await.map_err(judge)?;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

impl Writer for SqliteWriter {
    fn fences_of(&self, tenant: TenantId) -> TenantId {
        tenant
    }

    /// A file is always the same database.
    async fn connect(&mut self) -> Written<DatabaseId> {
        for (tenant, _) in self.db.files() {
            let mut held = self.connection(tenant).await?;
            held.control("SELECT 1").await?;
            held.give_back();
        }
        Ok(DatabaseId::default())
    }

    async fn raise(
        &mut self,
        fences: TenantId,
        wanted: &[(ShardId, Epoch)],
    ) -> Written<Vec<Raised>> {
        let mut held = self.connection(fences).await?;
        held.control("BEGIN IMMEDIATE").await?;
        match raise_all(held.get(), wanted).await {
            Ok(raised) => {
                held.control("COMMIT").await.map_err(unsure)?;
                held.give_back();
                Ok(raised)
            }
            Err(error) => {
                held.roll_back().await;
                Err(error)
            }
        }
    }

    /// Nobody holds a fence for longer than the one transaction that writes.
    async fn end_holders(&mut self, _: TenantId, _: &[ShardId]) -> Written<()> {
        Ok(())
    }

    async fn last_pos(&mut self, tenant: TenantId, shards: &[ShardId]) -> Written<Vec<Pos>> {
        let mut held = self.connection(tenant).await?;
        let mut last = Vec::with_capacity(shards.len());
        for shard in shards {
            let pos: i64 = sqlx::query_scalar(LAST_POS)
                .bind(i64::from(shard.0))
                .fetch_one(held.get())
                .await
                .map_err(judge)?;
            last.push(Pos(small(pos)));
        }
        held.give_back();
        Ok(last)
    }

    async fn append(&mut self, batch: &Batch) -> Written<Vec<Option<Placed>>> {
        if self.probes == 0 && batch.is_plain() {
            let held = self.connection(batch.tenant).await?;
            match plain::append(held, batch).await {
                // A key that is in the log already, or a row that must be found.
                Err(WriteError::Collided(_) | WriteError::Refused(_)) => {
                    self.probes = limits::PROBES_AFTER_REPEAT;
                }
                other => return other,
            }
        }
        self.probes = self.probes.saturating_sub(1);
        self.append_each(batch).await
    }

    async fn find(&mut self, tenant: TenantId, keys: &[Lookup]) -> Written<Vec<Option<Placed>>> {
        let mut held = self.connection(tenant).await?;
        let mut found = Vec::with_capacity(keys.len());
        for lookup in keys {
            found.push(place_of(held.get(), lookup).await?);
        }
        held.give_back();
        Ok(found)
    }

    async fn heads(&mut self, tenant: TenantId, rooms: &[RoomId]) -> Written<Vec<Seq>> {
        let mut held = self.connection(tenant).await?;
        let mut heads = Vec::with_capacity(rooms.len());
        for room in rooms {
            let head: i64 = sqlx::query_scalar(HEAD)
                .bind(i64::from(room.shard().0))
                .bind(room.0)
                .fetch_one(held.get())
                .await
                .map_err(judge)?;
            heads.push(Seq(small(head)));
        }
        held.give_back();
        Ok(heads)
    }
}

/// Whatever a commit says, only looking tells.
fn unsure(error: WriteError) -> WriteError {
    match error {
        WriteError::Again(why) | WriteError::Refused(why) => WriteError::Lost(why),
        other => other,
    }
}

/// Where a shard's stream stands inside the transaction; `None` when another has its fence.
type Streams = HashMap<ShardId, (Epoch, Option<i64>)>;

async fn raise_all(
    connection: &mut sqlx::SqliteConnection,
    wanted: &[(ShardId, Epoch)],
) -> Written<Vec<Raised>> {
    let mut raised = Vec::with_capacity(wanted.len());
    for (shard, epoch) in wanted {
        let rows = sqlx::query(RAISE)
            .bind(i64::from(shard.0))
            .bind(big(epoch.0))
            .fetch_all(&mut *connection)
            .await
            .map_err(judge)?;
        raised.push(match rows.first() {
            Some(row) => Raised::To(Turn(small(row.try_get(0).map_err(judge)?))),
            None => Raised::Fenced,
        });
    }
    Ok(raised)
}

async fn append_all(
    connection: &mut sqlx::SqliteConnection,
    batch: &Batch,
) -> Written<Vec<Option<Placed>>> {
    let mut streams = Streams::new();
    for claim in &batch.claims {
        let ours = sqlx::query(FENCE)
            .bind(i64::from(claim.shard.0))
            .bind(big(claim.epoch.0))
            .bind(big(claim.turn.0))
            .fetch_optional(&mut *connection)
            .await
            .map_err(judge)?
            .is_some();
        streams.insert(claim.shard, (claim.epoch, ours.then_some(big(claim.pos.0))));
    }
    let mut heads: HashMap<RoomId, i64> = HashMap::new();
    let mut placed = Vec::with_capacity(batch.rows.len());
    for row in &batch.rows {
        let stream = streams.get_mut(&row.room.shard()).expect("a claim for each shard");
        let (epoch, Some(pos)) = stream else {
            placed.push(None);
            continue;
        };
        let head = heads.entry(row.room).or_insert_with(|| column(row.head));
        if insert(connection, row, *head + 1, *pos + 1, *epoch).await? {
            *head += 1;
            *pos += 1;
            consequences(connection, row).await?;
            mentions::change(connection, batch.tenant, row, *head).await?;
            placed.push(Some(Placed { seq: Seq(small(*head)), before: None }));
        } else {
            let lookup = Lookup { room: row.room, sender: row.sender, key: row.key };
            let before = place_of(connection, &lookup).await?;
            let missing = || WriteError::Collided("a key vanished in mid-transaction".to_owned());
            placed.push(Some(before.ok_or_else(missing)?));
        }
    }
    Ok(placed)
}

/// Whether the row went in; otherwise its key was there.
async fn insert(
    connection: &mut sqlx::SqliteConnection,
    row: &EventRow,
    seq: i64,
    pos: i64,
    epoch: Epoch,
) -> Written<bool> {
    let inserted = sqlx::query(INSERT)
        .bind(i64::from(row.room.shard().0))
        .bind(row.room.0)
        .bind(seq)
        .bind(pos)
        .bind(big(epoch.0))
        .bind(i64::from(row.kind))
        .bind(row.sender.0)
        .bind(row.device)
        .bind(row.key.0)
        .bind(row.target)
        .bind(row.thread)
        .bind(row.enc)
        .bind(row.sent_at.0)
        .bind(row.crypt_key)
        .bind(row.body.as_deref())
        .fetch_all(connection)
        .await
        .map_err(judge)?;
    Ok(!inserted.is_empty())
}

/// The blanking of a delete, the row of a member event. Edits that were inserted earlier in this
/// transaction are seen, so `doomed` is not needed here.
async fn consequences(connection: &mut sqlx::SqliteConnection, row: &EventRow) -> Written<()> {
    let shard = i64::from(row.room.shard().0);
    if row.kind == Kind::Delete.number() {
        for sql in [BLANK, BLANK_EDITS] {
            sqlx::query(AssertSqlSafe(sql))
                .bind(shard)
                .bind(row.room.0)
                .bind(row.target)
                .execute(&mut *connection)
                .await
                .map_err(judge)?;
        }
    }
    let Some(member) = row.member else { return Ok(()) };
    let change = match member.role {
        Some(role) => sqlx::query(JOIN)
            .bind(shard)
            .bind(row.room.0)
            .bind(member.user.0)
            .bind(i64::from(role))
            .bind(row.sent_at.0)
            .bind(member.joined),
        None => sqlx::query(LEAVE).bind(shard).bind(row.room.0).bind(member.user.0),
    };
    change.execute(connection).await.map_err(judge)?;
    Ok(())
}

async fn place_of(
    connection: &mut sqlx::SqliteConnection,
    lookup: &Lookup,
) -> Written<Option<Placed>> {
    let row: Option<(i64, i64)> = sqlx::query_as(KEY)
        .bind(i64::from(lookup.room.shard().0))
        .bind(lookup.room.0)
        .bind(lookup.sender.0)
        .bind(lookup.key.0)
        .fetch_optional(connection)
        .await
        .map_err(judge)?;
    Ok(row.map(|(seq, at)| Placed { seq: Seq(small(seq)), before: Some(Timestamp(at)) }))
}

/// What an error before the commit says. Nothing is committed before `COMMIT`, so all but the
/// loss of the file or the connection is known.
fn judge(error: sqlx::Error) -> WriteError {
    let why = error.to_string();
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => WriteError::Refused(why),
            _ => WriteError::Lost(why),
        };
    };
    if database.is_unique_violation() {
        return WriteError::Collided(why);
    }
    // The primary result code is the low byte of the extended one.
    let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
    match code & 0xff {
        5 | 6 => WriteError::Again(why),
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH.
        18..=20 => WriteError::Refused(why),
        _ => WriteError::Lost(why),
    }
}

fn big(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn small(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
