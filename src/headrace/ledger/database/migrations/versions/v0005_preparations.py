"""What prepares rows for a registered model, and why an alias was pointed at a version whose report says no."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns; no version has a preparation yet."""
    op.add_column("versions", sa.Column("preparation", sa.LargeBinary))
    op.add_column("aliases", sa.Column("why", TEXT))
