DROP TABLE {t}.next_note;
ALTER TABLE {t}.room DROP COLUMN next_note;
ALTER TABLE {t}.event DROP COLUMN next_note;
