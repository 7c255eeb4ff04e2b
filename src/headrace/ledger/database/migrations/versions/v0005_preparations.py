"""Columns for a registered model's preparation, and for why an alias points at a version whose report advises against
it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns. They are NULL in existing rows."""
    op.add_column("versions", sa.Column("preparation", sa.LargeBinary))
    op.add_column("aliases", sa.Column("why", TEXT))
