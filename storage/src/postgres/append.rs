//! The statements that append a batch, with their arrays. Which of them is run, and what an
//! error means, is the writer's.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgBindIterExt as _, PgRow};
use sqlx::{AssertSqlSafe, FromRow, Postgres, SqlSafeStr as _, SqlStr};

use parlance_actors::vocab::{Pos, RoomId, Seq, TenantId};

use crate::lane::{Batch, EventRow, Placed, column};
use crate::sabotage::Sabotage;
use crate::schema::{Schema, Schemas};

/// Whatever a batch holds.
const FULL: &str = include_str!("../../queries/append.sql");
/// A batch that only adds events.
const PLAIN: &str = include_str!("../../queries/append_plain.sql");
/// One that adds events and changes mentions.
const WITH_MENTIONS: &str = include_str!("../../queries/append_mentions.sql");
/// What it and the full one have in common.
const MENTIONS: &str = include_str!("../../queries/mentions.sql");

type Answers<'q, T> = sqlx::query::QueryAs<'q, Postgres, T, PgArguments>;

/// The statements of one tenant, complete.
#[derive(Debug, Clone)]
pub(super) struct Appends {
    pub(super) full: SqlStr,
    pub(super) plain: SqlStr,
    pub(super) with_mentions: SqlStr,
}

impl Appends {
    /// Those of every tenant.
    pub(super) fn of(schemas: &Schemas, sabotage: Sabotage) -> HashMap<TenantId, Self> {
        let complete = |schema: &Schema, text, lobby| {
            let sql = schema.sql(&whole(&sabotage.of_append(text), lobby)).0;
            AssertSqlSafe(Arc::<str>::from(bare(&sql))).into_sql_str()
        };
        let of = |schema| Self {
            full: complete(schema, FULL, "$23"),
            plain: complete(schema, PLAIN, ""),
            with_mentions: complete(schema, WITH_MENTIONS, "$19"),
        };
        schemas.iter().map(|(tenant, schema)| (tenant, of(schema))).collect()
    }
}

/// A statement with the part for mentions, if it has one; `lobby` is its parameter.
fn whole(sql: &str, lobby: &str) -> String {
    sql.replace("{mentions}", &MENTIONS.replace("{lobby}", lobby))
}

/// A statement without its comments and margins: every run looks it up by its text.
fn bare(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What became of a plain batch, from the shards whose fences were ours.
pub(super) fn placed(batch: &Batch, numbers: &[(Seq, Pos)], owned: &[i16]) -> Vec<Option<Placed>> {
    let place = |(row, (seq, _)): (&EventRow, &(Seq, Pos))| {
        let ours = owned.contains(&i16::from(row.room.shard().0));
        ours.then_some(Placed { seq: *seq, before: None })
    };
    batch.rows.iter().zip(numbers).map(place).collect()
}

/// [`PLAIN`] with its arrays.
pub(super) fn plain<'q, T>(
    sql: SqlStr,
    batch: &'q Batch,
    numbers: &'q [(Seq, Pos)],
) -> Answers<'q, T>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let (claims, rows) = (&batch.claims, &batch.rows);
    sqlx::query_as(sql)
        .bind(claims.iter().map(|c| i16::from(c.shard.0)).bind_iter())
        .bind(claims.iter().map(|c| big(c.epoch.0)).bind_iter())
        .bind(claims.iter().map(|c| big(c.turn.0)).bind_iter())
        .bind(rows.iter().map(|r| i16::from(r.room.shard().0)).bind_iter())
        .bind(rows.iter().map(|r| r.room.0).bind_iter())
        .bind(numbers.iter().map(|(seq, _)| column(*seq)).bind_iter())
        .bind(numbers.iter().map(|(_, pos)| big(pos.0)).bind_iter())
        .bind(rows.iter().map(|r| r.kind).bind_iter())
        .bind(rows.iter().map(|r| r.sender.0).bind_iter())
        .bind(rows.iter().map(|r| r.device).bind_iter())
        .bind(rows.iter().map(|r| r.key.0).bind_iter())
        .bind(rows.iter().map(|r| r.target).bind_iter())
        .bind(rows.iter().map(|r| r.thread).bind_iter())
        .bind(rows.iter().map(|r| r.enc).bind_iter())
        .bind(rows.iter().map(|r| r.sent_at.0).bind_iter())
        .bind(rows.iter().map(|r| r.crypt_key).bind_iter())
        .bind(rows.iter().map(|r| r.body.as_deref()).bind_iter())
}

