"""An index of the events that say which driver took a run, and which pools it went on without."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

LITERAL = {"sqlite": "X'{}'", "postgresql": r"BYTEA '\x{}'"}


def upgrade() -> None:
    """Create the index `ix_events_of_drivers`. This reads all events once."""
    dialect = op.get_context().dialect.name
    kinds = ", ".join(LITERAL[dialect].format(each) for each in ("A4676F6E65", "A574616B65"))  # `gone`, `take`
    condition = sa.text(f"substr(body, 2, 5) IN ({kinds})")
    op.create_index(
        "ix_events_of_drivers", "events", ["run", "seq"], sqlite_where=condition, postgresql_where=condition
    )
