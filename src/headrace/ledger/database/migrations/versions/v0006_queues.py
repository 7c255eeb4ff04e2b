"""A column for how long a task waited because its pool had no room."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column `queued_s` to `tasks`. In existing rows it is NULL, since it isn't known how long their tasks
    waited."""
    op.add_column("tasks", sa.Column("queued_s", sa.Float))
