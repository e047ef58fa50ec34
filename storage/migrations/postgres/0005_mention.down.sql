DROP INDEX {t}.mention_newest, {t}.mention_message;
DELETE FROM {t}.mention;
ALTER TABLE {t}.mention DROP COLUMN sent_at;
