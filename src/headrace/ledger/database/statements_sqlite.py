"""The text of the statements that SQLite runs.

Made by `python -m headrace.ledger.database.queries`: don't edit. A comment names each statement's parameters, in order.
"""

from __future__ import annotations

SCHEMA = 5

# id, pipeline, state, created, bundle, seconds, usd, params, why, ended, epoch, holder
INSERT_RUN = """
INSERT INTO runs (id, pipeline, state, created, bundle, seconds, usd, params, why, ended, epoch, holder) VALUES (?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# pipeline, state, created, bundle, seconds, usd, params, why, ended, number, epoch
UPDATE_RUN = """
UPDATE runs SET pipeline=?, state=?, created=?, bundle=?, seconds=?, usd=?, params=?, why=?, ended=? WHERE
runs.number = ? AND runs.epoch = ?
"""

# number, epoch
HELD = """
SELECT runs.number FROM runs WHERE runs.number = ? AND runs.epoch = ?
"""

# holder, number
TAKE_RUN = """
UPDATE runs SET epoch=(runs.epoch + 1), holder=? WHERE runs.number = ?
"""

# run, seq, body
INSERT_EVENT = """
INSERT INTO events (run, seq, body) VALUES (?, ?, ?)
"""

# run, name, ordinal, stage, kind, state, attempts, started, seconds, load_s, save_s, usd, pool, parent, bytes,
# digest, log, log_start, log_end, reason, key, code, inputs, out
PUT_TASK = """
INSERT INTO tasks (run, name, ordinal, stage, kind, state, attempts, started, seconds, load_s, save_s, usd, pool,
parent, bytes, digest, log, log_start, log_end, reason, "key", code, inputs, out) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, name) DO UPDATE SET ordinal = excluded.ordinal, stage
= excluded.stage, kind = excluded.kind, state = excluded.state, attempts = excluded.attempts, started =
excluded.started, seconds = excluded.seconds, load_s = excluded.load_s, save_s = excluded.save_s, usd =
excluded.usd, pool = excluded.pool, parent = excluded.parent, bytes = excluded.bytes, digest = excluded.digest, log
= excluded.log, log_start = excluded.log_start, log_end = excluded.log_end, reason = excluded.reason, "key" =
excluded."key", code = excluded.code, inputs = excluded.inputs, out = excluded.out
"""

# run
FORGET_TASKS = """
DELETE FROM tasks WHERE tasks.run = ?
"""

# key, run, task, at, unusable, out
PUT_RESULT = """
INSERT INTO results ("key", run, task, at, unusable, out) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT ("key") DO UPDATE
SET run = excluded.run, task = excluded.task, at = excluded.at, unusable = excluded.unusable, out = excluded.out
"""

# run, digest, nonce, size, born
PUT_BLOB = """
INSERT INTO blobs (run, digest, nonce, size, born) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

# run, id
ABSORB = """
DELETE FROM inbox WHERE inbox.run = ? AND inbox.id = ?
"""

# run, kind, by, body, at
SIGNAL = """
INSERT INTO inbox (run, kind, "by", body, at) VALUES (?, ?, ?, ?, ?)
"""

# key
RESULT = """
SELECT results.out, results.at, runs.id, (SELECT metrics.name FROM metrics WHERE metrics.run = results.run AND
metrics.task = results.task LIMIT 1) AS anon_1 FROM results LEFT OUTER JOIN runs ON runs.number = results.run WHERE
results."key" = ? AND results.unusable IS NULL
"""

# id
RUN_BY_ID = """
SELECT runs.number, runs.epoch, runs.pipeline, runs.state FROM runs WHERE runs.id = ?
"""

# run
NEXT_SEQ = """
SELECT coalesce(max(events.seq), -1) + 1 AS anon_1 FROM events WHERE events.run = ?
"""

# run, seq, limit
EVENTS_FROM = """
SELECT events.seq, events.body FROM events WHERE events.run = ? AND events.seq >= ? ORDER BY events.seq LIMIT ?
"""

