-- One batch that only adds events: fence and insert. No delete and no row of membership is among them, and the lane has
-- numbered them as if no key of theirs were in the log. If one is, the unique index over keys refuses the whole batch, and
-- append.sql takes it.
--
-- It names `event` only where it inserts, so that no more of its partitions are opened and locked than the rows go to.
--
-- $1 shards  $2 epochs  $3 turns                              one row a shard of the batch, ascending by shard
-- $4 shard   $5 room    $6 seq    $7 pos   $8 kind   $9 sender  $10 device  $11 key  $12 target  $13 thread
-- $14 enc    $15 sent_at   $16 crypt_key   $17 body           one row an event
WITH owned AS MATERIALIZED (
  SELECT f.shard, f.epoch
  FROM {g}.fence f
  JOIN unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS w(shard, epoch, turn)
    ON f.shard = w.shard AND f.epoch = w.epoch AND f.turn = w.turn
  ORDER BY f.shard
  FOR SHARE OF f                                   -- not FOR KEY SHARE: a takeover must wait for this insert
), inserted AS (
  INSERT INTO {t}.event (shard, room, seq, pos, epoch, kind, sender, device, key, target, thread, enc,
                         sent_at, crypt_key, body)
  SELECT i.shard, i.room, i.seq, i.pos, o.epoch, i.kind, i.sender, i.device, i.key, i.target, i.thread, i.enc,
         i.sent_at, i.crypt_key, i.body
  FROM unnest($4::smallint[], $5::uuid[], $6::bigint[], $7::bigint[], $8::smallint[], $9::uuid[], $10::uuid[],
              $11::uuid[], $12::bigint[], $13::bigint[], $14::boolean[], $15::bigint[], $16::integer[], $17::bytea[])
         AS i(shard, room, seq, pos, kind, sender, device, key, target, thread, enc, sent_at, crypt_key, body)
  JOIN owned o ON o.shard = i.shard                -- a shard missing from the result is fenced
)
SELECT array_agg(shard) FROM owned
