"""The text of the statements that SQLite runs. Made by `python -m headrace.record.queries`: don't edit.

A comment names each statement's parameters, in order.
"""

from __future__ import annotations

SCHEMA = 1

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
SELECT results.out, results.at, runs.id FROM results LEFT OUTER JOIN runs ON runs.number = results.run WHERE
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

# pipeline, number, limit
EARLIER_RUNS = """
SELECT runs.number, runs.id FROM runs WHERE runs.pipeline = ? AND runs.number < ? ORDER BY runs.number DESC LIMIT ?
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
POOL_EPOCH = """
SELECT pools.epoch FROM pools WHERE pools.name = ?
"""

# name, epoch
PUT_POOL = """
INSERT INTO pools (name, epoch) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch
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

# name, version, value
ADVANCE_CURSOR = """
INSERT INTO cursors (name, version, value) VALUES (?, ?, ?)
"""

# name, version, value
PUT_CURSOR = """
INSERT INTO cursors (name, version, value) VALUES (?, ?, ?) ON CONFLICT (name, version) DO UPDATE SET value =
excluded.value
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
tasks.load_s, tasks.save_s, tasks.usd, tasks.pool, tasks.out FROM tasks WHERE tasks.run = ?
"""

# run, limit
FAILED_LINES = """
SELECT tasks.ordinal, tasks.name, tasks.stage, tasks.kind, tasks.state, tasks.reason, tasks.attempts, tasks.seconds,
tasks.load_s, tasks.save_s, tasks.usd, tasks.pool, tasks.out FROM tasks WHERE tasks.run = ? AND tasks.state =
'failed' ORDER BY tasks.ordinal LIMIT ?
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
seconds, max(tasks.seconds) AS longest_s, sum(tasks.usd) AS usd, sum(tasks.bytes) AS bytes, sum(tasks.attempts) AS
attempts FROM tasks WHERE tasks.run = ? GROUP BY tasks.stage, tasks.kind, tasks.state
"""

# pipeline, limit
HISTORY = """
SELECT tasks.run, coalesce(tasks.parent, tasks.name) AS task, tasks.stage, count(CASE WHEN (tasks.state =
'succeeded' AND tasks.attempts > 0) THEN 1 END) AS ran, count(tasks.parent) AS elements, avg(CASE WHEN (tasks.state
= 'succeeded' AND tasks.attempts > 0) THEN 1 END * tasks.seconds) AS seconds, max(CASE WHEN (tasks.state =
'succeeded' AND tasks.attempts > 0) THEN 1 END * tasks.seconds) AS longest_s, avg(CASE WHEN (tasks.state =
'succeeded' AND tasks.attempts > 0) THEN 1 END * (tasks.load_s + tasks.save_s)) AS moving_s, avg(CASE WHEN
(tasks."key" IS NOT NULL) THEN tasks.bytes END) AS bytes FROM tasks WHERE tasks.run IN (SELECT runs.number FROM runs
WHERE runs.pipeline = ? ORDER BY runs.number DESC LIMIT ?) GROUP BY tasks.run, coalesce(tasks.parent, tasks.name),
tasks.stage
"""

ALL_RUNS = """
SELECT runs.number, runs.id, runs.state, runs.created, runs.ended, runs.bundle FROM runs ORDER BY runs.number
"""

ALL_BLOBS = """
SELECT blobs.run, blobs.digest, blobs.nonce, blobs.size FROM blobs
"""

ALL_RESULTS = """
SELECT results."key", results.run, results.task, results.out, results.unusable FROM results
"""

ALL_OUTS = """
SELECT tasks.run, tasks.name, tasks.state, tasks."key", tasks.out FROM tasks WHERE tasks.out IS NOT NULL
"""

# run
RUNNING_SINCE = """
SELECT min(tasks.started) AS min_1 FROM tasks WHERE tasks.run = ? AND tasks.state = 'running'
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

# adopter, key, number
ADOPT_RESULT = """
UPDATE results SET run=? WHERE results."key" = ? AND results.run = ?
"""

# why, key
DOUBT_RESULT = """
UPDATE results SET unusable=? WHERE results."key" = ?
"""

# to, key
POINT_RESULT = """
UPDATE results SET out=? WHERE results."key" = ?
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

CREATE = (
    """
    CREATE TABLE blobs (run INTEGER NOT NULL, digest TEXT NOT NULL, nonce TEXT NOT NULL, size BIGINT NOT NULL, born
    FLOAT NOT NULL, CONSTRAINT pk_blobs PRIMARY KEY (run, digest, nonce)) WITHOUT ROWID
    """,
    """
    CREATE TABLE cursors (name TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, CONSTRAINT pk_cursors
    PRIMARY KEY (name, version)) WITHOUT ROWID
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
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY
    (version_num))
    """,
    """
    INSERT INTO alembic_version (version_num) VALUES ('0001')
    """,
)
