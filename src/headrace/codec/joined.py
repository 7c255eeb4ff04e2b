"""Tables that are made of several tables: a `Joined` of given tables, and a `Streamed` of pieces that are saved as they
are made. And the other way round: a `Slice`, which is a piece of a larger table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from headrace.codec.later import Later, table_of
from headrace.errors import CodecError, listed


@dataclass(frozen=True, slots=True, weakref_slot=True, init=False)
class Joined:
    """Tables of one schema, one below the other. Each is saved as a part. A stage that takes the `Joined` gets one
    `pyarrow.Table`.

    This is for tables that grow. A part may have been loaded from an artifact, such as a cursor's value or an input. If
    it is still the same object, it isn't written again: the new artifact refers to the old one. So a run that adds a
    little to a large table writes only a little. Parts with equal rows, cut at the same places, make the same artifact.
    A stage that returns a `Joined` is annotated `-> pyarrow.Table`; the next stage gets the table that the property
    `table` returns.

    >>> Joined([pa.table({"a": [1, 2]}), pa.table({"a": [3]})]).table["a"].to_pylist()
    [1, 2, 3]
    """

    tables: tuple[Any, ...]

    def __init__(self, tables: Iterable[Any]) -> None:
        """Take the parts in order: at least one, and all with the same schema. Raises `CodecError`.

        The schema of a part that is a `Later` isn't checked.
        """
        parts = tuple(tables)
        if not parts:
            raise CodecError(
                "a `Joined` of no tables has no columns",
                hint="pass an empty table with its schema: `schema.empty_table()`",
            )
        here = [table for table in parts if not isinstance(table, Later)]
        for table in here[1:]:
            if not table.schema.equals(here[0].schema):
                raise CodecError(
                    f"the tables of a `Joined` differ: {_difference(here[0].schema, table.schema)}",
                    hint="cast them to one schema first",
                )
        object.__setattr__(self, "tables", parts)

    @property
    def table(self) -> Any:
        """All parts as one `pyarrow.Table`. No data is copied."""
        return pa.concat_tables(map(table_of, self.tables))


def _difference(one: Any, other: Any) -> str:
    """Return a text that says where two schemas differ."""
    if one.names != other.names:
        return f"one has the columns {listed(one.names)}, another {listed(other.names)}"
    for left, right in zip(one, other, strict=True):
        if left.type != right.type:
            return f"column `{left.name}` is `{left.type}` in one, `{right.type}` in another"
    return "one says that a column holds no nulls, another that it may"


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Streamed:
    """Pieces of a table, which are saved one by one as they are made. Loading returns one `pyarrow.Table`.

    The number of rows in each piece is a multiple of the number that the codec `arrow` writes at once (`batch_rows` of
    the schema). The last piece may have any number of rows. So the same bytes are written as for the whole table, but
    the whole table needn't be in memory. Columns of dictionary types are not possible, since a table's dictionaries are
    merged before any batch is written.
    """

    schema: Any
    pieces: Iterable[Any]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Slice:
    """The rows `start` to `start + count` of a table. Only the larger table is saved, once for all of its slices.
    Loading returns the rows as a `pyarrow.Table`."""

    whole: Any
    start: int
    count: int
