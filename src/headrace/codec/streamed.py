"""A table that is saved while it is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Streamed:
    """Pieces of a table, to be saved one by one as they come; loading gives one `pyarrow.Table`.

    Each piece is a table of as many rows as the codec `arrow` writes at once (`batch_rows` of the schema), or a
    multiple of it; the last one of any number. So its bytes are those of the whole table, which needn't be in memory.
    Types with dictionaries won't do, since those are made one over the whole table.
    """

    schema: Any
    pieces: Iterable[Any]
