"""Rows fitted to a signature: the columns that a model takes, in the types that it learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import time
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import UsageError, listed, meant
from headrace.models.frames import check_columns
from headrace.models.types import FAMILIES, in_type, is_text, kind_named, plain_type, tells_time, tells_whom
from headrace.spec.endpoint import check_key_and_time
from headrace.spec.signature import Column

SHOWN = 3


def fitted(rows: pa.Table, takes: Sequence[Column]) -> pa.Table:
    """Return the rows with the columns `takes` of a signature cast to the types in the signature. Whole numbers can
    become floats, texts can become dates, and dates can become times without a zone. Any value may be null. Floats are
    rounded to the precision of the type; no other value changes.

    Raises:
        UsageError: columns are missing, or their values don't fit. The message names the first such column, and says
            what is wrong with it.
    """
    names = rows.column_names
    missing = [column for column in takes if column.name not in names]
    if missing:
        raise _missing(missing, rows)
    check_columns(rows, [column.name for column in takes])
    wrong: list[str] = []
    for column in takes:
        place = names.index(column.name)
        given, kind = rows.column(place), kind_named(column.type)
        if kind is None or plain_type(given.type) == plain_type(kind):
            continue
        cast = in_type(given, plain_type(kind))
        if cast is None:
            wrong.append(f"`{column.name}` is `{given.type}`{_such_as(given)}, and the model takes `{column.type}`")
        else:
            rows = rows.set_column(place, column.name, cast)
    if wrong:
        more = f", and {len(wrong) - 1:,} more columns don't fit" if len(wrong) > 1 else ""
        raise UsageError(f"column {wrong[0]}{more}", hint="give the rows in the types that the model learned from")
    return rows


def table_of(columns: Mapping[str, Sequence[Any]], takes: Sequence[Column]) -> pa.Table:
    """Return a table with the columns and types that a model takes. `columns` has the values of each column, as they
    come from JSON or MessagePack: dates, times and decimals may be texts. A column whose type in `takes` is "" gets the
    type that Arrow infers.

    Raises:
        UsageError: a value doesn't fit its column's type.
    """
    made = {}
    for column in takes:
        try:
            made[column.name] = _reader(column.type)(columns[column.name])
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            wrong = f"doesn't fit `{column.type}`" if column.type else "isn't of one type"
            raise UsageError(
                f"column `{column.name}` {wrong}: {error}",
                hint="give the rows in the types that the model learned from",
            ) from error
    return pa.table(made)


def column_of(values: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    """Return values as a column of the type `kind`, or of the type that Arrow infers if `kind` is None. Dates, times
    and decimals may be texts."""
    if kind is not None and pa.types.is_time(kind):  # Arrow reads no times of day from text
        return pa.array([None if value is None else time.fromisoformat(str(value)) for value in values], kind)
    if kind is not None and (pa.types.is_temporal(kind) or pa.types.is_decimal(kind)):
        values = [None if value is None else str(value) for value in values]
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)


@lru_cache(maxsize=1_024)
def _reader(kind: str) -> Callable[[Sequence[Any]], pa.Array]:
    """Return a function that makes a column of the type that a signature names, in its plain form. If the type isn't
    known, Arrow infers it."""
    named = kind_named(kind)
    return partial(column_of, kind=None if named is None else plain_type(named))


def check_about(takes: Sequence[Column], key: str | None, time: str | None) -> None:
    """Check the columns of a record that say whom (`key`) and when (`time`) an answer is about. `takes` are the columns
    that the model takes; the columns `key` and `time` may be among them.

    Raises:
        UsageError: a name is invalid, or the model takes the column in a type that can't say whom or when.
    """
    check_key_and_time(key, time)
    for column in takes:
        kind = kind_named(column.type)
        if column.name == key and (kind is None or not tells_whom(kind)):
            what, hint = "`key` tells whom an answer is about", "name a column of texts, numbers or dates"
        elif column.name == time and (kind is None or not tells_time(kind)):
            what, hint = "`time` tells when an answer is about", "name a column of dates or times"
        else:
            continue
        raise UsageError(f"{what}, and the model takes the column `{column.name}` as `{column.type}`", hint=hint)


def differing(some: Sequence[Column], others: Sequence[Column]) -> list[str]:
    """Return the names of the columns that only one of two models takes, or that the two models take in types of
    different families. Types that differ only in width, such as `int32` and `int64`, are of the same family."""
    one, other = ({column.name: _sort_of(column.type) for column in takes} for takes in (some, others))
    return [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]


def _sort_of(kind: str) -> str:
    found = kind_named(kind)
    if found is None:
        return kind
    return next((name for name, has in FAMILIES.items() if has(plain_type(found))), str(plain_type(found)))


def unseen(rows: pa.Table, takes: Sequence[Column]) -> dict[str, int]:
    """Return, for each column with categories, how many rows have a value that isn't one of the column's categories.
    Columns without such rows are left out."""
    counts = {}
    for column in takes:
        if column.categories is None or not is_text(plain_type(rows[column.name].type)):
            continue
        values = rows[column.name].cast(pa.large_string())
        known = pc.is_in(values, pa.array(column.categories, pa.large_string()))
        counts[column.name] = pc.sum(pc.and_(pc.is_valid(values), pc.invert(known))).as_py() or 0
    return {name: count for name, count in counts.items() if count}


def _missing(missing: Sequence[Column], rows: pa.Table) -> UsageError:
    first = missing[0]
    more = f"; {len(missing) - 1:,} more are missing: {listed([e.name for e in missing[1:]], SHOWN)}" * bool(
        missing[1:]
    )
    there = f"the rows have {listed(rows.column_names, 20)}"
    return UsageError(
        f"the rows have no column `{first.name}`, which the model takes as `{first.type}`{more}",
        hint=meant(first.name, rows.column_names, there) if rows.num_columns > 1 else there,
    )


def _such_as(column: pa.ChunkedArray) -> str:
    known = column.drop_null()
    return f", such as `{str(known[0].as_py())[:40]}`" if len(known) else ""
