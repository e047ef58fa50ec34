-- Scope: tenant. Mentions are deleted with their message, and listed with the newest first. The release before does not
-- write this table, which is empty.
ALTER TABLE mention ADD COLUMN sent_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX mention_message ON mention (shard, room, seq);
CREATE INDEX mention_newest ON mention ("user", sent_at, room, seq);
