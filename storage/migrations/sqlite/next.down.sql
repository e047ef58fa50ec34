DROP TABLE next_note;
ALTER TABLE room DROP COLUMN next_note;
ALTER TABLE event DROP COLUMN next_note;
