-- Scope: tenant. Only in the build that the upgrade is tested with: what a release may add to the busiest table and
-- beside it while the release before goes on working.
ALTER TABLE {t}.event ADD COLUMN next_note text;
ALTER TABLE {t}.room ADD COLUMN next_note text;
CREATE TABLE {t}.next_note (room uuid NOT NULL PRIMARY KEY, note text NOT NULL);
