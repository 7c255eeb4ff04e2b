"""A table that is opened only when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Later:
    """A table that is opened only when it is needed, such as one of the many tables in a cursor's value.

    A `Later` is loaded as a `Later` again. If a stage returns a loaded `Later`, alone or in a `Joined`, its table isn't
    opened: the new artifact refers to the old one.
    """

    num_rows: int
    open: Callable[[], Any]
    """Returns the table; each call returns the same object."""

    @classmethod
    def of(cls, table: Any) -> Self:
        """Return a `Later` for a table that is already in memory."""
        return cls(table.num_rows, lambda: table)


def table_of(table: Any) -> Any:
    """Return the table of a `Later`, or the given table itself if it isn't a `Later`."""
    return table.open() if isinstance(table, Later) else table
