//! The rows of mentions that go with an event: in its transaction, so that they are there exactly
//! when it is.

use sqlx::SqliteConnection;

use parlance_actors::vocab::event::Kind;
use parlance_actors::vocab::{RoomId, TenantId};

use super::judge;
use crate::lane::{EventRow, Written};

/// Of those who are named the accounts that there are, in the room, and not the sender. In the lobby
/// everybody is. Who is mentioned already stays so.
const MENTION: &str = "INSERT INTO mention (\"user\", room, seq, shard, sent_at)
    SELECT u.id, $2, $3, $1, $7 FROM json_each($4) n JOIN \"user\" u ON u.folded = n.value
    WHERE u.id <> $5 AND ($6 OR EXISTS (SELECT 1 FROM member m
      WHERE m.shard = $1 AND m.room = $2 AND m.\"user\" = u.id))
    ON CONFLICT (\"user\", room, seq) DO NOTHING";
/// All but those whom [`MENTION`] finds.
const UNMENTION: &str = "DELETE FROM mention WHERE shard = $1 AND room = $2 AND seq = $3
    AND \"user\" NOT IN (SELECT u.id FROM json_each($4) n JOIN \"user\" u ON u.folded = n.value
      WHERE u.id <> $5 AND ($6 OR EXISTS (SELECT 1 FROM member m
        WHERE m.shard = $1 AND m.room = $2 AND m.\"user\" = u.id)))";

/// Those of the new message at `seq`, or of the message that an edit or delete is about.
pub(super) async fn change(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    row: &EventRow,
    seq: i64,
) -> Written<()> {
    let message = match (Kind::from_number(row.kind), row.target) {
        (Some(Kind::Edit | Kind::Delete), Some(target)) => target,
        _ if row.names.is_some() => seq,
        _ => return Ok(()),
    };
    let everybody = row.room == RoomId::lobby(tenant);
    let query = |sql: &'static str| {
        sqlx::query(sql)
            .bind(i64::from(row.room.shard().0))
            .bind(row.room.0)
            .bind(message)
            .bind(row.names.as_deref().unwrap_or("[]"))
            .bind(row.sender.0)
            .bind(everybody)
    };
    if message != seq {
        query(UNMENTION).execute(&mut *connection).await.map_err(judge)?;
    }
    if row.names.is_some() {
        query(MENTION).bind(row.sent_at.0).execute(connection).await.map_err(judge)?;
    }
    Ok(())
}
