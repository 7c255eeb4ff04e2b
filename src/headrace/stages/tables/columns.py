"""Columns of a table by name."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace import errors
from headrace.errors import DataError
from headrace.models.frames import TWICE

PANDAS = b"pandas"


def columns(table: pa.Table, names: Sequence[str], what: str) -> list[pa.ChunkedArray]:
    """Return the columns with these names. `what` says in errors what the columns are needed for, such as `a unique
    key`.

    Raises:
        DataError: the table has no column with one of the names, or has two.
    """
    there: list[str] = table.column_names
    counts = collections.Counter(there)
    for name in names:
        if counts[name] == 1:
            continue
        if counts[name]:
            raise DataError(f"the table has two columns `{name}`", hint=TWICE)
        hint = errors.meant(name, there, f"it has {errors.listed(there, 20) or 'no columns'}")
        raise DataError(f"{what} names a column `{name}`, which the table doesn't have", hint=hint)
    return [table.column(name) for name in names]


def distinct(table: pa.Table) -> None:
    """Raise if two columns of a table have the same name.

    Raises:
        DataError: two columns have the same name; the message says which.
    """
    counts = collections.Counter(table.column_names)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"the table has two columns `{twice}`", hint=TWICE)


def rows_have(count: int) -> str:
    """Return the beginning of a sentence about a number of rows.

    >>> rows_have(1), rows_have(1234)
    ('1 row has', '1,234 rows have')
    """
    return f"{count:,} {'row has' if count == 1 else 'rows have'}"


def rows_at(table: pa.Table, places: Any) -> pa.Table:
    """Return the rows at these indices (NumPy integers), as a new table of the same types."""
    return _by_chosen(table, lambda each: each.take(pa.array(places, pa.int64())))


def rows_where(table: pa.Table, mask: Any) -> pa.Table:
    """Return the rows where a mask (NumPy booleans) is true, as a new table of the same types."""
    return _by_chosen(table, lambda each: each.filter(pa.array(mask, pa.bool_())))


def described(made: pa.Table, given: pa.Table) -> pa.Table:
    """Return `made`, a table made from `given`, without the pandas metadata that no longer hold."""
    return made.replace_schema_metadata(metadata(made.schema, given.schema))


def metadata(made: pa.Schema, given: pa.Schema) -> dict[bytes, bytes] | None:
    """Return the metadata of a schema that was made from `given`, without entries that no longer hold.

    The entry `pandas` says which columns are an index, and each column's pandas type. `to_pandas` follows that entry,
    not Arrow's types, so a column that was changed from text to numbers would be text again. The entry is kept for
    columns whose type didn't change. All other metadata are kept.
    """
    kept: dict[bytes, bytes] | None = made.metadata
    if kept is None or PANDAS not in kept or made.equals(given):
        return kept
    types = {field.name: field.type for field in given}
    same = {field.name for field in made if types.get(field.name) == field.type}
    try:
        told = json.loads(kept[PANDAS])
        # entries written by other libraries may lack `field_name`
        entries = {each.get("field_name", each["name"]): each for each in told["columns"]}
        told["columns"] = [each for name, each in entries.items() if name in same]
        told["index_columns"] = [each for each in told["index_columns"] if isinstance(each, dict) or each in same]
    except (ValueError, LookupError, TypeError, AttributeError):
        return {name: value for name, value in kept.items() if name != PANDAS}  # pandas couldn't read this entry either
    if not entries.keys() >= {*made.names}:  # it describes the old columns' labels
        told["column_indexes"] = []
    return {**kept, PANDAS: json.dumps(told).encode()}


def _by_chosen(table: pa.Table, choose: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """Return the rows that `choose` selects. Arrow can't select from text views and run-end encoded columns yet. Such
    columns are converted before the selection, and converted back after it."""
    plain = table
    for place, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            plain = plain.set_column(place, field.name, plain.column(place).cast(pa.large_string()))
        elif pa.types.is_run_end_encoded(field.type):
            plain = plain.set_column(place, field.name, _decoded(plain.column(place), field.name))
    if plain is table:
        return choose(table)
    chosen = choose(plain)
    for place, field in enumerate(table.schema):
        if pa.types.is_run_end_encoded(field.type):
            runs = pc.run_end_encode(chosen.column(place), run_end_type=field.type.run_end_type)
            chosen = chosen.set_column(place, field.name, runs)
    return chosen.cast(table.schema)


def _decoded(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        return pc.run_end_decode(column)
    except pa.ArrowNotImplementedError as error:
        raise DataError(
            f"rows of column `{name}` can't be selected: its type is `{column.type}`",
            hint="give the column without run-end encoding",
        ) from error


def listed(names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return column names as a tuple, from one name, several names or None.

    >>> listed("a"), listed(["a", "b"]), listed(None)
    (('a',), ('a', 'b'), ())
    """
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)


def free_name(name: str, table: pa.Table) -> str:
    """Return a name that no column of the table has: `name`, with as many `_` added as needed."""
    while name in table.column_names:
        name = f"{name}_"
    return name