# pipeline, number, number, limit
EARLIER_RUNS = """
SELECT runs.number, runs.id FROM runs WHERE runs.pipeline = ? AND runs.number < ? AND runs.ended <= coalesce((SELECT
own.created FROM runs AS own WHERE own.number = ?), runs.ended) ORDER BY runs.number DESC LIMIT ?
"""

# run
INGREDIENTS = """
SELECT tasks.name, tasks."key", tasks.code, tasks.inputs FROM tasks WHERE tasks.run = ? AND tasks."key" IS NOT NULL
"""

# run
INBOX = """
SELECT inbox.id, inbox.kind, inbox."by", inbox.body FROM inbox WHERE inbox.run = ? ORDER BY inbox.id
"""

# pool
CLAIMS = """
SELECT grants.run, grants.arrived, grants.served, grants.want_cpu, grants.want_memory_gib, grants.want_gpus,
grants.used_cpu, grants.used_memory_gib, grants.used_gpus, grants.least_cpu, grants.least_memory_gib,
grants.least_gpus, grants.cpu, grants.memory_gib, grants.gpus, grants.expires FROM grants WHERE grants.pool = ?
ORDER BY grants.arrived
"""

# name
TAKE_POOL = """
INSERT INTO pools (name, epoch) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET epoch = (pools.epoch + 1)
"""

# name
POOL_EPOCH = """
SELECT pools.epoch FROM pools WHERE pools.name = ?
"""

# pool, run, arrived, served, want_cpu, want_memory_gib, want_gpus, used_cpu, used_memory_gib, used_gpus, least_cpu,
# least_memory_gib, least_gpus, cpu, memory_gib, gpus, expires
PUT_GRANT = """
INSERT INTO grants (pool, run, arrived, served, want_cpu, want_memory_gib, want_gpus, used_cpu, used_memory_gib,
used_gpus, least_cpu, least_memory_gib, least_gpus, cpu, memory_gib, gpus, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (pool, run) DO UPDATE SET arrived = excluded.arrived, served =
excluded.served, want_cpu = excluded.want_cpu, want_memory_gib = excluded.want_memory_gib, want_gpus =
excluded.want_gpus, used_cpu = excluded.used_cpu, used_memory_gib = excluded.used_memory_gib, used_gpus =
excluded.used_gpus, least_cpu = excluded.least_cpu, least_memory_gib = excluded.least_memory_gib, least_gpus =
excluded.least_gpus, cpu = excluded.cpu, memory_gib = excluded.memory_gib, gpus = excluded.gpus, expires =
excluded.expires
"""

# pool, run
FORGET_GRANT = """
DELETE FROM grants WHERE grants.pool = ? AND grants.run = ?
"""

# run
FORGET_GRANTS = """
DELETE FROM grants WHERE grants.run = ?
"""

# name
CURSOR = """
SELECT cursors.version, cursors.value FROM cursors WHERE cursors.name = ? ORDER BY cursors.version DESC LIMIT 1
"""

# name, version, value, run, task, at, by
ADVANCE_CURSOR = """
INSERT INTO cursors (name, version, value, run, task, at, "by") VALUES (?, ?, ?, ?, ?, ?, ?)
"""

