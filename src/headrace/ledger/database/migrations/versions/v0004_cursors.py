"""A column for the user who moved a cursor outside of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column `by` to `cursors`. In existing rows it is NULL, since only tasks have set cursors so far."""
    op.add_column("cursors", sa.Column("by", TEXT))
