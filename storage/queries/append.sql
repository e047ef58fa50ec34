-- One batch of events: fence, dedupe, numbering, insert, rows of membership and of mentions, blanking, all in one statement.
--
-- $1 shards  $2 epochs  $3 turns  $4 last pos of each        one row a shard of the batch, ascending by shard
-- $5 shard   $6 room    $7 room's head   $8 kind   $9 sender  $10 device  $11 key  $12 target  $13 thread
-- $14 enc    $15 sent_at   $16 crypt_key   $17 body           one row an event, in order
-- $18 doomed: an edit whose message is deleted later in the batch
-- $19 member  $20 role (null takes the row away)  $21 joined  of a member event, else null
-- $22 names of a message or edit, else null
-- $23 the lobby
WITH owned AS MATERIALIZED (
  SELECT f.shard, f.epoch, w.pos
  FROM {g}.fence f
  JOIN unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS w(shard, epoch, turn, pos)
    ON f.shard = w.shard AND f.epoch = w.epoch AND f.turn = w.turn
  ORDER BY f.shard
  FOR SHARE OF f                                   -- not FOR KEY SHARE: a takeover must wait for this insert
), probed AS MATERIALIZED (
  SELECT i.*, o.epoch, o.pos AS last_pos,
         (SELECT e.seq FROM {t}.event e            -- a scalar subquery: as a join this was 5 times slower
          WHERE e.shard = i.shard AND e.room = i.room AND e.sender = i.sender AND e.key = i.key) AS old_seq
  FROM unnest($5::smallint[], $6::uuid[], $7::bigint[], $8::smallint[], $9::uuid[], $10::uuid[], $11::uuid[],
              $12::bigint[], $13::bigint[], $14::boolean[], $15::bigint[], $16::integer[], $17::bytea[],
              $18::boolean[], $19::uuid[], $20::smallint[], $21::boolean[], $22::text[])
         WITH ORDINALITY AS i(shard, room, head, kind, sender, device, key, target, thread, enc, sent_at,
                              crypt_key, body, doomed, member, role, joined, names, ord)
  JOIN owned o ON o.shard = i.shard                -- a shard missing from the result is fenced
), fresh AS MATERIALIZED (
  SELECT p.*,
         p.head + row_number() OVER (PARTITION BY p.shard, p.room ORDER BY p.ord) AS seq,
         p.last_pos + row_number() OVER (PARTITION BY p.shard ORDER BY p.ord) AS pos,
         p.doomed AND EXISTS (SELECT 1 FROM probed d
                              WHERE d.old_seq IS NULL AND d.kind = 3 AND d.shard = p.shard
                                AND d.room = p.room AND d.target = p.target AND d.ord > p.ord) AS blank
  FROM probed p WHERE p.old_seq IS NULL
), inserted AS (
  INSERT INTO {t}.event (shard, room, seq, pos, epoch, kind, sender, device, key, target, thread, enc,
                         sent_at, crypt_key, body)
  SELECT shard, room, seq, pos, epoch, kind, sender, device, key, target, thread, enc, sent_at,
         CASE WHEN NOT blank THEN crypt_key END, CASE WHEN NOT blank THEN body END
  FROM fresh
  RETURNING shard, room, seq, sender, key
), blanked AS (
  UPDATE {t}.event e SET body = NULL, crypt_key = NULL
  FROM fresh d
  WHERE d.kind = 3 AND e.shard = d.shard AND e.room = d.room AND e.seq = d.target AND e.kind = 1
), blanked_edits AS (
  UPDATE {t}.event e SET body = NULL, crypt_key = NULL
  FROM fresh d
  WHERE d.kind = 3 AND e.shard = d.shard AND e.room = d.room AND e.target = d.target AND e.kind = 2
    AND e.kind IN (2, 3, 4, 5)                     -- so that the partial index serves it
), changed AS (                                    -- the last change of each member among the new rows decides
  SELECT DISTINCT ON (shard, room, member) shard, room, member, role, sent_at,
         max(CASE WHEN joined THEN sent_at END) OVER (PARTITION BY shard, room, member) AS joined_at
  FROM fresh WHERE member IS NOT NULL
  ORDER BY shard, room, member, ord DESC
), gone AS (
  DELETE FROM {t}.member m USING changed c
  WHERE c.role IS NULL AND m.shard = c.shard AND m.room = c.room AND m."user" = c.member
), joined AS (
  INSERT INTO {t}.member (shard, room, "user", role, joined_at)
  SELECT c.shard, c.room, c.member, c.role,
         COALESCE(c.joined_at, (SELECT m.joined_at FROM {t}.member m
                                WHERE m.shard = c.shard AND m.room = c.room AND m."user" = c.member), c.sent_at)
  FROM changed c WHERE c.role IS NOT NULL
  ON CONFLICT (shard, room, "user") DO UPDATE SET role = EXCLUDED.role, joined_at = EXCLUDED.joined_at
), moved AS MATERIALIZED (
  SELECT shard, room, member, role, ord FROM fresh WHERE member IS NOT NULL
), {mentions}
SELECT room, sender, key, seq, NULL::bigint AS before FROM inserted
UNION ALL
SELECT p.room, p.sender, p.key, p.old_seq,
       (SELECT e.sent_at FROM {t}.event e WHERE e.shard = p.shard AND e.room = p.room AND e.seq = p.old_seq)
FROM probed p WHERE p.old_seq IS NOT NULL
