"""A table that consists of tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from headrace.codec.later import Later, table_of
from headrace.errors import CodecError, listed


@dataclass(frozen=True, slots=True, weakref_slot=True, init=False)
class Joined:
    """Tables of one schema, one below the other, to be kept in parts; a stage that takes it gets one `pyarrow.Table`.

    For what grows: a part that was itself loaded from an artifact (a cursor's value, an input) and is given out again
    as the same object is named by that artifact and not written again. So a run that adds a little to much writes a
    little. Parts of equal rows, cut alike, make the same artifact. A stage that gives one out is annotated
    `-> pyarrow.Table`, and `table` is what the next one sees.

    >>> Joined([pa.table({"a": [1, 2]}), pa.table({"a": [3]})]).table["a"].to_pylist()
    [1, 2, 3]
    """

    tables: tuple[Any, ...]

    def __init__(self, tables: Iterable[Any]) -> None:
        """Take the parts, in order: at least one, all of one schema. Raises `CodecError`.

        Those that are opened `Later` are not looked at.
        """
        given = tuple(tables)
        if not given:
            raise CodecError(
                "a `Joined` of no tables has no columns",
                hint="give an empty table of its schema: `schema.empty_table()`",
            )
        here = [each for each in given if not isinstance(each, Later)]
        for each in here[1:]:
            if not each.schema.equals(here[0].schema):
                raise CodecError(
                    f"the tables of a `Joined` differ: {_difference(here[0].schema, each.schema)}",
                    hint="cast them to one schema first",
                )
        object.__setattr__(self, "tables", given)

    @property
    def table(self) -> Any:
        """The whole, as one `pyarrow.Table`; nothing is copied."""
        return pa.concat_tables(map(table_of, self.tables))


def _difference(one: Any, other: Any) -> str:
    """Say where two schemas differ."""
    if one.names != other.names:
        return f"one has the columns {listed(one.names)}, another {listed(other.names)}"
    for left, right in zip(one, other, strict=True):
        if left.type != right.type:
            return f"column `{left.name}` is `{left.type}` in one, `{right.type}` in another"
    return "one says that a column holds no nulls, another that it may"
