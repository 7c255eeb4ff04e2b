"""A table that is opened only when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Later:
    """A table that is opened only when it is needed, such as one of the many tables in a cursor's value.

    Loading its artifact returns a `Later` again. If a stage returns this `Later`, alone or in a `Joined`, the table
    isn't opened: the new artifact refers to the old one.
    """

    num_rows: int
    open: Callable[[], Any]
    """Returns the table, the same one each time."""

    @classmethod
    def of(cls, table: Any) -> Self:
        """Return a `Later` for a table that is already in memory."""
        return cls(table.num_rows, lambda: table)


def table_of(table: Any) -> Any:
    """Return the table itself; a `Later` is opened."""
    return table.open() if isinstance(table, Later) else table