# name, version, value, run, task, at, by
MOVE_CURSOR = """
INSERT INTO cursors (name, version, value, run, task, at, "by") VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

# name, version
CURSOR_MOVES = """
SELECT cursors.run, cursors.task FROM cursors WHERE cursors.name = ? AND cursors.version > ?
"""

# name, version, value
PUT_CURSOR = """
INSERT INTO cursors (name, version, value) VALUES (?, ?, ?) ON CONFLICT (name, version) DO UPDATE SET value =
excluded.value
"""

ABOUT = """
SELECT about.name, about.value FROM about
"""

# name, value
PUT_ABOUT = """
INSERT INTO about (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING
"""

# run, task, kind, name, last, least, greatest, count, first_step, last_step, at, source, source_task
PUT_METRIC = """
INSERT INTO metrics (run, task, kind, name, last, least, greatest, count, first_step, last_step, at, source,
source_task) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, task, kind, name) DO UPDATE SET last =
excluded.last, least = excluded.least, greatest = excluded.greatest, count = excluded.count, first_step =
excluded.first_step, last_step = excluded.last_step, at = excluded.at, source = excluded.source, source_task =
excluded.source_task
"""

# run, task, seq
PUT_LOGGED = """
INSERT INTO logged (run, task, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""

# run, task, key
INHERIT_METRICS = """
INSERT INTO metrics (run, task, kind, name, last, least, greatest, count, first_step, last_step, at, source,
source_task) SELECT CAST(? AS INTEGER) AS anon_1, CAST(? AS TEXT) AS anon_2, mine.kind, mine.name, mine.last,
mine.least, mine.greatest, mine.count, mine.first_step, mine.last_step, mine.at, coalesce(mine.source, runs.id) AS
coalesce_1, coalesce(mine.source_task, mine.task) AS coalesce_2 FROM results JOIN runs ON runs.number = results.run
JOIN metrics AS mine ON mine.run = results.run AND mine.task = results.task WHERE results."key" = ? ON CONFLICT DO
NOTHING
"""

# run
FORGET_METRICS = """
DELETE FROM metrics WHERE metrics.run = ?
"""

# run
FORGET_LOGGED = """
DELETE FROM logged WHERE logged.run = ?
"""

# run
METRICS = """
SELECT metrics.run, metrics.task, metrics.kind, metrics.name, metrics.last, metrics.least, metrics.greatest,
metrics.count, metrics.first_step, metrics.last_step, metrics.at, metrics.source, metrics.source_task FROM metrics
WHERE metrics.run = ? ORDER BY metrics.task, metrics.kind, metrics.name
"""

# run, task
LOGGED_OF = """
SELECT logged.seq, events.body FROM logged JOIN events ON events.run = logged.run AND events.seq = logged.seq WHERE
logged.run = ? AND logged.task = ? ORDER BY logged.seq
"""

# run
LOGGED = """
SELECT logged.task, logged.seq FROM logged WHERE logged.run = ? ORDER BY logged.task, logged.seq
"""

# run, after
LOGGED_SINCE = """
SELECT logged.seq, events.body FROM logged JOIN events ON events.run = logged.run AND events.seq = logged.seq WHERE
logged.run = ? AND logged.seq > ? ORDER BY logged.seq
"""

# name
METRICS_BY_NAME = """
SELECT metrics.run, metrics.task, metrics.last, metrics.least, metrics.greatest FROM metrics WHERE metrics.name = ?
AND metrics.kind = 'number' ORDER BY metrics.run DESC
"""

METRIC_NAMES = """
SELECT metrics.name, count(DISTINCT metrics.run) AS count_1 FROM metrics WHERE metrics.kind = 'number' GROUP BY
metrics.name ORDER BY metrics.name
"""

LOCK_REGISTRY = """
SELECT 1
"""

# kind, name, identity, out, report, run, task, at, by, note, origin, preparation, kind, name, kind, name, identity
ADD_VERSION = """
INSERT INTO versions (kind, name, identity, out, report, run, task, at, "by", note, origin, preparation, version)
SELECT CAST(? AS TEXT) AS anon_1, CAST(? AS TEXT) AS anon_2, CAST(? AS TEXT) AS anon_3, CAST(? AS BLOB) AS anon_4,
CAST(? AS BLOB) AS anon_5, CAST(? AS TEXT) AS anon_6, CAST(? AS TEXT) AS anon_7, CAST(? AS FLOAT) AS anon_8, CAST(?
AS TEXT) AS anon_9, CAST(? AS TEXT) AS anon_10, CAST(? AS TEXT) AS anon_11, CAST(? AS BLOB) AS anon_12, (SELECT
coalesce(max(versions.version), 0) + 1 AS anon_14 FROM versions WHERE versions.kind = ? AND versions.name = ?) AS
anon_13 WHERE NOT (EXISTS (SELECT versions.version FROM versions WHERE versions.kind = ? AND versions.name = ? AND
versions.identity = ?))
"""

# kind, name, version, identity, out, report, run, task, at, by, note, origin, preparation
PUT_VERSION = """
INSERT INTO versions (kind, name, version, identity, out, report, run, task, at, "by", note, origin, preparation)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

# to, report_to, preparation_to, kind, name, version
POINT_VERSION = """
UPDATE versions SET out=?, report=?, preparation=? WHERE versions.kind = ? AND versions.name = ? AND
versions.version = ?
"""

# prepared, kind, name, identity
ADD_PREPARATION = """
UPDATE versions SET preparation=? WHERE versions.kind = ? AND versions.name = ? AND versions.identity = ? AND
versions.preparation IS NULL
"""

# alias, at, by, why, kind, name, identity
POINT_ALIAS = """
INSERT INTO aliases (alias, at, "by", why, kind, name, version) SELECT CAST(? AS TEXT) AS anon_1, CAST(? AS FLOAT)
AS anon_2, CAST(? AS TEXT) AS anon_3, CAST(? AS TEXT) AS anon_4, versions.kind, versions.name, versions.version FROM
versions WHERE versions.kind = ? AND versions.name = ? AND versions.identity = ? ON CONFLICT (kind, name, alias) DO
UPDATE SET version = excluded.version, at = excluded.at, "by" = excluded."by", why = excluded.why
"""

# kind, name, alias, version, at, by, why
PUT_ALIAS = """
INSERT INTO aliases (kind, name, alias, version, at, "by", why) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind,
name, alias) DO UPDATE SET version = excluded.version, at = excluded.at, "by" = excluded."by", why = excluded.why
"""

# kind, name, alias
FORGET_ALIAS = """
DELETE FROM aliases WHERE aliases.kind = ? AND aliases.name = ? AND aliases.alias = ?
"""

# kind
VERSIONS = """
SELECT versions.kind, versions.name, versions.version, versions.identity, versions.out, versions.report,
versions.run, versions.task, versions.at, versions."by", versions.note, versions.origin, versions.preparation FROM
versions WHERE versions.kind = ? ORDER BY versions.name, versions.version DESC
"""

# kind, name
VERSIONS_OF = """
SELECT versions.kind, versions.name, versions.version, versions.identity, versions.out, versions.report,
versions.run, versions.task, versions.at, versions."by", versions.note, versions.origin, versions.preparation FROM
versions WHERE versions.kind = ? AND versions.name = ? ORDER BY versions.version DESC
"""

ALL_VERSIONS = """
SELECT versions.kind, versions.name, versions.version, versions.identity, versions.out, versions.report,
versions.run, versions.task, versions.at, versions."by", versions.note, versions.origin, versions.preparation FROM
versions ORDER BY versions.kind, versions.name, versions.version
"""

# kind, name, identity
VERSION_OF = """
SELECT versions.version FROM versions WHERE versions.kind = ? AND versions.name = ? AND versions.identity = ?
"""

# kind
ALIASES = """
SELECT aliases.kind, aliases.name, aliases.alias, aliases.version, aliases.at, aliases."by", aliases.why FROM
aliases WHERE aliases.kind = ? ORDER BY aliases.name, aliases.alias
"""

ALL_ALIASES = """
SELECT aliases.kind, aliases.name, aliases.alias, aliases.version, aliases.at, aliases."by", aliases.why FROM
aliases ORDER BY aliases.kind, aliases.name, aliases.alias
"""

NEWEST_RUN = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.bundle, runs.seconds, runs.usd,
runs.params, runs.why, runs.ended, runs.holder FROM runs ORDER BY runs.number DESC LIMIT 1
"""

