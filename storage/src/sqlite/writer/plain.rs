//! A batch that only adds events, in two commands to SQLite's thread: one begins and reads the
//! fences, one inserts every row and commits. Each command costs two wake-ups, more than a row does.
//! Between them goes what changes mentions, event by event: it does not need the events' rows.

use std::sync::{Arc, OnceLock};

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _, SqlStr, Sqlite};

use parlance_actors::limits as domain;
use parlance_actors::vocab::{Pos, Seq};

use super::{Held, big, judge, mentions, unsure};
use crate::lane::{Batch, Claim, EventRow, Placed, WriteError, Written, column};

const BEGIN: &str = "BEGIN IMMEDIATE;
    SELECT shard, epoch, turn FROM fence WHERE shard IN (SELECT value FROM json_each($1))";
/// `OR FAIL`: a row that is refused ends the statement and leaves the rows before it, which the
/// rollback of the transaction takes away. Otherwise SQLite would keep a journal of the statement
/// itself, a copy of every page in a file.
const INSERT: &str =
    "INSERT OR FAIL INTO event (shard, room, seq, pos, epoch, kind, sender, device, key,
      target, thread, enc, sent_at, crypt_key, body)
    SELECT * FROM (VALUES ";
const ROW: &str = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
/// Rows beyond the batch's are all null.
const END: &str = ") WHERE column1 IS NOT NULL; COMMIT";

/// Row counts that have a statement: powers of two up to the largest batch.
const SIZES: usize = domain::LANE_BATCH_EVENTS_MAX.ilog2() as usize + 1;
const _: () = assert!(domain::LANE_BATCH_EVENTS_MAX.is_power_of_two());

/// Appends it, assuming that no key of it is in the log: otherwise [`WriteError::Collided`], and
/// nothing was changed.
pub(super) async fn append(mut held: Held, batch: &Batch) -> Written<Vec<Option<Placed>>> {
    let shards: Vec<String> = batch.claims.iter().map(|c| c.shard.0.to_string()).collect();
    let begin = sqlx::query(BEGIN).bind(format!("[{}]", shards.join(",")));
    let fences = match begin.fetch_all(held.get()).await.and_then(|rows| {
        let read =
            |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        rows.iter().map(read).collect::<Result<Vec<(i64, i64, i64)>, sqlx::Error>>()
    }) {
        Ok(fences) => fences,
        Err(error) => {
            held.roll_back().await;
            return Err(judge(error));
        }
    };
    let ours = |claim: &Claim| {
        fences.contains(&(i64::from(claim.shard.0), big(claim.epoch.0), big(claim.turn.0)))
    };
    let owned: Vec<&Claim> = batch.claims.iter().filter(|claim| ours(claim)).collect();
    let numbers = batch.numbers();
    let rows: Vec<(&EventRow, &(Seq, Pos), &Claim)> = batch
        .rows
        .iter()
        .zip(&numbers)
        .filter_map(|(row, number)| {
            let claim = owned.iter().find(|claim| claim.shard == row.room.shard())?;
            Some((row, number, *claim))
        })
        .collect();
    if rows.is_empty() {
        held.roll_back().await;
        return Ok(vec![None; batch.rows.len()]);
    }
    for (row, (seq, _), _) in &rows {
        if let Err(error) = mentions::change(held.get(), batch.tenant, row, column(*seq)).await {
            held.roll_back().await;
            return Err(error);
        }
    }
    match insert(&rows).execute(held.get()).await.map_err(judge) {
        Ok(_) => held.give_back(),
        // Only an insert says so: nothing is committed.
        Err(error @ (WriteError::Collided(_) | WriteError::Refused(_))) => {
            held.roll_back().await;
            return Err(error);
        }
        Err(error) => return Err(unsure(error)),
    }
    let place = |(row, (seq, _)): (&EventRow, &(Seq, Pos))| {
        let shard = row.room.shard();
        let ours = owned.iter().any(|claim| claim.shard == shard);
        ours.then_some(Placed { seq: *seq, before: None })
    };
    Ok(batch.rows.iter().zip(&numbers).map(place).collect())
}

fn insert<'q>(
    rows: &[(&'q EventRow, &(Seq, Pos), &Claim)],
) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(statement(rows.len()));
    for (row, (seq, pos), claim) in rows {
        query = query
            .bind(i64::from(claim.shard.0))
            .bind(row.room.0)
            .bind(column(*seq))
            .bind(big(pos.0))
            .bind(big(claim.epoch.0))
            .bind(i64::from(row.kind))
            .bind(row.sender.0)
            .bind(row.device)
            .bind(row.key.0)
            .bind(row.target)
            .bind(row.thread)
            .bind(row.enc)
            .bind(row.sent_at.0)
            .bind(row.crypt_key)
            .bind(row.body.as_deref());
    }
    query
}

/// The insert of at least so many rows; what is not bound is null.
fn statement(rows: usize) -> SqlStr {
    static STATEMENTS: [OnceLock<SqlStr>; SIZES] = [const { OnceLock::new() }; SIZES];
    let rows = rows.next_power_of_two();
    let made = STATEMENTS[rows.ilog2() as usize].get_or_init(|| {
        let text = format!("{INSERT}{}{END}", vec![ROW; rows].join(","));
        AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
    });
    made.clone()
}
