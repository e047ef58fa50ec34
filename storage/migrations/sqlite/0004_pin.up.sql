-- Scope: tenant. The pins of a room, the newest first. The release before writes events as ever.
CREATE INDEX event_pin ON event (shard, room, seq) WHERE kind = 5;
