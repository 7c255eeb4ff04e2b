"""The ledger's tables, declared once for SQLite and PostgreSQL.

A run has two names: `number`, which orders runs by their birth whatever the clock said, and `id`, which people see.
Other tables refer to runs by number. Only `number` is ever given out by the database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy import Text as PlainText
from sqlalchemy.dialects import postgresql

SCHEMA = 5
"""Counts the migrations; SQLite keeps it as `user_version`, where it is read without SQLAlchemy."""

Text = PlainText().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Ordered by its bytes, which the look-up of what begins with something relies on; PostgreSQL has to be told."""

SHARED = "postgresql"
"""What some tables and indexes are for alone: ledgers that drivers of several machines share."""


def revision(schema: int = SCHEMA) -> str:
    """Give the name that Alembic knows a schema by."""
    return f"{schema:04d}"


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# `epoch` counts the drivers that have held the lease, and each write of a driver checks it. `holder` says for people
# who the last one was. The other columns are the row that the driver projects (`run.ports.RunRow`).
runs = Table(
    "runs",
    metadata,
    Column("number", Integer, Identity()),
    Column("id", Text, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("usd", Float, nullable=False),
    Column("params", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("ended", Float),
    Column("epoch", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    PrimaryKeyConstraint("number"),
    UniqueConstraint("id"),
    Index(None, "pipeline", "number"),
    sqlite_autoincrement=True,  # the number of a run that was deleted is never given to another
)

# What happened, as the workers and the driver wrote it. Everything else about a run can be made anew from this.
events = Table(
    "events",
    metadata,
    Column("run", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run", "seq"),
    sqlite_with_rowid=False,
)

# The projection of each task (`run.ports.TaskRow`). `digest` and `bytes` are read out of `out`, for lineage and sizes.
# The wide columns come last, so that a scan for states and times doesn't read them.
tasks = Table(
    "tasks",
    metadata,
    Column("run", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("load_s", Float, nullable=False),
    Column("save_s", Float, nullable=False),
    Column("usd", Float, nullable=False),
    Column("pool", Text),
    Column("parent", Text),
    Column("bytes", BigInteger),
    Column("digest", Text),
    Column("log", Text),
    Column("log_start", BigInteger),
    Column("log_end", BigInteger),
    Column("reason", Text, nullable=False),
    Column("key", Text),
    Column("code", Text),
    Column("inputs", LargeBinary),
    Column("out", LargeBinary),
    PrimaryKeyConstraint("run", "name"),
    Index(None, "digest", info={"only": SHARED}),  # a ledger that is shared grows beyond what a look-up may scan
    sqlite_with_rowid=False,
)

# Outputs that later runs may reuse. `unusable` is the reason why this one may not, since its blobs were found wanting.
results = Table(
    "results",
    metadata,
    Column("key", Text, nullable=False),
    Column("run", Integer, nullable=False),
    Column("task", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("unusable", Text),
    Column("out", LargeBinary, nullable=False),
    PrimaryKeyConstraint("key"),
    sqlite_with_rowid=False,
)

# The generations in the store that a run names: while the run's rows are there, they are not collected.
blobs = Table(
    "blobs",
    metadata,
    Column("run", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("nonce", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("born", Float, nullable=False),
    PrimaryKeyConstraint("run", "digest", "nonce"),
    Index(None, "digest", info={"only": SHARED}),
    sqlite_with_rowid=False,
)

# Signals to a run, until its driver absorbs them as events.
inbox = Table(
    "inbox",
    metadata,
    Column("id", Integer, Identity()),
    Column("run", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("id"),
    Index(None, "run", "id"),
    sqlite_autoincrement=True,  # a driver that absorbed signal 7 must never see another 7
)

# What each live run wants of a pool, uses of it and may use. `served` is the pool's epoch when the run last got more.
grants = Table(
    "grants",
    metadata,
    Column("pool", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("arrived", BigInteger, nullable=False),
    Column("served", BigInteger, nullable=False),
    Column("want_cpu", Float, nullable=False),
    Column("want_memory_gib", Float, nullable=False),
    Column("want_gpus", Integer, nullable=False),
    Column("used_cpu", Float, nullable=False),
    Column("used_memory_gib", Float, nullable=False),
    Column("used_gpus", Integer, nullable=False),
    Column("least_cpu", Float, nullable=False),
    Column("least_memory_gib", Float, nullable=False),
    Column("least_gpus", Integer, nullable=False),
    Column("cpu", Float, nullable=False),
    Column("memory_gib", Float, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("expires", Float, nullable=False),
    PrimaryKeyConstraint("pool", "run"),
    sqlite_with_rowid=False,
)

# The epoch of a pool counts the decisions about it.
pools = Table(
    "pools",
    metadata,
    Column("name", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
)

# Values that live between runs; each version is kept, with the task that set it (`run` is its id), or who did by hand.
cursors = Table(
    "cursors",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("run", Text),
    Column("task", Text),
    Column("at", Float),
    Column("by", Text),
    PrimaryKeyConstraint("name", "version"),
    sqlite_with_rowid=False,
)

# What the tasks of a run have logged, summed up by name (`run.curves.Summary`); NaN stands as nothing. For a task that
# was reused, `source` and `source_task` say of which run (by its id) and task the values are.
metrics = Table(
    "metrics",
    metadata,
    Column("run", Integer, nullable=False),
    Column("task", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("last", Float),
    Column("least", Float),
    Column("greatest", Float),
    Column("count", BigInteger, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("source", Text),
    Column("source_task", Text),
    PrimaryKeyConstraint("run", "task", "kind", "name"),
    Index(None, "name", "run"),
    sqlite_with_rowid=False,
)

# Which events of a run hold what its tasks have logged, so that curves are read without the others.
logged = Table(
    "logged",
    metadata,
    Column("run", Integer, nullable=False),
    Column("task", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("run", "task", "seq"),
    sqlite_with_rowid=False,
)

# The numbered versions of models and datasets: each an artifact, `identity` that of its value. `run` (its id) and
# `task` have registered it, or somebody from the command line; `origin` says where it came from then. `preparation` is
# the artifact of what prepares rows for a model.
versions = Table(
    "versions",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("identity", Text, nullable=False),
    Column("out", LargeBinary, nullable=False),
    Column("report", LargeBinary),
    Column("run", Text),
    Column("task", Text),
    Column("at", Float, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("origin", Text),
    Column("preparation", LargeBinary),
    PrimaryKeyConstraint("kind", "name", "version"),
    UniqueConstraint("kind", "name", "identity"),
    sqlite_with_rowid=False,
)

# Names that point at one of the versions. `why` is given by who pointed one at a version whose report says no.
aliases = Table(
    "aliases",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text),
    PrimaryKeyConstraint("kind", "name", "alias"),
    sqlite_with_rowid=False,
)

# What the ledger knows of itself, such as the project whose it is.
about = Table(
    "about",
    metadata,
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
)

# Who drives which run, by the clock of the server. `token` is of one holder alone: each of its writes asks for it. On
# SQLite, locks on files say it, which a kernel frees at once.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("expires", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("name"),
    info={"only": SHARED},
)


def is_for(item: Table | Index, dialect: str) -> bool:
    """Say whether a table or an index is one of those that a dialect's ledgers have."""
    return item.info.get("only") in (None, dialect)
