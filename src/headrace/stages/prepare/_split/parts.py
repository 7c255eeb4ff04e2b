"""Finds the part of a split that each row goes to: by the digest of the row's key, or by the row's time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DataError, UsageError
from headrace.models.types import is_text, plain_type
from headrace.spec.duration import seconds
from headrace.stages.tables import engine
from headrace.stages.tables.columns import rows_have

PARTS = ("train", "valid", "test")
LEFT_OUT = 3
"""The part number of rows that are in no part."""
TOLD = "coalesce(length({0}::varchar) || ':' || {0}::varchar, 'n')"
"""SQL that writes a value as text, after the length of the text. So rows with different values never give the same
text."""
STRIP = 200
"""The number of columns that DuckDB gets at a time, since its query plans grow faster than the number of columns."""
Numbers = np.ndarray[Any, Any]


def drawn(table: pa.Table, names: Sequence[str], seed: int) -> Numbers:
    """Return a number from 0 up to 1 for each row. It depends only on `seed` and on the row's values in the columns
    `names`.

    The number comes from the MD5 of the seed and of the values as text, each with its length. The last eight bytes of
    the MD5, the least significant byte first, are a whole number, which is divided by 2^64. So the number doesn't
    depend on other rows, on their order or on the machine.
    """
    values, told = [table.column(name) for name in names], TOLD
    if len(values) > STRIP:
        strips = (values[at : at + STRIP] for at in range(0, len(values), STRIP))
        values = [_texts(some) for some in strips]
        told = "{0}"
    sql = f"(md5_number(concat('{int(seed)}/', {_each(values, told)})) >> 64)::ubigint"
    with engine.session({"t": _named(values)}) as database:
        found = np.ma.getdata(database.sql(f"select {sql} as number from t").fetchnumpy()["number"])
    return found.astype(np.float64) / 2.0**64


def _texts(values: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    with engine.session({"t": _named(values)}) as database:
        asked = database.sql(f"select concat({_each(values, TOLD)}) as whole from t")
        return asked.to_arrow_reader(1 << 20).read_all().column("whole")


def _named(values: Sequence[pa.ChunkedArray]) -> pa.Table:
    return pa.table(list(values), [f"c{place}" for place in range(len(values))])


def _each(values: Sequence[pa.ChunkedArray], told: str) -> str:
    return ", ".join(told.format(f"c{place}") for place in range(len(values)))


def by_share(numbers: Numbers, shares: Sequence[float]) -> Numbers:
    """Return each row's part: rows with a number below the first share are in the first part, and so on."""
    ends = np.cumsum(shares)[:-1]
    return np.searchsorted(ends, numbers, side="right").astype(np.int8)


def by_stratum(numbers: Numbers, strata: Numbers, shares: Sequence[float]) -> Numbers:
    """Return each row's part, such that each stratum is split by the shares as closely as whole rows allow.

    The rows of a stratum are ordered by their numbers. Equal rows have equal numbers, and stay together.
    """
    order = np.lexsort((numbers, strata))
    sorted_strata, sorted_numbers = strata[order], numbers[order]
    starts = np.flatnonzero(np.append(True, sorted_strata[1:] != sorted_strata[:-1]))
    sizes = np.diff(np.append(starts, len(strata)))
    # the position of the first row with the same number within the stratum, as a share of the stratum
    new = np.append(True, (sorted_strata[1:] != sorted_strata[:-1]) | (sorted_numbers[1:] != sorted_numbers[:-1]))
    first = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    place = (first - np.repeat(starts, sizes) + 0.5) / np.repeat(sizes, sizes)
    parts = np.empty(len(order), np.int8)
    parts[order] = by_share(place, shares)
    return parts


def instants(column: pa.ChunkedArray, name: str) -> Numbers:
    """Return times as numbers that can be compared: timestamps and dates in microseconds, and numbers as they are.

    Raises:
        DataError: the values aren't times, or one is missing.
    """
    if column.null_count:
        raise DataError(
            f"{rows_have(column.null_count)} no `{name}`, which decides the part of a row",
            hint="drop these rows in an earlier stage, or fill in the missing values there",
        )
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        rule = f'prepare.Dates(columns="{name}", formats=("%Y-%m-%d",))'
        hint = (
            f"make times of it first: `prepare.clean(table, [{rule}])`"
            if is_text(plain_type(kind))
            else "give a column of dates, timestamps or numbers"
        )
        raise DataError(f"`{name}` is `{kind}`, not a time", hint=hint)
    numbers: Numbers = column.to_numpy()
    if numbers.dtype.kind == "f" and np.isnan(numbers).any():
        raise DataError(
            f"`{name}` is NaN in some rows",
            hint="drop these rows in an earlier stage, or fill in the missing values there",
        )
    return numbers


def instant(value: object, kind: pa.DataType) -> Any:
    """Return a boundary between parts (a value of `until`) as a number. It can be compared with the numbers that
    `instants` returns. A time without a zone counts as UTC.

    Raises:
        UsageError: the value isn't a time that a column of this type can have.
    """
    timed = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if isinstance(value, str) and timed:
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise UsageError(f"`until` has {value!r}, which is not a time", hint='write it as "2013-10-01"') from error
    if timed and isinstance(value, date):
        at = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return pc.cast(pa.scalar(at, pa.timestamp("us", "UTC")), pa.int64()).as_py()
    if not timed and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise UsageError(f"`until` has {value!r}, and the column is `{kind}`", hint="give a value of that type")


def by_time(times: Numbers, shares: Sequence[float], until: Sequence[Any], gap: Any) -> tuple[Numbers, list[Any]]:
    """Return each row's part, and the times at which the later parts begin.

    Without `until`, the boundaries are the times that split the rows by the shares. Rows with the same time stay
    together. Rows within `gap` before a boundary are left out, because their target isn't known yet at the boundary.
    """
    ends = list(until)
    if not ends and len(times):
        ordered = np.sort(times)
        places = (round(end * len(ordered)) for end in np.cumsum(shares)[:-1])
        ends = [ordered[place].item() if place < len(ordered) else ordered[-1].item() + 1 for place in places]
    parts = np.searchsorted(np.array(ends), times, side="right").astype(np.int8) if ends else np.zeros(0, np.int8)
    if gap:
        for part, end in enumerate(ends):
            parts[(parts == part) & (times >= end - gap)] = LEFT_OUT
    return parts, ends


def gap_of(gap: str | float | None, kind: pa.DataType) -> Any:
    """Return a gap in the unit of the numbers that `instants` returns.

    Raises:
        UsageError: the gap is negative, or is a text although the column has numbers.
    """
    if not isinstance(gap, str | None) and not gap >= 0:
        raise UsageError(f"gap={gap!r} is not a gap", hint='give a number from 0, or a time such as "7d"')
    if gap is None:
        return 0
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return int(seconds(gap, name="gap") * 1_000_000)
    if isinstance(gap, str):
        raise UsageError(
            f"gap={gap!r} is a time, but the column is `{kind}`", hint="give a number in the unit of the column"
        )
    return gap
