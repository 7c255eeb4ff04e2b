"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, sa.Identity(), nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("pipeline", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("bundle", TEXT, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("usd", sa.Float, nullable=False),
        sa.Column("params", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_pipeline_number", "runs", ["pipeline", "number"])
    op.create_table(
        "events",
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("run", "seq", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tasks",
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("stage", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("load_s", sa.Float, nullable=False),
        sa.Column("save_s", sa.Float, nullable=False),
        sa.Column("usd", sa.Float, nullable=False),
        sa.Column("pool", TEXT),
        sa.Column("parent", TEXT),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("digest", TEXT),
        sa.Column("log", TEXT),
        sa.Column("log_start", sa.BigInteger),
        sa.Column("log_end", sa.BigInteger),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("key", TEXT),
        sa.Column("code", TEXT),
        sa.Column("inputs", sa.LargeBinary),
        sa.Column("out", sa.LargeBinary),
        sa.PrimaryKeyConstraint("run", "name", name="pk_tasks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "results",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("unusable", TEXT),
        sa.Column("out", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_results"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blobs",
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("nonce", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("born", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("run", "digest", "nonce", name="pk_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.Integer, sa.Identity(), nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbox_run_id", "inbox", ["run", "id"])
    op.create_table(
        "grants",
        sa.Column("pool", TEXT, nullable=False),
        sa.Column("run", TEXT, nullable=False),
        sa.Column("arrived", sa.BigInteger, nullable=False),
        sa.Column("served", sa.BigInteger, nullable=False),
        sa.Column("want_cpu", sa.Float, nullable=False),
        sa.Column("want_memory_gib", sa.Float, nullable=False),
        sa.Column("want_gpus", sa.Integer, nullable=False),
        sa.Column("used_cpu", sa.Float, nullable=False),
        sa.Column("used_memory_gib", sa.Float, nullable=False),
        sa.Column("used_gpus", sa.Integer, nullable=False),
        sa.Column("least_cpu", sa.Float, nullable=False),
        sa.Column("least_memory_gib", sa.Float, nullable=False),
        sa.Column("least_gpus", sa.Integer, nullable=False),
        sa.Column("cpu", sa.Float, nullable=False),
        sa.Column("memory_gib", sa.Float, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("pool", "run", name="pk_grants"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pools",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_pools"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cursors",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_cursors"),
        sqlite_with_rowid=False,
    )
