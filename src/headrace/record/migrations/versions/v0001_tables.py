"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("pipeline", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("usd", sa.Float, nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
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
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("load_s", sa.Float, nullable=False),
        sa.Column("save_s", sa.Float, nullable=False),
        sa.Column("usd", sa.Float, nullable=False),
        sa.Column("pool", sa.Text),
        sa.Column("parent", sa.Text),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("digest", sa.Text),
        sa.Column("log", sa.Text),
        sa.Column("log_start", sa.BigInteger),
        sa.Column("log_end", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("inputs", sa.LargeBinary),
        sa.Column("out", sa.LargeBinary),
        sa.PrimaryKeyConstraint("run", "name", name="pk_tasks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "results",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("unusable", sa.Text),
        sa.Column("out", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_results"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blobs",
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("born", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("run", "digest", "nonce", name="pk_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbox_run_id", "inbox", ["run", "id"])
    op.create_table(
        "grants",
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
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
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_pools"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_cursors"),
        sqlite_with_rowid=False,
    )
