-- Scope: tenant. Everything of one organisation, in its own file; the same tables as on PostgreSQL.
CREATE TABLE "user" (
  id         BLOB    PRIMARY KEY,
  username   TEXT    NOT NULL,
  folded     TEXT    NOT NULL UNIQUE,
  email      TEXT,
  password   TEXT,
  admin      BOOLEAN NOT NULL DEFAULT false,
  disabled   BOOLEAN NOT NULL DEFAULT false,
  rev        INTEGER  NOT NULL DEFAULT 0,
  created_at INTEGER  NOT NULL
);
CREATE INDEX user_admin ON "user" (id) WHERE admin;
CREATE UNIQUE INDEX user_email ON "user" (lower(email)) WHERE email IS NOT NULL;

CREATE TABLE identity (
  provider TEXT NOT NULL,
  subject  TEXT NOT NULL,
  "user"   BLOB NOT NULL REFERENCES "user" (id),
  PRIMARY KEY (provider, subject)
);
CREATE INDEX identity_user ON identity ("user");

CREATE TABLE device (
  "user"     BLOB   NOT NULL REFERENCES "user" (id),
  id         BLOB   NOT NULL,
  name       TEXT   NOT NULL,
  public_key BLOB,
  created_at INTEGER NOT NULL,
  seen_at    INTEGER,
  PRIMARY KEY ("user", id)
);

CREATE TABLE prekey (
  "user"     BLOB   NOT NULL,
  device     BLOB   NOT NULL,
  id         INTEGER NOT NULL,
  public_key BLOB  NOT NULL,
  signature  BLOB,
  PRIMARY KEY ("user", device, id)
);

CREATE TABLE to_device (
  "user"  BLOB   NOT NULL,
  device  BLOB   NOT NULL,
  n       INTEGER NOT NULL,
  sender  BLOB   NOT NULL,
  sent_at INTEGER NOT NULL,
  body    BLOB  NOT NULL,
  PRIMARY KEY ("user", device, n)
);

CREATE TABLE event (
  shard     INTEGER NOT NULL,
  room      BLOB     NOT NULL,
  seq       INTEGER   NOT NULL CHECK (seq > 0),
  pos       INTEGER   NOT NULL CHECK (pos > 0),
  epoch     INTEGER   NOT NULL,
  kind      INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 7),
  sender    BLOB     NOT NULL,
  device    BLOB,
  key       BLOB     NOT NULL,
  target    INTEGER,
  thread    INTEGER,
  enc       BOOLEAN  NOT NULL DEFAULT false,
  sent_at   INTEGER   NOT NULL,
  crypt_key INTEGER,
  body      BLOB,
  PRIMARY KEY (shard, room, seq),
  UNIQUE (shard, room, sender, key)
);
CREATE UNIQUE INDEX event_pos ON event (shard, pos);
-- Edits, deletes, reactions and pins of a page of messages.
CREATE INDEX event_note ON event (shard, room, target) WHERE kind IN (2, 3, 4, 5);

CREATE TABLE member (
  shard     INTEGER NOT NULL,
  room      BLOB     NOT NULL,
  "user"    BLOB     NOT NULL,
  role      INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3),
  joined_at INTEGER   NOT NULL,
  PRIMARY KEY (shard, room, "user")
);
CREATE INDEX member_user ON member ("user", room);

-- The projection of what the directory knows of a room, and where retention has moved its `first`.
CREATE TABLE room (
  shard    INTEGER NOT NULL,
  id       BLOB     NOT NULL,
  name     TEXT,
  kind     INTEGER,
  topic    TEXT,
  settings TEXT,
  version  INTEGER   NOT NULL DEFAULT 0,
  first    INTEGER   NOT NULL DEFAULT 1,
  PRIMARY KEY (shard, id)
);

CREATE TABLE read_mark (
  "user" BLOB   NOT NULL,
  room   BLOB   NOT NULL,
  seq    INTEGER NOT NULL,
  PRIMARY KEY ("user", room)
);

CREATE TABLE mention (
  "user" BLOB     NOT NULL,
  room   BLOB     NOT NULL,
  seq    INTEGER   NOT NULL,
  shard  INTEGER NOT NULL,
  PRIMARY KEY ("user", room, seq)
);

CREATE TABLE attachment (
  id         BLOB     PRIMARY KEY,
  shard      INTEGER NOT NULL,
  room       BLOB     NOT NULL,
  seq        INTEGER,
  sender     BLOB     NOT NULL,
  name       TEXT     NOT NULL,
  media_type TEXT     NOT NULL,
  bytes      INTEGER   NOT NULL,
  blob       TEXT     NOT NULL,
  created_at INTEGER   NOT NULL
);
CREATE INDEX attachment_room ON attachment (shard, room, seq);
