"""A table with one row for each token by which clients ask endpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table `tokens`. It is empty, since there were no tokens before."""
    op.create_table(
        "tokens",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("endpoints", TEXT, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("revoked", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sqlite_with_rowid=False,
    )
