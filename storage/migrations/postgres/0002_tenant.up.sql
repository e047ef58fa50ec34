-- Scope: tenant. Everything of one organisation. `shard` leads each key of a room's tables, so that a
-- statement stays on one machine under Citus or a shard-to-database map.
CREATE TABLE {t}."user" (
  id         uuid    PRIMARY KEY,
  username   text    NOT NULL,
  folded     text    COLLATE "C" NOT NULL UNIQUE, -- "C": one index for names, prefixes and their order
  email      text,
  password   text,
  admin      boolean NOT NULL DEFAULT false,
  disabled   boolean NOT NULL DEFAULT false,
  rev        bigint  NOT NULL DEFAULT 0,
  created_at bigint  NOT NULL
);
CREATE INDEX user_admin ON {t}."user" (id) WHERE admin;
CREATE UNIQUE INDEX user_email ON {t}."user" (lower(email)) WHERE email IS NOT NULL;

CREATE TABLE {t}.identity (
  provider text NOT NULL,
  subject  text NOT NULL,
  "user"   uuid NOT NULL REFERENCES {t}."user" (id),
  PRIMARY KEY (provider, subject)
);
CREATE INDEX identity_user ON {t}.identity ("user");

CREATE TABLE {t}.device (
  "user"     uuid   NOT NULL REFERENCES {t}."user" (id),
  id         uuid   NOT NULL,
  name       text   NOT NULL,
  public_key bytea,
  created_at bigint NOT NULL,
  seen_at    bigint,
  PRIMARY KEY ("user", id)
);

CREATE TABLE {t}.prekey (
  "user"     uuid   NOT NULL,
  device     uuid   NOT NULL,
  id         bigint NOT NULL,
  public_key bytea  NOT NULL,
  signature  bytea,
  PRIMARY KEY ("user", device, id)
);

CREATE TABLE {t}.to_device (
  "user"  uuid   NOT NULL,
  device  uuid   NOT NULL,
  n       bigint NOT NULL,
  sender  uuid   NOT NULL,
  sent_at bigint NOT NULL,
  body    bytea  NOT NULL,
  PRIMARY KEY ("user", device, n)
);

CREATE TABLE {t}.event (
  shard     smallint NOT NULL,
  room      uuid     NOT NULL,
  seq       bigint   NOT NULL CHECK (seq > 0),
  pos       bigint   NOT NULL CHECK (pos > 0),
  epoch     bigint   NOT NULL,
  kind      smallint NOT NULL CHECK (kind BETWEEN 1 AND 7),
  sender    uuid     NOT NULL,
  device    uuid,
  key       uuid     NOT NULL,
  target    bigint,
  thread    bigint,
  enc       boolean  NOT NULL DEFAULT false,
  sent_at   bigint   NOT NULL,
  crypt_key integer,
  body      bytea,
  PRIMARY KEY (shard, room, seq),
  UNIQUE (shard, room, sender, key)
) PARTITION BY HASH (shard);
CREATE TABLE {t}.event_0 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 0);
CREATE TABLE {t}.event_1 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 1);
CREATE TABLE {t}.event_2 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 2);
CREATE TABLE {t}.event_3 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 3);
CREATE TABLE {t}.event_4 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 4);
CREATE TABLE {t}.event_5 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 5);
CREATE TABLE {t}.event_6 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 6);
CREATE TABLE {t}.event_7 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 7);
CREATE TABLE {t}.event_8 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 8);
CREATE TABLE {t}.event_9 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 9);
CREATE TABLE {t}.event_10 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 10);
CREATE TABLE {t}.event_11 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 11);
CREATE TABLE {t}.event_12 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 12);
CREATE TABLE {t}.event_13 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 13);
CREATE TABLE {t}.event_14 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 14);
CREATE TABLE {t}.event_15 PARTITION OF {t}.event FOR VALUES WITH (MODULUS 16, REMAINDER 15);
CREATE UNIQUE INDEX event_pos ON {t}.event (shard, pos);
-- Edits, deletes, reactions and pins of a page of messages.
CREATE INDEX event_note ON {t}.event (shard, room, target) WHERE kind IN (2, 3, 4, 5);

CREATE TABLE {t}.member (
  shard     smallint NOT NULL,
  room      uuid     NOT NULL,
  "user"    uuid     NOT NULL,
  role      smallint NOT NULL CHECK (role BETWEEN 1 AND 3),
  joined_at bigint   NOT NULL,
  PRIMARY KEY (shard, room, "user")
);
CREATE INDEX member_user ON {t}.member ("user", room);

-- The projection of what the directory knows of a room, and where retention has moved its `first`.
CREATE TABLE {t}.room (
  shard    smallint NOT NULL,
  id       uuid     NOT NULL,
  name     text,
  kind     smallint,
  topic    text,
  settings text,
  version  bigint   NOT NULL DEFAULT 0,
  first    bigint   NOT NULL DEFAULT 1,
  PRIMARY KEY (shard, id)
);

CREATE TABLE {t}.read_mark (
  "user" uuid   NOT NULL,
  room   uuid   NOT NULL,
  seq    bigint NOT NULL,
  PRIMARY KEY ("user", room)
);

CREATE TABLE {t}.mention (
  "user" uuid     NOT NULL,
  room   uuid     NOT NULL,
  seq    bigint   NOT NULL,
  shard  smallint NOT NULL,
  PRIMARY KEY ("user", room, seq)
);

CREATE TABLE {t}.attachment (
  id         uuid     PRIMARY KEY,
  shard      smallint NOT NULL,
  room       uuid     NOT NULL,
  seq        bigint,
  sender     uuid     NOT NULL,
  name       text     NOT NULL,
  media_type text     NOT NULL,
  bytes      bigint   NOT NULL,
  blob       text     NOT NULL,
  created_at bigint   NOT NULL
);
CREATE INDEX attachment_room ON {t}.attachment (shard, room, seq);
