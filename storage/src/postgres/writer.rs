//! A lane's connection to PostgreSQL: the append in one statement, and the fences.
//!
//! A result counts only when it is complete: `fetch_all` returns at `ReadyForQuery`, which the
//! server sends after the commit, while rows and even `CommandComplete` may arrive before it.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use parlance_actors::ports::history::DatabaseId;
use parlance_actors::vocab::{Epoch, Pos, RoomId, Seq, ShardId, TenantId, Timestamp, Turn};

use super::append::{self, Appends, big};
use super::{LaneConnection, Primary};
use crate::lane::{Batch, Lookup, Placed, Raised, WriteError, Writer, Written};
use crate::limits;
use crate::sabotage::Sabotage;
use crate::schema::Schemas;

/// Raises what nobody holds, in the order of the shards, and waits for no row: of many fences one that
/// is held would keep the others locked meanwhile, and with them the batches of their former owners.
/// Where it raises nothing because a later owner was here it still locks the row, and so waits like
/// every commit for a synchronous standby: what is looked up afterwards is there too.
const RAISE: &str = "WITH free AS MATERIALIZED (
      SELECT f.shard, w.epoch
      FROM {g}.fence f JOIN unnest($1::smallint[], $2::bigint[]) AS w(shard, epoch) ON w.shard = f.shard
      ORDER BY f.shard
      FOR NO KEY UPDATE OF f SKIP LOCKED
    ), raised AS (
      UPDATE {g}.fence f SET
        turn = CASE WHEN f.epoch = w.epoch THEN f.turn + 1 ELSE 1 END,
        epoch = w.epoch, holder = $3
      FROM free w WHERE f.shard = w.shard AND f.epoch <= w.epoch
      RETURNING f.shard, f.turn
    ), fresh AS (
      INSERT INTO {g}.fence (shard, epoch, turn, holder)
      SELECT w.shard, w.epoch, 1, $3 FROM unnest($1::smallint[], $2::bigint[]) AS w(shard, epoch)
      WHERE NOT EXISTS (SELECT FROM {g}.fence f WHERE f.shard = w.shard)
      ORDER BY w.shard
      ON CONFLICT (shard) DO NOTHING
      RETURNING shard, turn
    )
    SELECT w.shard, r.turn FROM free w LEFT JOIN raised r ON r.shard = w.shard
    UNION ALL SELECT shard, turn FROM fresh";
const END_HOLDERS: &str = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
    WHERE a.application_name IN (SELECT f.holder FROM {g}.fence f WHERE f.shard = ANY($1::smallint[]))
      AND a.pid <> pg_backend_pid() AND a.datname = current_database()";
const LAST_POS: &str =
    "SELECT w.ord, COALESCE((SELECT max(e.pos) FROM {t}.event e WHERE e.shard = w.shard), 0)
    FROM unnest($1::smallint[]) WITH ORDINALITY AS w(shard, ord)";
const FIND: &str = "SELECT i.ord, e.seq, e.sent_at
    FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::uuid[])
         WITH ORDINALITY AS i(shard, room, sender, key, ord)
    CROSS JOIN LATERAL (SELECT e.seq, e.sent_at FROM {t}.event e
      WHERE e.shard = i.shard AND e.room = i.room AND e.sender = i.sender AND e.key = i.key
      ORDER BY e.seq LIMIT 1) e";
const HEADS: &str = "SELECT i.ord, COALESCE((SELECT max(e.seq) FROM {t}.event e
      WHERE e.shard = i.shard AND e.room = i.room), 0)
    FROM unnest($1::smallint[], $2::uuid[]) WITH ORDINALITY AS i(shard, room, ord)";

/// The error that PostgreSQL gives when `lock_timeout` ends a wait.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// One lane's connection.
#[derive(Debug)]
pub(crate) struct PostgresWriter {
    how: LaneConnection,
    schemas: Schemas,
    /// Taken while a statement runs, so that one that is dropped half-way takes it along.
    held: Option<Primary>,
    appends: HashMap<TenantId, Appends>,
    /// How many batches still look every key up before they insert.
    probes: u32,
}

impl PostgresWriter {
    pub(crate) fn new(how: LaneConnection, schemas: Schemas, sabotage: Sabotage) -> Self {
        let appends = Appends::of(&schemas, sabotage);
        Self { how, schemas, held: None, appends, probes: 0 }
    }

    fn sql(&self, tenant: TenantId, text: &str) -> Written<AssertSqlSafe<String>> {
        Ok(self.schemas.of(tenant).map_err(|e| WriteError::Refused(e.to_string()))?.sql(text))
    }

