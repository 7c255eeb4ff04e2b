"""Tables for labels of predictions, and a column for what a token is for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables `label_parts` and `label_withdrawals`, which are empty, and add the column `scopes` to
    `tokens`. In existing rows it is NULL: these tokens were made to ask for predictions."""
    op.create_table(
        "label_parts",
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("writer", TEXT, nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("out", sa.LargeBinary, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("first", sa.Float, nullable=False),
        sa.Column("last", sa.Float, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "number", name="pk_label_parts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_label_parts_segment", "label_parts", ["endpoint", "writer", "segment"], unique=True)
    op.create_table(
        "label_withdrawals",
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("nonce", TEXT, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "source", "nonce", name="pk_label_withdrawals"),
        sqlite_with_rowid=False,
    )
    op.add_column("tokens", sa.Column("scopes", TEXT))
