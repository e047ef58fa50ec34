DROP INDEX {t}.event_pin;