# id
RUN_LINE = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.bundle, runs.seconds, runs.usd,
runs.params, runs.why, runs.ended, runs.holder FROM runs WHERE runs.id = ?
"""

# first, past, limit
RUNS_BY_PREFIX = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.bundle, runs.seconds, runs.usd,
runs.params, runs.why, runs.ended, runs.holder FROM runs WHERE runs.id >= ? AND runs.id < ? LIMIT ?
"""

# before, limit
RUN_LINES = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.bundle, runs.seconds, runs.usd,
runs.params, runs.why, runs.ended, runs.holder FROM runs WHERE runs.number < ? ORDER BY runs.number DESC LIMIT ?
"""

# pipeline, before, limit
RUN_LINES_OF = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.bundle, runs.seconds, runs.usd,
runs.params, runs.why, runs.ended, runs.holder FROM runs WHERE runs.pipeline = ? AND runs.number < ? ORDER BY
runs.number DESC LIMIT ?
"""

# limit
RUN_IDS = """
SELECT runs.id FROM runs ORDER BY runs.number DESC LIMIT ?
"""

# run
TASK_LINES = """
SELECT tasks.ordinal, tasks.name, tasks.stage, tasks.kind, tasks.state, tasks.reason, tasks.attempts, tasks.seconds,
tasks.load_s, tasks.save_s, tasks.usd, tasks.pool, tasks.out, tasks.started FROM tasks WHERE tasks.run = ?
"""

