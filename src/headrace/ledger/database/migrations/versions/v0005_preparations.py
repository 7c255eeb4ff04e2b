"""Adds columns for the preparation of a registered model, and for the reason why an alias points at a version although
the version's report advises against that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns `preparation` to `versions` and `why` to `aliases`. In existing rows they are NULL."""
    op.add_column("versions", sa.Column("preparation", sa.LargeBinary))
    op.add_column("aliases", sa.Column("why", TEXT))