    /// The fences belong to no tenant; any schema completes their SQL.
    fn global_sql(&self, text: &str) -> Written<AssertSqlSafe<String>> {
        let (_, schema) = self.schemas.iter().next().ok_or_else(WriteError::no_connection)?;
        Ok(schema.sql(text))
    }

    /// Runs one statement with the connection, and keeps the connection unless it may be broken.
    /// On a former primary that lives on it would not break, and what is committed there would be
    /// acknowledged and lost: so nothing begins there once any connection of this process found
    /// the successor, and an answer that comes later is none.
    async fn with<T>(
        &mut self,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Written<T> {
        let mut held = self.held.take().ok_or_else(WriteError::no_connection)?;
        self.check(&held)?;
        let result = run(&mut held.connection).await.map_err(judge);
        self.check(&held)?;
        if !matches!(result, Err(WriteError::Lost(_))) {
            self.held = Some(held);
        }
        result
    }

    fn check(&self, held: &Primary) -> Written<()> {
        if self.how.servers.is_present(held.changes) {
            return Ok(());
        }
        let why = "another database took the place of the one that this lane is connected to";
        Err(WriteError::Lost(why.to_owned()))
    }

    /// Assumes that no key of the batch is in the log; [`WriteError::Collided`] if one is.
    async fn append_plain(&mut self, batch: &Batch) -> Written<Vec<Option<Placed>>> {
        let appends = self.appends(batch.tenant)?.clone();
        let numbers = batch.numbers();
        let append = match batch.changes_mentions() {
            false => append::plain(appends.plain, batch, &numbers),
            true => append::with_mentions(appends.with_mentions, batch, &numbers),
        };
        let rows: Vec<(Option<Vec<i16>>,)> =
            self.with(async |connection| append.fetch_all(connection).await).await?;
        let owned = rows.into_iter().find_map(|(owned,)| owned).unwrap_or_default();
        Ok(append::placed(batch, &numbers, &owned))
    }

    /// Looks every key up first, and does all that a batch may ask for.
    async fn append_full(&mut self, batch: &Batch) -> Written<Vec<Option<Placed>>> {
        let sql = self.appends(batch.tenant)?.full.clone();
        type Answer = (Uuid, Uuid, Uuid, i64, Option<i64>);
        let rows: Vec<Answer> = self
            .with(async |connection| append::full(sql, batch).fetch_all(connection).await)
            .await?;
        let mut placed: HashMap<(Uuid, Uuid, Uuid), Placed> = HashMap::with_capacity(rows.len());
        for (room, sender, key, seq, before) in rows {
            let place = Placed { seq: Seq(small(seq)), before: before.map(Timestamp) };
            placed.insert((room, sender, key), place);
        }
        let place = |row: &crate::lane::EventRow| {
            placed.get(&(row.room.0, row.sender.0, row.key.0)).copied()
        };
        Ok(batch.rows.iter().map(place).collect())
    }

    fn appends(&self, tenant: TenantId) -> Written<&Appends> {
        let missing = || WriteError::Refused(format!("storage has no tenant {tenant}"));
        self.appends.get(&tenant).ok_or_else(missing)
    }
}

impl Writer for PostgresWriter {
    fn fences_of(&self, _tenant: TenantId) -> TenantId {
        TenantId(0)
    }

    async fn connect(&mut self) -> Written<DatabaseId> {
        self.held = None;
        let connected = self.how.connect().await;
        let held = connected.map_err(|error| WriteError::Lost(error.to_string()))?;
        let database = held.database;
        self.held = Some(held);
        Ok(database)
    }

    async fn raise(&mut self, _: TenantId, wanted: &[(ShardId, Epoch)]) -> Written<Vec<Raised>> {
        let sql = self.global_sql(RAISE)?;
        let holder = self.how.name.clone();
        let rows: Vec<(i16, Option<i64>)> = self
            .with(async |connection| {
                sqlx::query_as(sql)
                    .bind(wanted.iter().map(|(shard, _)| i16::from(shard.0)).collect::<Vec<_>>())
                    .bind(wanted.iter().map(|(_, epoch)| big(epoch.0)).collect::<Vec<_>>())
                    .bind(holder)
                    .fetch_all(connection)
                    .await
            })
            .await?;
        let found: HashMap<i16, Option<i64>> = rows.into_iter().collect();
        let raised = |(shard, _): &(ShardId, Epoch)| match found.get(&i16::from(shard.0)) {
            Some(Some(turn)) => Raised::To(Turn(small(*turn))),
            Some(None) => Raised::Fenced,
            None => Raised::Held,
        };
        Ok(wanted.iter().map(raised).collect())
    }

