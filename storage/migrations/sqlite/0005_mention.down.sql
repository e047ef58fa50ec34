DROP INDEX mention_newest;
DROP INDEX mention_message;
DELETE FROM mention;
ALTER TABLE mention DROP COLUMN sent_at;
