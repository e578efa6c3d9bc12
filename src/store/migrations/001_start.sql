-- Times are microseconds since 1970 unless a comment says otherwise; JSON is text.
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

-- What of a probe is kept over a restart: JSON of `ProbeKept`.
CREATE TABLE probe_state (
  probe INTEGER PRIMARY KEY,
  kept TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;

-- Every run. `phases` is pairs of a byte (which) and a varint (microseconds); `due` is how long after `at`
-- the next run was due, in milliseconds.
CREATE TABLE outcome (
  probe INTEGER NOT NULL,
  at INTEGER NOT NULL,
  result INTEGER NOT NULL,
  phases BLOB NOT NULL,
  lag INTEGER NOT NULL,
  suspect INTEGER NOT NULL,
  due INTEGER,
  PRIMARY KEY (probe, at)
) WITHOUT ROWID, STRICT;

-- What was seen in runs that were not fine; apart, so that `outcome` stays quick to walk.
CREATE TABLE evidence (
  probe INTEGER NOT NULL,
  at INTEGER NOT NULL,
  trouble TEXT NOT NULL,
  evidence TEXT NOT NULL,
  PRIMARY KEY (probe, at)
) STRICT;

-- Sums of `outcome` over five minutes. `start` is in seconds, `known` and `down` in milliseconds.
CREATE TABLE minutes (
  probe INTEGER NOT NULL,
  start INTEGER NOT NULL,
  ok INTEGER NOT NULL,
  degraded INTEGER NOT NULL,
  fail INTEGER NOT NULL,
  unknown INTEGER NOT NULL,
  known INTEGER NOT NULL,
  down INTEGER NOT NULL,
  least INTEGER,
  most INTEGER,
  spread BLOB NOT NULL,
  PRIMARY KEY (probe, start)
) WITHOUT ROWID, STRICT;

-- Sums of `minutes` over an hour.
CREATE TABLE hours (
  probe INTEGER NOT NULL,
  start INTEGER NOT NULL,
  ok INTEGER NOT NULL,
  degraded INTEGER NOT NULL,
  fail INTEGER NOT NULL,
  unknown INTEGER NOT NULL,
  known INTEGER NOT NULL,
  down INTEGER NOT NULL,
  least INTEGER,
  most INTEGER,
  spread BLOB NOT NULL,
  PRIMARY KEY (probe, start)
) WITHOUT ROWID, STRICT;

-- Changes of health, dated back.
CREATE TABLE turn (
  probe INTEGER NOT NULL,
  at INTEGER NOT NULL,
  health TEXT NOT NULL,
  seen INTEGER NOT NULL,
  PRIMARY KEY (probe, at)
) WITHOUT ROWID, STRICT;

-- What the alert policy knows.
CREATE TABLE alert_row (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

-- Deliveries; `state` is JSON of `DeliveryState`, `reached` a JSON list of the recipients that have it already,
-- `open` is 1 until nothing more is done about it.
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  alert TEXT NOT NULL,
  notifier TEXT NOT NULL,
  delivery TEXT NOT NULL,
  state TEXT NOT NULL,
  reached TEXT NOT NULL,
  open INTEGER NOT NULL,
  at INTEGER NOT NULL,
  changed INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_open ON outbox (seq) WHERE open = 1;
CREATE INDEX outbox_alert ON outbox (alert);

-- Every attempt to send one.
CREATE TABLE attempt (
  delivery TEXT NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  ended INTEGER,
  text TEXT NOT NULL,
  PRIMARY KEY (delivery, number)
) WITHOUT ROWID, STRICT;
