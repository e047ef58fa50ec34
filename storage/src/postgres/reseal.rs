//! The statement by which bodies get another key on PostgreSQL. What to rewrite is decided in
//! [`mod@crate::reseal`].

use parlance_actors::vocab::{ShardId, TenantId};
use uuid::Uuid;

use super::PostgresDb;
use crate::reseal::Rewrite;

/// One statement and so one short transaction. It locks only rows that are free and never
/// waits while it holds one: it cannot deadlock with the batches of lanes. A row that a delete
/// blanked in the meantime has another body and stays blank.
const REWRITE: &str = "WITH item AS MATERIALIZED (
      SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[])
        AS i(room, seq, old, new)
    ), held AS MATERIALIZED (
      SELECT e.room, e.seq FROM {t}.event e
      JOIN item i ON e.room = i.room AND e.seq = i.seq AND e.body = i.old
      WHERE e.shard = $1 FOR UPDATE OF e SKIP LOCKED
    )
    UPDATE {t}.event e SET body = i.new, crypt_key = $6
    FROM item i JOIN held h ON h.room = i.room AND h.seq = i.seq
    WHERE e.shard = $1 AND e.room = i.room AND e.seq = i.seq AND e.body = i.old";

impl PostgresDb {
    /// Rewrites the bodies that are still what they were; gives how many.
    pub(crate) async fn rewrite(
        &self,
        tenant: TenantId,
        shard: ShardId,
        key: i32,
        rewrites: Vec<Rewrite>,
    ) -> Result<u64, sqlx::Error> {
        let (mut rooms, mut seqs): (Vec<Uuid>, Vec<i64>) = (Vec::new(), Vec::new());
        let (mut olds, mut news): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for Rewrite { room, seq, old, new, .. } in rewrites {
            rooms.push(room);
            seqs.push(seq);
            olds.push(old);
            news.push(new);
        }
        let written = sqlx::query(self.schemas.of(tenant)?.sql(REWRITE))
            .bind(i16::from(shard.0))
            .bind(rooms)
            .bind(seqs)
            .bind(olds)
            .bind(news)
            .bind(key)
            .execute(&self.primary)
            .await?;
        Ok(written.rows_affected())
    }
}
