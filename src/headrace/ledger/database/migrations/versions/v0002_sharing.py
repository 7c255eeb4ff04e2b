"""Tables for a shared ledger: the project that owns it, and leases that expire by the server's clock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables `about` and (on a server) `leases`, and indexes that find artifacts among many runs."""
    op.create_table(
        "about",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_about"),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        op.create_table(
            "leases",
            sa.Column("name", TEXT, nullable=False),
            sa.Column("token", sa.BigInteger, nullable=False),
            sa.Column("pid", sa.Integer, nullable=False),
            sa.Column("host", TEXT, nullable=False),
            sa.Column("holder", TEXT, nullable=False),
            sa.Column("since", sa.DateTime(timezone=True), nullable=False),
            sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
            sa.PrimaryKeyConstraint("name", name="pk_leases"),
        )
        op.create_index("ix_tasks_digest", "tasks", ["digest"])
        op.create_index("ix_blobs_digest", "blobs", ["digest"])
