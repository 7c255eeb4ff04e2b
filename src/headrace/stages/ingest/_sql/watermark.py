"""Watermarks: how far a source has been read, and from where the next read begins."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import DataError, DefinitionError
from headrace.spec.duration import seconds
from headrace.stages.ingest._check.finding import value_of
from headrace.stages.tables.arrays import floats, numbers
from headrace.stages.tables.columns import rows_have

AHEAD = 10
"""How far the highest watermark must be above the others before a warning is logged.

The unit is the distance from the watermarks' median to their 99th percentile. There is a warning if the highest
watermark is more than this many units above that percentile.
"""
FEW = 20
"""With fewer rows than this, watermarks are not compared with each other."""
SLACK = dt.timedelta(days=1)
"""How far in the future a watermark may be before a warning is logged. A time without a zone may be in any zone, so it
may seem to be in the future."""
_TEXT = re.compile(r"(\d{4}-\d\d-\d\d)(?:([T ])(\d\d:\d\d(?::\d\d)?))?")


def highest(column: Any, reached: Any, name: str) -> Any:
    """Return the highest value of a watermark column, or the value reached before (`reached`) if that is higher.

    `column` is a chunked array, and `name` its name in errors. Return None if the column has no value and `reached` is
    None.

    Raises:
        DataError: a row has no watermark, or the column's type has no order.
    """
    if column.null_count:
        raise DataError(
            f"{column.null_count:,} row{'s have' if column.null_count > 1 else ' has'} no watermark: `{name}` is null",
            hint=f"such rows would never be read again: set one in the query, such as coalesce({name}, created)",
        )
    kind = column.type
    if not (_is_ordered(kind) or pa.types.is_string(kind)):
        raise DataError(f"the watermark `{name}` is `{kind}`, which has no order", hint="take a number, date or time")
    top = pc.max(column)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        top = top.cast(pa.timestamp("us", kind.tz), safe=False)  # Python's times have no nanoseconds
    try:
        found = [each for each in (top.as_py(), reached) if each is not None]
    except OverflowError as error:
        raise DataError(
            f"the watermark `{name}` has a time beyond the years 1 to 9999", hint="leave such rows out in the query"
        ) from error
    return max(found, default=None)


def ahead(column: Any, name: str, *, now: dt.datetime) -> str:
    """Return a warning if the highest watermarks seem to be wrong; otherwise return an empty text.

    They seem to be wrong if they are far above the other watermarks or in the future. They also seem to be wrong if the
    highest watermark is a text that isn't a time, and the lowest watermark is a time.

    `column` is a chunked array. The next read begins at the highest watermark, so it misses new rows with a lower
    watermark.
    """
    lost = "rows that come later with a lower one are never read"
    values = _numbers(column)
    if values is None and _is_text_above_times(column):
        return f"the highest watermark (`{name}` = {value_of(pc.max(column))}) isn't a time, unlike others: {lost}"
    if values is None or not len(values):
        return ""
    values = np.sort(values)
    rest = int(0.99 * (len(values) - 1))
    top, near, middle = values[-1], values[rest], values[len(values) // 2]
    count = int(np.count_nonzero(values > near))
    shown = value_of(pc.max(column))
    if _is_time(column.type, shown) and top > (now + SLACK).timestamp():
        count = int(np.count_nonzero(values > (now + SLACK).timestamp()))
        return f"{rows_have(count)} a watermark in the future (`{name}` up to {shown}): {lost}"
    if len(values) >= FEW and 0 < AHEAD * (near - middle) < top - near:
        return (
            f"{count:,} of {len(values):,} rows have a watermark far ahead of the others (`{name}` = {shown}): {lost}"
        )
    return ""


def _is_time(kind: Any, shown: Any) -> bool:
    return bool(pa.types.is_temporal(kind)) or (isinstance(shown, str) and _TEXT.match(shown) is not None)


def _is_text_above_times(column: Any) -> bool:
    """Return whether the lowest of these texts is a time and the highest isn't."""
    ends = pc.min_max(column).as_py()
    return ends["min"] is not None and bool(_TEXT.match(ends["min"])) and not _TEXT.match(ends["max"])


def _numbers(column: Any) -> Any:
    """Return watermarks as numbers (times in seconds). Return None if the watermarks are texts that aren't times."""
    kind, column = column.type, column.drop_null()
    try:
        if pa.types.is_string(kind):
            column = pc.utf8_slice_codeunits(column, 0, 19).cast(pa.timestamp("s"))
        elif pa.types.is_date(kind):
            column = column.cast(pa.timestamp("s"))
        if pa.types.is_timestamp(column.type):
            return numbers(column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())) / 1e6
        return floats(column)
    except pa.ArrowInvalid:
        return None


def _is_ordered(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )


def begin(reached: Any, overlap: str | float | None, name: str) -> Any:
    """Return the lowest watermark that the next read asks for: the watermark reached, minus the overlap.

    >>> begin(dt.date(2026, 1, 10), "3d", "day")
    datetime.date(2026, 1, 7)
    >>> begin("2026-01-10 08:00:00.123", "30m", "at")
    '2026-01-10 07:30:00'
    >>> begin(1000, 100, "id")
    900

    Raises:
        DefinitionError: the overlap doesn't fit the watermark's type.
    """
    if overlap is None or overlap == 0:
        return reached
    hint = 'if the watermark is a number, give a number; if it is a date or time, give a time such as "15m"'
    if isinstance(reached, str):
        hint = (
            "the highest text isn't a time: correct its row at the source; if no text of the column is a time, leave"
            " `overlap=` out; if the cursor has this text as its watermark already, set the cursor back: `headrace"
            " rewind CURSOR --to-version N`"
        )
    try:
        match reached:
            case bool():
                pass
            case dt.datetime():
                return reached - dt.timedelta(seconds=seconds(overlap, name="overlap"))
            case dt.date():
                days = -(-seconds(overlap, name="overlap") // 86400)
                return reached - dt.timedelta(days=days)
            case int() | float() if isinstance(overlap, int | float):
                return reached - overlap
            case decimal.Decimal() if isinstance(overlap, int | float):
                return reached - decimal.Decimal(str(overlap))
            case str() if found := _TEXT.match(reached):
                return _earlier_text(found, seconds(overlap, name="overlap"))
            case _:
                pass
    except OverflowError:
        hint = "the read would begin before the year 1: give a shorter `overlap=`"
    except ValueError:
        pass  # a text such as 2026-99-99
    raise DefinitionError(
        f"an overlap of {overlap!r} can't be taken from the watermark `{name}`, which is {reached!r:.80}", hint=hint
    )


def _earlier_text(found: re.Match[str], overlap_s: float) -> str:
    """Return a time that is kept as text, minus `overlap_s` seconds, in the same format.

    Fractions of a second are cut off, so the result is never too late.
    """
    day, between, clock = found.groups()
    earlier = dt.datetime.fromisoformat(f"{day} {clock or '00:00'}") - dt.timedelta(seconds=overlap_s)
    if between is None:
        return earlier.date().isoformat()
    return earlier.isoformat(sep=between, timespec="seconds" if clock.count(":") > 1 else "minutes")
