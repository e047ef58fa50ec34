-- Scope: tenant. Only in the build that the upgrade is tested with: what a release may add to the busiest table and
-- beside it while the release before goes on working.
ALTER TABLE event ADD COLUMN next_note TEXT;
ALTER TABLE room ADD COLUMN next_note TEXT;
CREATE TABLE next_note (room BLOB NOT NULL PRIMARY KEY, note TEXT NOT NULL);
