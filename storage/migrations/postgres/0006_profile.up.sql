-- Scope: tenant. What users say of themselves. `name_folded` is what a name is looked for by.
ALTER TABLE {t}."user" ADD COLUMN name text;
ALTER TABLE {t}."user" ADD COLUMN name_folded text COLLATE "C";
ALTER TABLE {t}."user" ADD COLUMN about text;
CREATE INDEX user_name ON {t}."user" (name_folded) WHERE name_folded IS NOT NULL;
