-- Scope: global. What belongs to no tenant: the cluster, the fences, tenants, and what signing in needs
-- before a tenant is known.
CREATE TABLE {g}.cluster (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one),
  id         uuid   NOT NULL,
  created_at bigint NOT NULL
);

-- Every append matches (shard, epoch, turn) FOR SHARE; raising it waits for older inserts to end.
-- `holder` is the application_name of the lane that raised it last.
CREATE TABLE {g}.fence (
  shard  smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 255),
  epoch  bigint NOT NULL,
  turn   bigint NOT NULL,
  holder text   NOT NULL
);

CREATE TABLE {g}.tenant (
  id   integer PRIMARY KEY,
  name text NOT NULL UNIQUE
);

CREATE TABLE {g}.refresh_token (
  hash       bytea   PRIMARY KEY,
  family     uuid    NOT NULL,
  tenant     integer NOT NULL,
  "user"     uuid    NOT NULL,
  device     uuid,
  expires_at bigint  NOT NULL,
  spent_at   bigint
);
CREATE INDEX refresh_token_family ON {g}.refresh_token (tenant, family);
CREATE INDEX refresh_token_user ON {g}.refresh_token (tenant, "user");
CREATE INDEX refresh_token_end ON {g}.refresh_token (expires_at);

CREATE TABLE {g}.ticket (
  hash       bytea   PRIMARY KEY,
  tenant     integer NOT NULL,
  "user"     uuid    NOT NULL,
  family     uuid    NOT NULL,
  device     uuid,
  expires_at bigint  NOT NULL
);
CREATE INDEX ticket_end ON {g}.ticket (expires_at);

CREATE TABLE {g}.login_limit (
  subject   text   PRIMARY KEY,
  window_at bigint NOT NULL,
  hits      bigint NOT NULL,
  ends_at   bigint NOT NULL
);
CREATE INDEX login_limit_end ON {g}.login_limit (ends_at);

CREATE TABLE {g}.lockout (
  subject      text   PRIMARY KEY,
  failures     bigint NOT NULL,
  failed_at    bigint NOT NULL,
  locked_until bigint,
  ends_at      bigint NOT NULL
);
CREATE INDEX lockout_end ON {g}.lockout (ends_at);

CREATE TABLE {g}.signing_key (
  id         uuid   PRIMARY KEY,
  sealed     bytea  NOT NULL,
  created_at bigint NOT NULL,
  signs_from bigint NOT NULL,
  ends_at    bigint
);
