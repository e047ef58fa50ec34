-- Scope: tenant. What users say of themselves. `name_folded` is what a name is looked for by.
ALTER TABLE "user" ADD COLUMN name TEXT;
ALTER TABLE "user" ADD COLUMN name_folded TEXT;
ALTER TABLE "user" ADD COLUMN about TEXT;
CREATE INDEX user_name ON "user" (name_folded) WHERE name_folded IS NOT NULL;
