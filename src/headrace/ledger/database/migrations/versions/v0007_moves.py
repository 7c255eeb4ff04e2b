"""A table with one row for each move of an alias."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table `alias_moves`. It is empty, since earlier moves of aliases weren't recorded."""
    op.create_table(
        "alias_moves",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("alias", TEXT, nullable=False),
        sa.Column("nonce", TEXT, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("was", sa.Integer),
        sa.Column("version", sa.Integer),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("run", TEXT),
        sa.Column("task", TEXT),
        sa.Column("why", TEXT),
        sa.PrimaryKeyConstraint("kind", "name", "alias", "nonce", name="pk_alias_moves"),
        sqlite_with_rowid=False,
    )
