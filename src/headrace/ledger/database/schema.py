"""The versions of the tables, one a migration (`migrations/versions`), and what each has brought."""

from __future__ import annotations

SCHEMA = 6
"""The version of `ledger.sql`. SQLite keeps it as `user_version`, where it is read without SQLAlchemy."""

SINCE: dict[int, dict[str, tuple[str, ...]]] = {
    3: {"cursors": ("run", "task", "at"), "metrics": (), "logged": (), "versions": (), "aliases": ()},
    4: {"cursors": ("by",)},
    5: {"versions": ("preparation",), "aliases": ("why",)},
    6: {"tasks": ("queued_s",)},
}
"""The columns that a table has got with a version of the tables; where none is named, the table itself came with it.
An archive of before lacks them."""


def revision(schema: int = SCHEMA) -> str:
    """Return the name that Alembic knows a version by."""
    return f"{schema:04d}"
