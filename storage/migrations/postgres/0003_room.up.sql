-- Scope: tenant. The rest of what the directory knows of a room, so that `recover` can make its entry again.
-- The release before does not write these columns.
ALTER TABLE {t}.room
  ADD COLUMN key        uuid,
  ADD COLUMN created_by uuid,
  ADD COLUMN created_at bigint,
  ADD COLUMN changed_by uuid;