# run, limit
FAILED_LINES = """
SELECT tasks.ordinal, tasks.name, tasks.stage, tasks.kind, tasks.state, tasks.reason, tasks.attempts, tasks.seconds,
tasks.load_s, tasks.save_s, tasks.usd, tasks.pool, tasks.out, tasks.started FROM tasks WHERE tasks.run = ? AND
tasks.state = 'failed' ORDER BY tasks.ordinal LIMIT ?
"""

# run, name
TASK_ROW = """
SELECT tasks.run, tasks.name, tasks.ordinal, tasks.stage, tasks.kind, tasks.state, tasks.attempts, tasks.started,
tasks.seconds, tasks.load_s, tasks.save_s, tasks.usd, tasks.pool, tasks.parent, tasks.bytes, tasks.digest,
tasks.log, tasks.log_start, tasks.log_end, tasks.reason, tasks."key", tasks.code, tasks.inputs, tasks.out FROM tasks
WHERE tasks.run = ? AND tasks.name = ?
"""

# run
TASK_ROWS = """
SELECT tasks.run, tasks.name, tasks.ordinal, tasks.stage, tasks.kind, tasks.state, tasks.attempts, tasks.started,
tasks.seconds, tasks.load_s, tasks.save_s, tasks.usd, tasks.pool, tasks.parent, tasks.bytes, tasks.digest,
tasks.log, tasks.log_start, tasks.log_end, tasks.reason, tasks."key", tasks.code, tasks.inputs, tasks.out FROM tasks
WHERE tasks.run = ?
"""

# run
TASK_OUTS = """
SELECT tasks.name, tasks.out FROM tasks WHERE tasks.run = ? AND tasks.out IS NOT NULL
"""

# first, past
TASKS_BY_DIGEST = """
SELECT tasks.run, tasks.name FROM tasks WHERE tasks.digest >= ? AND tasks.digest < ? ORDER BY tasks.run DESC
"""

# first, past
RUNS_BY_BLOB = """
SELECT DISTINCT blobs.run, blobs.digest FROM blobs WHERE blobs.digest >= ? AND blobs.digest < ? ORDER BY blobs.run
DESC
"""

# number
RUN_ID = """
SELECT runs.id FROM runs WHERE runs.number = ?
"""

