"""How long the pool had no room for a task."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; of tasks that are there, it isn't known."""
    op.add_column("tasks", sa.Column("queued_s", sa.Float))
