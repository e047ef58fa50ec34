-- The rows of mentions that go with a batch: a part of append.sql and of append_mentions.sql.
--
-- It needs `fresh`, the events that go in (shard, room, seq, kind, sender, target, sent_at, names, blank, ord), and `moved`,
-- the changes of members among them (shard, room, member, role, ord).
-- names: the folded names that a message or edit mentions, as a JSON array of texts; null for none
-- {lobby}: a room in which everyone is, without a row
spoken AS MATERIALIZED (                           -- a mention is at its message, whose last edit decides
  SELECT DISTINCT ON (shard, room, place) shard, room, place, sender, sent_at, names, ord
  FROM (SELECT f.*, CASE f.kind WHEN 2 THEN f.target ELSE f.seq END AS place
        FROM fresh f WHERE (f.kind = 2 OR f.names IS NOT NULL) AND NOT f.blank) f
  ORDER BY shard, room, place, ord DESC
), named AS MATERIALIZED (                         -- members at that moment, whatever the batch changes after it
  SELECT l.shard, l.room, l.place, l.sent_at, l.found AS member
  FROM (SELECT s.*, (SELECT u.id FROM {t}."user" u WHERE u.folded = n.name) AS found
        FROM spoken s CROSS JOIN LATERAL json_array_elements_text(s.names::json) AS n(name)) l
  WHERE l.found <> l.sender AND (l.room = {lobby} OR COALESCE(
    (SELECT c.role IS NOT NULL FROM moved c
     WHERE c.shard = l.shard AND c.room = l.room AND c.member = l.found AND c.ord < l.ord
     ORDER BY c.ord DESC LIMIT 1),
    (SELECT true FROM {t}.member m WHERE m.shard = l.shard AND m.room = l.room AND m."user" = l.found),
    false))
), lapsed AS (                                     -- none of those that stay: no row is deleted and inserted at once
  DELETE FROM {t}.mention m USING fresh f
  WHERE f.kind IN (2, 3) AND m.shard = f.shard AND m.room = f.room AND m.seq = f.target
    AND NOT EXISTS (SELECT 1 FROM named n WHERE n.shard = m.shard AND n.room = m.room AND n.place = m.seq
                                            AND n.member = m."user")
), mentioned AS (
  INSERT INTO {t}.mention ("user", room, seq, shard, sent_at)
  SELECT n.member, n.room, n.place, n.shard, n.sent_at FROM named n
  ON CONFLICT ("user", room, seq) DO NOTHING
)