# number
RUN_LINE_BY_NUMBER = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.bundle, runs.seconds, runs.usd,
runs.params, runs.why, runs.ended, runs.holder FROM runs WHERE runs.number = ?
"""

# run, length, tag
LAST_OF_KIND = """
SELECT coalesce(max(events.seq), -1) AS coalesce_1 FROM events WHERE events.run = ? AND substr(events.body, 2,
CAST(? AS INTEGER)) = ?
"""

# run
TASK_NAMES = """
SELECT tasks.name FROM tasks WHERE tasks.run = ?
"""

# run, run_of_maps
TASK_STATES = """
SELECT tasks.state, count(*) AS tasks FROM tasks WHERE tasks.run = ? AND (tasks.name NOT IN (SELECT tasks.parent
FROM tasks WHERE tasks.run = ? AND tasks.parent IS NOT NULL)) GROUP BY tasks.state ORDER BY min(tasks.ordinal)
"""

# run
STAGE_LINES = """
SELECT tasks.stage, tasks.kind, tasks.state, min(tasks.ordinal) AS first, count(*) AS tasks, sum(tasks.seconds) AS
seconds, max(tasks.seconds) AS longest_s, sum(tasks.usd) AS usd, CAST(sum(tasks.bytes) AS BIGINT) AS bytes,
sum(tasks.attempts) AS attempts FROM tasks WHERE tasks.run = ? GROUP BY tasks.stage, tasks.kind, tasks.state
"""

# run
RUNNING_LINES = """
SELECT tasks.stage, tasks.kind, tasks.started FROM tasks WHERE tasks.run = ? AND tasks.state = 'running' AND
tasks.started > 0
"""

# pipeline, limit
HISTORY = """
SELECT tasks.run, coalesce(tasks.parent, tasks.name) AS task, tasks.stage, count(CASE WHEN (tasks.state =
'succeeded' AND tasks.attempts > 0) THEN 1 END) AS ran, count(tasks.parent) AS elements, avg(CASE WHEN (tasks.state
= 'succeeded' AND tasks.attempts > 0) THEN 1 END * tasks.seconds) AS seconds, max(CASE WHEN (tasks.state =
'succeeded' AND tasks.attempts > 0) THEN 1 END * tasks.seconds) AS longest_s, avg(CASE WHEN (tasks.state =
'succeeded' AND tasks.attempts > 0) THEN 1 END * (tasks.load_s + tasks.save_s)) AS moving_s, CAST(avg(CASE WHEN
(tasks."key" IS NOT NULL) THEN tasks.bytes END) AS FLOAT) AS bytes FROM tasks WHERE tasks.run IN (SELECT runs.number
FROM runs WHERE runs.pipeline = ? ORDER BY runs.number DESC LIMIT ?) GROUP BY tasks.run, coalesce(tasks.parent,
tasks.name), tasks.stage
"""

ALL_RUNS = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.ended, runs.bundle FROM runs ORDER BY
runs.number
"""

# run
RUNNING_SINCE = """
SELECT min(tasks.started) AS min_1 FROM tasks WHERE tasks.run = ? AND (tasks.state = 'running' OR tasks.state =
'waiting' AND tasks.attempts > 0)
"""

# run
FORGET_EVENTS = """
DELETE FROM events WHERE events.run = ?
"""

# run
FORGET_BLOBS = """
DELETE FROM blobs WHERE blobs.run = ?
"""

# run
FORGET_INBOX = """
DELETE FROM inbox WHERE inbox.run = ?
"""

# number
FORGET_RUN = """
DELETE FROM runs WHERE runs.number = ?
"""

# key, number
FORGET_RESULT = """
DELETE FROM results WHERE results."key" = ? AND results.run = ?
"""

# adopter, its_task, key, number
ADOPT_RESULT = """
UPDATE results SET run=?, task=? WHERE results."key" = ? AND results.run = ?
"""

# why, key
DOUBT_RESULT = """
UPDATE results SET unusable=? WHERE results."key" = ?
"""

# to, key, was
POINT_RESULT = """
UPDATE results SET out=? WHERE results."key" = ? AND results.out = ?
"""

# to, number, name
POINT_TASK = """
UPDATE tasks SET out=? WHERE tasks.run = ? AND tasks.name = ?
"""

# to, number, at
POINT_EVENT = """
UPDATE events SET body=? WHERE events.run = ? AND events.seq = ?
"""

# run, digest, nonce
FORGET_BLOB = """
DELETE FROM blobs WHERE blobs.run = ? AND blobs.digest = ? AND blobs.nonce = ?
"""

# run, digest, nonce
BLOB = """
SELECT blobs.size, blobs.born FROM blobs WHERE blobs.run = ? AND blobs.digest = ? AND blobs.nonce = ?
"""

# run
EVENT_SPAN = """
SELECT count(*) AS count_1, min(events.seq) AS min_1, max(events.seq) AS max_1 FROM events WHERE events.run = ?
"""

# number
RUN_ROW = """
SELECT runs.number, runs.id, runs.pipeline, runs.state, runs.created, runs.bundle, runs.seconds, runs.usd,
runs.params, runs.why, runs.ended, runs.epoch, runs.holder FROM runs WHERE runs.number = ?
"""

