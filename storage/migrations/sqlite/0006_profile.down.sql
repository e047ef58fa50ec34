DROP INDEX user_name;
ALTER TABLE "user" DROP COLUMN about;
ALTER TABLE "user" DROP COLUMN name_folded;
ALTER TABLE "user" DROP COLUMN name;
