-- Scope: global. The fences of this file, and, in the main tenant's file alone in use, what belongs to no
-- tenant and what signing in needs before a tenant is known.
CREATE TABLE cluster (
  one        BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
  id         BLOB   NOT NULL,
  created_at INTEGER NOT NULL
);

-- Every append checks (shard, epoch, turn) in its own transaction.
-- `holder` is the application_name of the lane that raised it last.
CREATE TABLE fence (
  shard  INTEGER PRIMARY KEY CHECK (shard BETWEEN 0 AND 255),
  epoch  INTEGER NOT NULL,
  turn   INTEGER NOT NULL,
  holder TEXT   NOT NULL
);

CREATE TABLE tenant (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

CREATE TABLE refresh_token (
  hash       BLOB   PRIMARY KEY,
  family     BLOB    NOT NULL,
  tenant     INTEGER NOT NULL,
  "user"     BLOB    NOT NULL,
  device     BLOB,
  expires_at INTEGER  NOT NULL,
  spent_at   INTEGER
);
CREATE INDEX refresh_token_family ON refresh_token (tenant, family);
CREATE INDEX refresh_token_user ON refresh_token (tenant, "user");
CREATE INDEX refresh_token_end ON refresh_token (expires_at);

CREATE TABLE ticket (
  hash       BLOB   PRIMARY KEY,
  tenant     INTEGER NOT NULL,
  "user"     BLOB    NOT NULL,
  family     BLOB    NOT NULL,
  device     BLOB,
  expires_at INTEGER  NOT NULL
);
CREATE INDEX ticket_end ON ticket (expires_at);

CREATE TABLE login_limit (
  subject   TEXT   PRIMARY KEY,
  window_at INTEGER NOT NULL,
  hits      INTEGER NOT NULL,
  ends_at   INTEGER NOT NULL
);
CREATE INDEX login_limit_end ON login_limit (ends_at);

CREATE TABLE lockout (
  subject      TEXT   PRIMARY KEY,
  failures     INTEGER NOT NULL,
  failed_at    INTEGER NOT NULL,
  locked_until INTEGER,
  ends_at      INTEGER NOT NULL
);
CREATE INDEX lockout_end ON lockout (ends_at);

CREATE TABLE signing_key (
  id         BLOB   PRIMARY KEY,
  sealed     BLOB  NOT NULL,
  created_at INTEGER NOT NULL,
  signs_from INTEGER NOT NULL,
  ends_at    INTEGER
);
