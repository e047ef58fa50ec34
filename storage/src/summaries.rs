//! What a list of rooms tells a user of each: where the log stands, what is unread. One statement
//! for a page of rooms, the same on both databases.
//!
//! Its work is bounded: for each room some look-ups in primary keys, and a walk along `seq` from the
//! read mark, or from [`limits::UNREAD_EVENTS_MAX`] events before the head where that is later, to
//! the first [`limits::UNREAD_MAX`] unread messages; and one along the user's own rows of mentions.

use std::collections::HashMap;

use parlance_actors::limits;
use parlance_actors::ports::HistoryError;
use parlance_actors::ports::members::Summary;
use parlance_actors::vocab::{Role, RoomId, Seq, TenantId, Timestamp, UserId};
use uuid::Uuid;

use crate::error::read_failed;
use crate::sql::{Arg, Db, For, Row};

/// `$1` is the user, `$2` and `$3` the bounds; the rooms follow. Head and mark are found first and
/// by themselves, because both are used more than once.
const MARKED: &str = "marked AS MATERIALIZED (
      SELECT a.room, a.shard,
        COALESCE((SELECT r.seq FROM {t}.read_mark r WHERE r.\"user\" = $1 AND r.room = a.room), 0)
          AS mark,
        COALESCE((SELECT max(e.seq) FROM {t}.event e WHERE e.shard = a.shard AND e.room = a.room), 0)
          AS head
      FROM asked a)
    SELECT m.room, m.mark, m.head,
      (SELECT e.sent_at FROM {t}.event e
       WHERE e.shard = m.shard AND e.room = m.room AND e.seq = m.head),
      (SELECT count(*) FROM (
         SELECT 1 FROM {t}.event e
         WHERE e.shard = m.shard AND e.room = m.room
           AND e.seq > CASE WHEN m.head - $2 > m.mark THEN m.head - $2 ELSE m.mark END
           AND e.kind = 1 AND e.sender <> $1 AND e.body IS NOT NULL
         LIMIT $3) n),
      (SELECT o.\"user\" FROM {t}.member o
       WHERE o.shard = m.shard AND o.room = m.room AND o.\"user\" <> $1
       ORDER BY o.\"user\" LIMIT 1),
      (SELECT o.role FROM {t}.member o
       WHERE o.shard = m.shard AND o.room = m.room AND o.\"user\" = $1),
      (SELECT count(*) FROM (
         SELECT 1 FROM {t}.mention s
         WHERE s.\"user\" = $1 AND s.room = m.room AND s.seq > m.mark
         LIMIT $3) n)
    FROM marked m";
const SIZES: &str = "SELECT a.room, (SELECT count(*) FROM (
      SELECT 1 FROM {t}.member m WHERE m.shard = a.shard AND m.room = a.room LIMIT $1) n)
    FROM asked a";

/// The rooms as a table, `asked`. Lists have lengths that are powers of two, filled up with a room
/// that nobody has, so that there are few statements to prepare.
pub(crate) fn asked(first: usize, rooms: &[RoomId], args: &mut Vec<Arg>) -> String {
    let length = rooms.len().next_power_of_two();
    let nobodys = RoomId(Uuid::nil());
    for room in rooms.iter().chain(std::iter::repeat(&nobodys)).take(length) {
        args.extend([Arg::Id(room.0), Arg::Small(i16::from(room.shard().0))]);
    }
    let row = |place: usize| format!("(${}, ${})", first + 2 * place, first + 2 * place + 1);
    let rows: Vec<String> = (0..length).map(row).collect();
    format!("WITH asked(room, shard) AS (VALUES {})", rows.join(", "))
}

/// In the order of `rooms`.
pub(crate) async fn read(
    db: &Db,
    tenant: TenantId,
    user: UserId,
    rooms: &[RoomId],
) -> Result<Vec<Summary>, HistoryError> {
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let bound = i64::try_from(limits::UNREAD_EVENTS_MAX).expect("a small bound");
    let mut args = vec![Arg::Id(user.0), Arg::Int(bound), Arg::Int(i64::from(limits::UNREAD_MAX))];
    let sql = format!("{}, {MARKED}", asked(args.len() + 1, rooms, &mut args));
    let rows = db.rows(tenant, For::Deciding, &sql, args).await.map_err(read_failed)?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let (room, summary) = summary(row).map_err(read_failed)?;
        found.insert(room, summary);
    }
    Ok(rooms.iter().map(|room| found.get(room).copied().unwrap_or_default()).collect())
}

/// How many members each room has, counted to the bound, in the order of `rooms`.
pub(crate) async fn sizes(
    db: &Db,
    tenant: TenantId,
    rooms: &[RoomId],
) -> Result<Vec<u32>, HistoryError> {
    if rooms.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = vec![Arg::Int(i64::from(limits::MEMBERS_COUNTED_MAX))];
    let sql = format!("{} {SIZES}", asked(args.len() + 1, rooms, &mut args));
    let rows = db.rows(tenant, For::Deciding, &sql, args).await.map_err(read_failed)?;
    let size = |row: &Row| Ok((RoomId(row.id(0)?), u32::try_from(row.int(1)?).unwrap_or(u32::MAX)));
    let found: Result<HashMap<RoomId, u32>, sqlx::Error> = rows.iter().map(size).collect();
    let found = found.map_err(read_failed)?;
    Ok(rooms.iter().map(|room| found.get(room).copied().unwrap_or_default()).collect())
}

fn summary(row: &Row) -> Result<(RoomId, Summary), sqlx::Error> {
    let seq = |value: i64| Seq(u64::try_from(value).unwrap_or_default());
    let summary = Summary {
        role: row.maybe_small(6)?.and_then(Role::from_number),
        read: seq(row.int(1)?),
        head: seq(row.int(2)?),
        last_at: row.maybe_int(3)?.map(Timestamp),
        unread: u16::try_from(row.int(4)?).unwrap_or(limits::UNREAD_MAX),
        mentions: u16::try_from(row.int(7)?).unwrap_or(limits::UNREAD_MAX),
        other: row.maybe_id(5)?.map(UserId),
    };
    Ok((RoomId(row.id(0)?), summary))
}
