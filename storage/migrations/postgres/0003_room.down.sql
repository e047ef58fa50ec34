ALTER TABLE {t}.room DROP COLUMN changed_by, DROP COLUMN created_at, DROP COLUMN created_by, DROP COLUMN key;
