"""A table that is opened when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Later:
    """A table that a cursor or another value holds among many, most of which nobody looks at; loading gives one again.

    What was loaded is given out again, alone or in a `Joined`, without being opened: it is named by its artifact.
    """

    num_rows: int
    open: Callable[[], Any]
    """Gives the table, the same each time."""

    @classmethod
    def of(cls, table: Any) -> Self:
        """Return one for a table that is here."""
        return cls(table.num_rows, lambda: table)


def table_of(table: Any) -> Any:
    """Return a table itself, or the one that is opened later."""
    return table.open() if isinstance(table, Later) else table
