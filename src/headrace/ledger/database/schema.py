"""The versions of the tables, one for each migration (`migrations/versions`), and which columns each version added."""

from __future__ import annotations

SCHEMA = 16
"""The version of `ledger.sql`. SQLite also keeps this number as `user_version`, where it can be read without
SQLAlchemy."""

SINCE: dict[int, dict[str, tuple[str, ...]]] = {
    3: {"cursors": ("run", "task", "at"), "metrics": (), "logged": (), "versions": (), "aliases": ()},
    4: {"cursors": ("by",)},
    5: {"versions": ("preparation",), "aliases": ("why",)},
    6: {"tasks": ("queued_s",)},
    7: {"alias_moves": ()},
    8: {"outbox": ()},
    9: {"tasks": ("pool_reason",)},
    10: {"prediction_parts": ()},
    11: {"routes": ()},
    12: {"tokens": ()},
    13: {"label_parts": (), "label_withdrawals": (), "tokens": ("scopes",)},
    14: {"prediction_batches": ()},
    15: {"erasures": (), "erased": ()},
}
"""For each version, the columns that this version added to each table; an empty tuple means that the version added the
whole table. Archives of earlier versions lack these columns."""


def revision(schema: int = SCHEMA) -> str:
    """Return Alembic's name for a version of the tables."""
    return f"{schema:04d}"
