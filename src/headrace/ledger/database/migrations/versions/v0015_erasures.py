"""Tables for the erasure of persons."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables `erasures` and `erased`. They are empty, since nobody was erased before."""
    op.create_table(
        "erasures",
        sa.Column("erasure", TEXT, nullable=False),
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("columns", TEXT, nullable=False),
        sa.Column("salt", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("told", TEXT, nullable=False),
        sa.Column("done", sa.Float),
        sa.PrimaryKeyConstraint("erasure", name="pk_erasures"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erased",
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("nonce", TEXT, nullable=False),
        sa.Column("erasure", TEXT, nullable=False),
        sa.Column("what", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("digest", "nonce", name="pk_erased"),
        sqlite_with_rowid=False,
    )