# run, after, limit
TASKS_FROM = """
SELECT tasks.run, tasks.name, tasks.ordinal, tasks.stage, tasks.kind, tasks.state, tasks.attempts, tasks.started,
tasks.seconds, tasks.load_s, tasks.save_s, tasks.usd, tasks.pool, tasks.parent, tasks.bytes, tasks.digest,
tasks.log, tasks.log_start, tasks.log_end, tasks.reason, tasks."key", tasks.code, tasks.inputs, tasks.out FROM tasks
WHERE tasks.run = ? AND tasks.name > ? ORDER BY tasks.name LIMIT ?
"""

# run, after, limit
OUTS_FROM = """
SELECT tasks.name, tasks."key", tasks.out FROM tasks WHERE tasks.run = ? AND tasks.name > ? AND tasks.out IS NOT
NULL ORDER BY tasks.name LIMIT ?
"""

# run, after_digest, after_nonce, limit
BLOBS_FROM = """
SELECT blobs.digest, blobs.nonce, blobs.size, blobs.born FROM blobs WHERE blobs.run = ? AND (blobs.digest,
blobs.nonce) > (?, ?) ORDER BY blobs.digest, blobs.nonce LIMIT ?
"""

# after, limit
RESULTS_FROM = """
SELECT results."key", results.run, results.task, results.at, results.unusable, results.out FROM results WHERE
results."key" > ? ORDER BY results."key" LIMIT ?
"""

# after_name, after_version, limit
CURSORS_FROM = """
SELECT cursors.name, cursors.version, cursors.value, cursors.run, cursors.task, cursors.at, cursors."by" FROM
cursors WHERE (cursors.name, cursors.version) > (?, ?) ORDER BY cursors.name, cursors.version LIMIT ?
"""

# key
RESULT_ROW = """
SELECT results."key", results.run, results.task, results.at, results.unusable, results.out FROM results WHERE
results."key" = ?
"""

# name, version
CURSOR_ROW = """
SELECT cursors.value, cursors.run FROM cursors WHERE cursors.name = ? AND cursors.version = ?
"""

# run
SIGNALS = """
SELECT inbox.kind, inbox."by", inbox.body, inbox.at FROM inbox WHERE inbox.run = ? ORDER BY inbox.id
"""

