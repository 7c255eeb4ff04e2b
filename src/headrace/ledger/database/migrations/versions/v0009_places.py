"""A column for why the attempts of a task went to their pool."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column `pool_reason` to `tasks`. In existing rows it is NULL: their runs used one pool only."""
    op.add_column("tasks", sa.Column("pool_reason", TEXT))
