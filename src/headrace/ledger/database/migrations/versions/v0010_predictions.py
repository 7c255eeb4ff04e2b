"""A table with one row for each part of the prediction logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table `prediction_parts`. It is empty, since no endpoints were served before."""
    op.create_table(
        "prediction_parts",
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("writer", TEXT, nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("out", sa.LargeBinary, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("first", sa.Float, nullable=False),
        sa.Column("last", sa.Float, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "number", name="pk_prediction_parts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_prediction_parts_segment", "prediction_parts", ["endpoint", "writer", "segment"], unique=True)
