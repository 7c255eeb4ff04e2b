"""Keys of a table: rows that repeat a key, and rows whose key doesn't occur in another table.

NumPy finds whether a column of whole numbers has repeated values: it marks each value as seen if the range of the
values is small, and sorts the values if not. DuckDB then finds the rows that repeat a key. DuckDB also finds keys that
don't occur in another table. Data that don't fit in memory are written to disk by DuckDB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.stages.ingest._check.columns import BLOCK, Rows, view, viewed
from headrace.stages.ingest._check.finding import NONE
from headrace.stages.tables import engine

DENSE = 8
"""A column's values are marked as seen if their range has at most this many possible values per row. A mark takes one
byte per possible value."""


def repeated_rows(columns: Sequence[pa.ChunkedArray]) -> Rows:
    """Return the places of the rows that repeat the values of an earlier row in all of these columns.

    A row with a null in one of the columns is ignored. NaN counts as equal to NaN.
    """
    if not len(columns[0]) or (len(columns) == 1 and _all_differ(columns[0])):
        return NONE
    names = [f"k{place}" for place in range(len(columns))]
    table = pa.table(list(columns), names)
    keys = ", ".join(names)
    there = " and ".join(f"{name} is not null" for name in names)
    repeated = f"select {keys} from t where {there} group by all having count(*) > 1"
    numbered = f"select row_number() over () - 1 as place, {keys} from t"
    with engine.session({"t": table}) as database:
        if database.execute(f"select count(*) from ({repeated})").fetchall()[0][0] == 0:
            return NONE
        later = (
            f"with repeated as ({repeated}), numbered as ({numbered})"
            f" select place from numbered semi join repeated using ({keys})"
            f" qualify row_number() over (partition by {keys} order by place) > 1"
        )
        return np.sort(_places(database, later))


def strange_rows(columns: Sequence[pa.ChunkedArray], others: Sequence[pa.ChunkedArray]) -> Rows:
    """Return the places of the rows of `columns` whose values occur in no row of `others`.

    A row with a null in one of the columns is ignored.

    Raises:
        DataError: the types of `columns` and `others` can't be compared.
    """
    if not len(columns[0]):
        return NONE
    names = [f"k{place}" for place in range(len(columns))]
    tables = {"t": pa.table(list(columns), names), "o": pa.table(list(others), names)}
    there = " and ".join(f"{name} is not null" for name in names)
    keys = ", ".join(names)
    with engine.session(tables) as database:
        sql = (
            f"select place from (select row_number() over () - 1 as place, {keys} from t) anti join o using ({keys})"
            f" where {there}"
        )
        try:
            return np.sort(_places(database, sql))
        except duckdb.Error as error:
            raise engine.told(error, "the comparison of the keys") from error


def _places(database: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    found: Rows = database.sql(sql).fetchnumpy()["place"]
    return np.ma.getdata(found).astype(np.int64)


def _all_differ(values: pa.ChunkedArray) -> bool:
    """Return True if a column surely has no repeated value.

    False means that a value repeats, that the column has nulls, or that its values aren't whole numbers, dates or
    times.
    """
    if not viewed(values.type) or pa.types.is_floating(values.type) or values.null_count:
        return False
    parts = [view(chunk) for chunk in values.chunks if len(chunk)]
    if _ascends(parts):
        return True
    least = min(part.min().item() for part in parts)
    most = max(part.max().item() for part in parts)
    if most - least < DENSE * len(values) + BLOCK:
        seen = np.zeros(most - least + 1, dtype=bool)
        for block in _blocks(parts):
            wide = block if block.dtype.itemsize == 8 else block.astype(np.int64)
            seen[wide - wide.dtype.type(least)] = True
        return int(np.count_nonzero(seen)) == len(values)
    together = np.concatenate(parts)
    together.sort()
    return all(bool((block[1:] != block[:-1]).all()) for block in _blocks([together], overlap=1))


def _ascends(parts: Iterable[Rows]) -> bool:
    """Return whether each value is greater than the value before it. For most unsorted columns, the first block already
    shows that they don't ascend."""
    last: Any = None
    for block in _blocks(parts):
        if (last is not None and block[0] <= last) or not (block[1:] > block[:-1]).all():
            return False
        last = block[-1]
    return True


def _blocks(parts: Iterable[Rows], overlap: int = 0) -> Iterable[Rows]:
    for part in parts:
        for at in range(0, len(part), BLOCK):
            yield part[at : at + BLOCK + overlap]


def distinct(values: pa.ChunkedArray) -> int:
    """Return the number of different values in a column, without nulls."""
    return int(pc.count_distinct(values, mode="only_valid").as_py())
