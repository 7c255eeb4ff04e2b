"""Tables made of tables: the tables of a `Joined`, and the pieces of a `Streamed`, which is saved while it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from headrace.codec.later import Later, table_of
from headrace.errors import CodecError, listed


@dataclass(frozen=True, slots=True, weakref_slot=True, init=False)
class Joined:
    """Tables of one schema, one below the other, saved as parts; a stage that takes it gets one `pyarrow.Table`.

    This is for tables that grow. A part that was itself loaded from an artifact (a cursor's value, an input), and is
    returned as the same object, isn't written again: the artifact refers to it. So a run that adds a little to a large
    table writes only a little. Parts with equal rows, cut at the same places, make the same artifact. A stage that
    returns a `Joined` is annotated `-> pyarrow.Table`, and `table` is what the next stage gets.

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
        """The whole as one `pyarrow.Table`; nothing is copied."""
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
    """Pieces of a table, saved one by one as they are made; loading returns one `pyarrow.Table`.

    Each piece is a table with as many rows as the codec `arrow` writes at once (`batch_rows` of the schema), or a
    multiple of this number; the last piece may have any number of rows. So the bytes are the same as those of the whole
    table, but the whole table needn't be in memory. Columns of dictionary types aren't possible, since their
    dictionaries are merged over the whole table.
    """

    schema: Any
    pieces: Iterable[Any]
