-- Scope: tenant. The rest of what the directory knows of a room, so that `recover` can make its entry again.
-- The release before does not write these columns.
ALTER TABLE room ADD COLUMN key BLOB;
ALTER TABLE room ADD COLUMN created_by BLOB;
ALTER TABLE room ADD COLUMN created_at INTEGER;
ALTER TABLE room ADD COLUMN changed_by BLOB;