/// [`WITH_MENTIONS`] with its arrays.
pub(super) fn with_mentions<'q, T>(
    sql: SqlStr,
    batch: &'q Batch,
    numbers: &'q [(Seq, Pos)],
) -> Answers<'q, T>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    plain(sql, batch, numbers)
        .bind(batch.rows.iter().map(|r| r.names.as_deref()).bind_iter())
        .bind(RoomId::lobby(batch.tenant).0)
}

/// [`FULL`] with its arrays.
pub(super) fn full<'q, T>(sql: SqlStr, batch: &'q Batch) -> Answers<'q, T>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let (claims, rows) = (&batch.claims, &batch.rows);
    sqlx::query_as(sql)
        .bind(claims.iter().map(|c| i16::from(c.shard.0)).bind_iter())
        .bind(claims.iter().map(|c| big(c.epoch.0)).bind_iter())
        .bind(claims.iter().map(|c| big(c.turn.0)).bind_iter())
        .bind(claims.iter().map(|c| big(c.pos.0)).bind_iter())
        .bind(rows.iter().map(|r| i16::from(r.room.shard().0)).bind_iter())
        .bind(rows.iter().map(|r| r.room.0).bind_iter())
        .bind(rows.iter().map(|r| column(r.head)).bind_iter())
        .bind(rows.iter().map(|r| r.kind).bind_iter())
        .bind(rows.iter().map(|r| r.sender.0).bind_iter())
        .bind(rows.iter().map(|r| r.device).bind_iter())
        .bind(rows.iter().map(|r| r.key.0).bind_iter())
        .bind(rows.iter().map(|r| r.target).bind_iter())
        .bind(rows.iter().map(|r| r.thread).bind_iter())
        .bind(rows.iter().map(|r| r.enc).bind_iter())
        .bind(rows.iter().map(|r| r.sent_at.0).bind_iter())
        .bind(rows.iter().map(|r| r.crypt_key).bind_iter())
        .bind(rows.iter().map(|r| r.body.as_deref()).bind_iter())
        .bind(rows.iter().map(|r| r.doomed).bind_iter())
        .bind(rows.iter().map(|r| r.member.map(|m| m.user.0)).bind_iter())
        .bind(rows.iter().map(|r| r.member.and_then(|m| m.role)).bind_iter())
        .bind(rows.iter().map(|r| r.member.is_some_and(|m| m.joined)).bind_iter())
        .bind(rows.iter().map(|r| r.names.as_deref()).bind_iter())
        .bind(RoomId::lobby(batch.tenant).0)
}

/// Encodes a batch's arrays as the plain append does, and tells how many there are. For measurements.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn encoded_arguments(batch: &Batch, numbers: &[(Seq, Pos)]) -> usize {
    use sqlx::Execute as _;
    let mut append = plain::<(i64,)>(AssertSqlSafe(String::new()).into_sql_str(), batch, numbers);
    let arguments = append.take_arguments().expect("they can be encoded").expect("it has some");
    sqlx::Arguments::len(&arguments)
}

/// A number as the database keeps it. One that nothing can reach stays one.
pub(super) fn big(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_loses_its_comments_and_nothing_else() {
        assert_eq!(bare("-- a\n  SELECT 1, -- one\n\n    2\n"), "SELECT 1,\n2");
        // The bare form knows neither strings nor quoted names with two dashes in them.
        for text in [FULL, PLAIN, WITH_MENTIONS] {
            let text = bare(&whole(text, "$1"));
            assert!(!text.contains("--"));
            assert!(!text.contains('\''), "a string in a statement");
        }
    }
}
