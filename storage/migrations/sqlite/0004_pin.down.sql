DROP INDEX event_pin;
