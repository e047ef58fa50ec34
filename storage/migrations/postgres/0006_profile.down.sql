DROP INDEX {t}.user_name;
ALTER TABLE {t}."user" DROP COLUMN about;
ALTER TABLE {t}."user" DROP COLUMN name_folded;
ALTER TABLE {t}."user" DROP COLUMN name;