CREATE: tuple[str, ...] = (
    """
    CREATE TABLE about (name TEXT NOT NULL, value TEXT NOT NULL, CONSTRAINT pk_about PRIMARY KEY (name)) WITHOUT ROWID
    """,
    """
    CREATE TABLE aliases (kind TEXT NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL, at
    FLOAT NOT NULL, "by" TEXT NOT NULL, why TEXT, CONSTRAINT pk_aliases PRIMARY KEY (kind, name, alias)) WITHOUT ROWID
    """,
    """
    CREATE TABLE blobs (run INTEGER NOT NULL, digest TEXT NOT NULL, nonce TEXT NOT NULL, size BIGINT NOT NULL, born
    FLOAT NOT NULL, CONSTRAINT pk_blobs PRIMARY KEY (run, digest, nonce)) WITHOUT ROWID
    """,
    """
    CREATE TABLE cursors (name TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, run TEXT, task TEXT, at
    FLOAT, "by" TEXT, CONSTRAINT pk_cursors PRIMARY KEY (name, version)) WITHOUT ROWID
    """,
    """
    CREATE TABLE events (run INTEGER NOT NULL, seq BIGINT NOT NULL, body BLOB NOT NULL, CONSTRAINT pk_events PRIMARY KEY
    (run, seq)) WITHOUT ROWID
    """,
    """
    CREATE TABLE grants (pool TEXT NOT NULL, run TEXT NOT NULL, arrived BIGINT NOT NULL, served BIGINT NOT NULL,
    want_cpu FLOAT NOT NULL, want_memory_gib FLOAT NOT NULL, want_gpus INTEGER NOT NULL, used_cpu FLOAT NOT NULL,
    used_memory_gib FLOAT NOT NULL, used_gpus INTEGER NOT NULL, least_cpu FLOAT NOT NULL, least_memory_gib FLOAT NOT
    NULL, least_gpus INTEGER NOT NULL, cpu FLOAT NOT NULL, memory_gib FLOAT NOT NULL, gpus INTEGER NOT NULL, expires
    FLOAT NOT NULL, CONSTRAINT pk_grants PRIMARY KEY (pool, run)) WITHOUT ROWID
    """,
    """
    CREATE TABLE inbox (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL, kind TEXT NOT NULL, "by"
    TEXT NOT NULL, body TEXT NOT NULL, at FLOAT NOT NULL)
    """,
    """
    CREATE INDEX ix_inbox_run_id ON inbox (run, id)
    """,
    """
    CREATE TABLE logged (run INTEGER NOT NULL, task TEXT NOT NULL, seq BIGINT NOT NULL, CONSTRAINT pk_logged PRIMARY KEY
    (run, task, seq)) WITHOUT ROWID
    """,
    """
    CREATE TABLE metrics (run INTEGER NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, last FLOAT,
    least FLOAT, greatest FLOAT, count BIGINT NOT NULL, first_step BIGINT NOT NULL, last_step BIGINT NOT NULL, at FLOAT
    NOT NULL, source TEXT, source_task TEXT, CONSTRAINT pk_metrics PRIMARY KEY (run, task, kind, name)) WITHOUT ROWID
    """,
    """
    CREATE INDEX ix_metrics_name_run ON metrics (name, run)
    """,
    """
    CREATE TABLE pools (name TEXT NOT NULL, epoch BIGINT NOT NULL, CONSTRAINT pk_pools PRIMARY KEY (name)) WITHOUT ROWID
    """,
    """
    CREATE TABLE results ("key" TEXT NOT NULL, run INTEGER NOT NULL, task TEXT NOT NULL, at FLOAT NOT NULL, unusable
    TEXT, out BLOB NOT NULL, CONSTRAINT pk_results PRIMARY KEY ("key")) WITHOUT ROWID
    """,
    """
    CREATE TABLE runs (number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, pipeline TEXT NOT NULL,
    state TEXT NOT NULL, created FLOAT NOT NULL, bundle TEXT NOT NULL, seconds FLOAT NOT NULL, usd FLOAT NOT NULL,
    params TEXT NOT NULL, why TEXT NOT NULL, ended FLOAT, epoch INTEGER NOT NULL, holder TEXT NOT NULL, CONSTRAINT
    uq_runs_id UNIQUE (id))
    """,
    """
    CREATE INDEX ix_runs_pipeline_number ON runs (pipeline, number)
    """,
    """
    CREATE TABLE tasks (run INTEGER NOT NULL, name TEXT NOT NULL, ordinal INTEGER NOT NULL, stage TEXT NOT NULL, kind
    TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, started FLOAT NOT NULL, seconds FLOAT NOT NULL,
    load_s FLOAT NOT NULL, save_s FLOAT NOT NULL, usd FLOAT NOT NULL, pool TEXT, parent TEXT, bytes BIGINT, digest TEXT,
    log TEXT, log_start BIGINT, log_end BIGINT, reason TEXT NOT NULL, "key" TEXT, code TEXT, inputs BLOB, out BLOB,
    CONSTRAINT pk_tasks PRIMARY KEY (run, name)) WITHOUT ROWID
    """,
    """
    CREATE TABLE versions (kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, identity TEXT NOT NULL, out
    BLOB NOT NULL, report BLOB, run TEXT, task TEXT, at FLOAT NOT NULL, "by" TEXT NOT NULL, note TEXT NOT NULL, origin
    TEXT, preparation BLOB, CONSTRAINT pk_versions PRIMARY KEY (kind, name, version), CONSTRAINT
    uq_versions_kind_name_identity UNIQUE (kind, name, identity)) WITHOUT ROWID
    """,
    """
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY
    (version_num))
    """,
    """
    INSERT INTO alembic_version (version_num) VALUES ('0005')
    """,
)
