-- Scope: tenant. Mentions are deleted with their message, and listed with the newest first. The release before does not
-- write this table, which is empty.
ALTER TABLE {t}.mention ADD COLUMN sent_at bigint NOT NULL;
CREATE INDEX mention_message ON {t}.mention (shard, room, seq);
CREATE INDEX mention_newest ON {t}.mention ("user", sent_at, room, seq);