    async fn end_holders(&mut self, _: TenantId, shards: &[ShardId]) -> Written<()> {
        let sql = self.global_sql(END_HOLDERS)?;
        let shards: Vec<i16> = shards.iter().map(|shard| i16::from(shard.0)).collect();
        self.with(async |connection| sqlx::query(sql).bind(shards).fetch_all(connection).await)
            .await?;
        Ok(())
    }

    async fn last_pos(&mut self, tenant: TenantId, shards: &[ShardId]) -> Written<Vec<Pos>> {
        let sql = self.sql(tenant, LAST_POS)?;
        let numbers: Vec<i16> = shards.iter().map(|shard| i16::from(shard.0)).collect();
        let rows: Vec<(i64, i64)> = self
            .with(async |connection| sqlx::query_as(sql).bind(numbers).fetch_all(connection).await)
            .await?;
        let mut last = vec![Pos(0); shards.len()];
        for (ord, pos) in rows {
            last[ordinal(ord)] = Pos(small(pos));
        }
        Ok(last)
    }

    async fn append(&mut self, batch: &Batch) -> Written<Vec<Option<Placed>>> {
        if self.probes == 0 && batch.is_plain() {
            match self.append_plain(batch).await {
                // A key that is in the log already, or a row that the lane does not know of.
                Err(WriteError::Collided(_)) => self.probes = limits::PROBES_AFTER_REPEAT,
                other => return other,
            }
        }
        self.probes = self.probes.saturating_sub(1);
        self.append_full(batch).await
    }

    async fn find(&mut self, tenant: TenantId, keys: &[Lookup]) -> Written<Vec<Option<Placed>>> {
        let sql = self.sql(tenant, FIND)?;
        let rows: Vec<(i64, i64, i64)> = self
            .with(async |connection| {
                sqlx::query_as(sql)
                    .bind(keys.iter().map(|k| i16::from(k.room.shard().0)).collect::<Vec<_>>())
                    .bind(keys.iter().map(|k| k.room.0).collect::<Vec<_>>())
                    .bind(keys.iter().map(|k| k.sender.0).collect::<Vec<_>>())
                    .bind(keys.iter().map(|k| k.key.0).collect::<Vec<_>>())
                    .fetch_all(connection)
                    .await
            })
            .await?;
        let mut found = vec![None; keys.len()];
        for (ord, seq, sent_at) in rows {
            let place = Placed { seq: Seq(small(seq)), before: Some(Timestamp(sent_at)) };
            found[ordinal(ord)] = Some(place);
        }
        Ok(found)
    }

    async fn heads(&mut self, tenant: TenantId, rooms: &[RoomId]) -> Written<Vec<Seq>> {
        let sql = self.sql(tenant, HEADS)?;
        let rows: Vec<(i64, i64)> = self
            .with(async |connection| {
                sqlx::query_as(sql)
                    .bind(rooms.iter().map(|room| i16::from(room.shard().0)).collect::<Vec<_>>())
                    .bind(rooms.iter().map(|room| room.0).collect::<Vec<_>>())
                    .fetch_all(connection)
                    .await
            })
            .await?;
        let mut heads = vec![Seq(0); rooms.len()];
        for (ord, head) in rows {
            heads[ordinal(ord)] = Seq(small(head));
        }
        Ok(heads)
    }
}

/// What an error says about the commit. Only errors that PostgreSQL raises before it, about the
/// statement itself, count as "not committed"; a session that was ended may have committed.
fn judge(error: sqlx::Error) -> WriteError {
    let why = error.to_string();
    if let sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) = error {
        return WriteError::Refused(why);
    }
    let Some(database) = error.as_database_error() else { return WriteError::Lost(why) };
    let code = database.code().unwrap_or_default().into_owned();
    match (&code[..code.len().min(2)], code.as_str()) {
        (_, "23505") => WriteError::Collided(why),
        (_, LOCK_NOT_AVAILABLE | "40001" | "40P01") => WriteError::Again(why),
        // Data, constraints, a raised exception, with check option, limits of the program.
        ("22" | "23" | "P0" | "44" | "54", _) => WriteError::Refused(why),
        _ => WriteError::Lost(why),
    }
}

fn small(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// PostgreSQL counts from one.
fn ordinal(ord: i64) -> usize {
    usize::try_from(ord - 1).expect("ordinality begins at one")
}
