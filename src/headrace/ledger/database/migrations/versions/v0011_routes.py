"""A table with one row for each move of the route of an endpoint."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table `routes`. It is empty, since there were no endpoints before."""
    op.create_table(
        "routes",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("nonce", TEXT, nullable=False),
        sa.Column("route", TEXT),
        sa.Column("version", sa.Integer),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("run", TEXT),
        sa.Column("task", TEXT),
        sa.Column("why", TEXT),
        sa.PrimaryKeyConstraint("name", "number", name="pk_routes"),
        sqlite_with_rowid=False,
    )
