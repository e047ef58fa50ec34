-- append_plain.sql for a batch in which something changes mentions: a message that names somebody, or an edit.
--
-- $1 shards  $2 epochs  $3 turns                              one row a shard of the batch, ascending by shard
-- $4 shard   $5 room    $6 seq    $7 pos   $8 kind   $9 sender  $10 device  $11 key  $12 target  $13 thread
-- $14 enc    $15 sent_at   $16 crypt_key   $17 body   $18 names  one row an event, in order
-- $19 the lobby
WITH owned AS MATERIALIZED (
  SELECT f.shard, f.epoch
  FROM {g}.fence f
  JOIN unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS w(shard, epoch, turn)
    ON f.shard = w.shard AND f.epoch = w.epoch AND f.turn = w.turn
  ORDER BY f.shard
  FOR SHARE OF f                                   -- not FOR KEY SHARE: a takeover must wait for this insert
), fresh AS MATERIALIZED (
  SELECT i.*, o.epoch, false AS blank
  FROM unnest($4::smallint[], $5::uuid[], $6::bigint[], $7::bigint[], $8::smallint[], $9::uuid[], $10::uuid[],
              $11::uuid[], $12::bigint[], $13::bigint[], $14::boolean[], $15::bigint[], $16::integer[], $17::bytea[],
              $18::text[])
         WITH ORDINALITY AS i(shard, room, seq, pos, kind, sender, device, key, target, thread, enc, sent_at,
                              crypt_key, body, names, ord)
  JOIN owned o ON o.shard = i.shard                -- a shard missing from the result is fenced
), inserted AS (
  INSERT INTO {t}.event (shard, room, seq, pos, epoch, kind, sender, device, key, target, thread, enc,
                         sent_at, crypt_key, body)
  SELECT shard, room, seq, pos, epoch, kind, sender, device, key, target, thread, enc, sent_at, crypt_key, body
  FROM fresh
), moved(shard, room, member, role, ord) AS (      -- nobody comes or goes in such a batch
  SELECT NULL::smallint, NULL::uuid, NULL::uuid, NULL::smallint, NULL::bigint WHERE false
), {mentions}
SELECT array_agg(shard) FROM owned
