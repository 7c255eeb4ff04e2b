"""Adds tables for logged metrics and for versions of models and datasets. Also adds columns to `cursors` for the task
that set a version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables `metrics`, `logged`, `versions` and `aliases`, and add the columns `run`, `task` and `at` to
    `cursors`. In existing rows of `cursors`, these columns are NULL, since it isn't known which task set the
    version."""
    for name, kind in (("run", TEXT), ("task", TEXT), ("at", sa.Float)):
        op.add_column("cursors", sa.Column(name, kind))
    op.create_table(
        "metrics",
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("last", sa.Float),
        sa.Column("least", sa.Float),
        sa.Column("greatest", sa.Float),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("source", TEXT),
        sa.Column("source_task", TEXT),
        sa.PrimaryKeyConstraint("run", "task", "kind", "name", name="pk_metrics"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_metrics_name_run", "metrics", ["name", "run"])
    op.create_table(
        "logged",
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run", "task", "seq", name="pk_logged"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "versions",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("identity", TEXT, nullable=False),
        sa.Column("out", sa.LargeBinary, nullable=False),
        sa.Column("report", sa.LargeBinary),
        sa.Column("run", TEXT),
        sa.Column("task", TEXT),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("note", TEXT, nullable=False),
        sa.Column("origin", TEXT),
        sa.PrimaryKeyConstraint("kind", "name", "version", name="pk_versions"),
        sa.UniqueConstraint("kind", "name", "identity", name="uq_versions_kind_name_identity"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "aliases",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("alias", TEXT, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "alias", name="pk_aliases"),
        sqlite_with_rowid=False,
    )
