"""Types of columns: the families that users name, types without their memory layout, and values converted to a column's
type."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pyarrow as pa

from headrace.errors import DefinitionError


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column's values are text, in any layout."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def tells_time(kind: pa.DataType) -> bool:
    """Return whether the values of a column can tell when something was: dates, times, or texts of them."""
    plain = plain_type(kind)
    return bool(is_text(plain) or pa.types.is_date(plain) or pa.types.is_timestamp(plain))


def tells_whom(kind: pa.DataType) -> bool:
    """Return whether the values of a column can tell who something is about: texts, numbers, booleans, dates or
    times."""
    plain = plain_type(kind)
    return tells_time(plain) or bool(FAMILIES["number"](plain) or pa.types.is_boolean(plain))


FAMILIES = {
    "integer": pa.types.is_integer,
    "number": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind),
    "text": is_text,
    "date": pa.types.is_date,
    "timestamp": pa.types.is_timestamp,
    "boolean": pa.types.is_boolean,
}
_SYNONYMS = {
    "float64": "double",
    "float32": "float",
    "float16": "halffloat",
    "boolean": "bool",
    "date32": "date32[day]",
}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values, without their memory layout: a dictionary's value type, and `string` for all
    text."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return pa.string() if is_text(kind) else kind


def type_is(kind: pa.DataType, wanted: str) -> bool:
    """Return whether a column's type is `wanted`: the name of a type, or of a family of types.

    >>> type_is(pa.int32(), "integer"), type_is(pa.dictionary(pa.int8(), pa.string()), "string")
    (True, True)
    """
    plain = plain_type(kind)
    family = FAMILIES.get(wanted)
    if family is not None:
        return bool(family(plain))
    return wanted in (str(plain), str(kind)) or _SYNONYMS.get(wanted) == str(plain)


def bound(value: Any, kind: pa.DataType) -> Any:
    """Return a value of a contract or rule as a scalar of the column's type. A time without a zone counts as UTC.

    Raises:
        DefinitionError: the column's type can't hold the value.
    """
    try:
        if isinstance(value, str) and (pa.types.is_temporal(kind)):
            value = _from_text(value, kind)
        if isinstance(value, datetime) and pa.types.is_timestamp(kind):
            value = value if value.tzinfo else value.replace(tzinfo=UTC)
            value = value if kind.tz else value.astimezone(UTC).replace(tzinfo=None)
        elif isinstance(value, datetime) and pa.types.is_date(kind):
            value = value.date()
        elif isinstance(value, date) and pa.types.is_timestamp(kind):
            return bound(datetime(value.year, value.month, value.day, tzinfo=UTC), kind)
        if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and isinstance(value, int | float):
            raise DefinitionError(
                f"{value!r} is a number, and the column is `{kind}`",
                hint='give a date or time, such as "2026-01-31" or "2026-01-31T12:00:00"',
            )
        if pa.types.is_integer(kind) and isinstance(value, float) and not value.is_integer():
            raise ValueError("it isn't whole")
        if pa.types.is_decimal(kind) and isinstance(value, float):
            value = Decimal(repr(value))
        return pa.scalar(value, plain_type(kind))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError, TypeError, OverflowError) as e:
        raise DefinitionError(
            f"{value!r} can't be a value of a column of type `{kind}`", hint="give a value of the column's type"
        ) from e


def _from_text(value: str, kind: pa.DataType) -> Any:
    if pa.types.is_time(kind):
        return time.fromisoformat(value)
    return datetime.fromisoformat(value) if pa.types.is_timestamp(kind) else date.fromisoformat(value)


@lru_cache(1 << 10)
def kind_named(text: str) -> pa.DataType | None:
    """Return the Arrow type with this name; None for a nested or unknown type.

    >>> kind_named("timestamp[us, tz=Europe/Paris]") == pa.timestamp("us", "Europe/Paris")
    True
    >>> kind_named("dictionary<values=string, indices=int8, ordered=0>") == pa.dictionary(pa.int8(), pa.string())
    True
    """
    if found := re.fullmatch(r"timestamp\[(s|ms|us|ns), tz=([\w/+:-]+)\]", text):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"(decimal(?:32|64|128))\((\d{1,2}), (-?\d{1,2})\)", text):
        with suppress(ValueError):  # a precision that the type doesn't have
            return getattr(pa, found[1])(int(found[2]), int(found[3]))
        return None
    if found := re.fullmatch(r"dictionary<values=(\w+), indices=(u?int\d+), ordered=([01])>", text):
        values, indices = kind_named(found[1]), kind_named(found[2])
        return values and indices and pa.dictionary(indices, values, ordered=found[3] == "1")
    try:
        return pa.type_for_alias(text)
    except ValueError:
        return None


def in_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """Return a column cast to another type of its family, or None if a value doesn't fit or the types are too
    different. This corrects types that were guessed from a few rows of JSON: an integer type if all numbers were like
    `5`, text for dates, and no type if all values were null. It also turns dates into times, since CSV may have read
    times at midnight as dates.

    >>> in_type(pa.chunked_array([[5, None]]), pa.float64()).to_pylist()
    [5.0, None]
    """
    have, want = plain_type(column.type), plain_type(kind)
    number = FAMILIES["number"]
    alike = (
        have == want
        or pa.types.is_null(have)
        or (number(have) and number(want))
        or (is_text(have) and pa.types.is_temporal(want))
        or (pa.types.is_temporal(have) and have.id == want.id)
        or (pa.types.is_date(have) and pa.types.is_timestamp(want) and want.tz is None)
    )
    try:
        if alike and pa.types.is_integer(have) and pa.types.is_decimal(want):
            column = column.cast(pa.decimal128(38, want.scale))  # Arrow requires room for every integer of that type
        return column.cast(kind) if alike else None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
