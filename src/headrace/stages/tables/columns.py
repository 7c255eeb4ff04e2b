"""Columns of a table by name."""

from __future__ import annotations

import collections
import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace import errors
from headrace.errors import DataError

TWICE = "give each its own name: by `table.rename_columns([...])` in an earlier stage, or by `as` in SQL"
"""The hint for two columns of the same name: no ready-made step can choose between them."""
PANDAS = b"pandas"
MOST_CLASSES = 5
"""The most classes to list in a hint."""
APPLIED = "if `prepare.clean` made the training rows, `prepare.apply(table, cleaned.preparation)` makes these alike"
"""The hint for rows that aren't like those from which a model learned."""
UNITS = "`prepare.Units` reads numbers with units"
_LOOKED_AT = 100
"""The most values to read in order to find out whether texts are numbers."""
_GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{2,3})*,[0-9]{3}([^0-9,][^,]*)?")
_BESIDE_NUMBERS = ("Sc", "Zs", "Zl", "Zp")
"""The Unicode categories of currency signs and spaces."""
_SIGN = re.compile(r'[",:\[\]{}\0\r\n]')


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
        near = difflib.get_close_matches(name, there, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"it has {errors.listed(there, 20) or 'no columns'}"
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


def to_whole(frame: Any, names: Sequence[str]) -> str:
    """Return a hint with the steps that fill missing values in columns of a pandas frame.

    In a frame, nulls of numbers are NaN. `prepare.Fill` fills only nulls, so the steps begin with `prepare.Nulls`.
    """
    columns = names[0] if len(names) == 1 else tuple(names)
    how = "median" if all(frame[name].dtype.kind == "f" for name in names) else "most"
    steps = f"prepare.Nulls(columns={columns!r}, nan=True), prepare.Fill(columns={columns!r}, how={how!r})"
    return f"`prepare.clean(table, [{steps}])` fills them"


def to_numbers(names: Sequence[str]) -> str:
    """Return a hint with the step that reads text columns as numbers."""
    columns = names[0] if len(names) == 1 else tuple(names)
    return f"`prepare.clean(table, [prepare.Numbers(columns={columns!r})])` reads texts as numbers"


def to_applied(name: str, values: Iterable[Any]) -> str:
    """Return a hint on a column that holds texts where a model learned from numbers."""
    return f"{APPLIED}; if not, {to_numbers([name])}" if are_numbers(values) else APPLIED


def are_numbers(values: Iterable[Any]) -> bool:
    """Return whether `prepare.Numbers` can read most of the first texts among `values`.

    >>> are_numbers(["1,234.50", "€ 12", None]), are_numbers(["48.4 C", "50 C"])
    (True, False)
    """
    read = [_is_number(each) for each in islice((each for each in values if isinstance(each, str)), _LOOKED_AT)]
    return 2 * sum(read) > len(read)


def _is_number(text: str) -> bool:
    """Return whether `prepare.Numbers` can read a text. The rule itself needs DuckDB, which may not be installed."""
    bare = "".join([each for each in text if not (each.isspace() or unicodedata.category(each) in _BESIDE_NUMBERS)])
    if not bare.isascii() or ("," in bare and not _GROUPED.fullmatch(bare)):
        return False
    try:
        float(bare.replace(",", ""))
    except ValueError:
        return False
    return True


def to_codes(name: str, classes: Sequence[str]) -> str:
    """Return a hint with the steps that replace text classes by numbers."""
    codes = ", ".join(f"{value!r}: '{number}'" for number, value in enumerate(classes[:MOST_CLASSES]))
    more = ", ..." if len(classes) > MOST_CLASSES else ""
    steps = f"prepare.Map(columns={name!r}, values={{{codes}{more}}}), prepare.Cast(columns={name!r}, type='int64')"
    return f"`prepare.clean(table, [{steps}])` numbers them"


def without_decimals(table: pa.Table) -> pa.Table:
    """Return the table with its decimal columns cast to 64-bit floats. Databases return decimals, but learners require
    floats."""
    for place, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
    return table


def with_missing_truths(table: pa.Table) -> pa.Table:
    """Return the table after casting each boolean column that has nulls to 64-bit floats. Without the cast, pandas
    would turn such a column into Python objects, and LightGBM would treat the objects as categories."""
    for place, field in enumerate(table.schema):
        if pa.types.is_boolean(field.type) and table.column(place).null_count:
            table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
    return table


def lightgbm_name(name: str) -> str:
    """Return a column's name as a LightGBM model stores it: without spaces, line breaks, or characters that are special
    in JSON.

    >>> lightgbm_name("price [€]"), lightgbm_name("a, b")
    ('price_%5B€%5D', 'a%2C_b')
    """
    return _SIGN.sub(lambda found: f"%{ord(found[0]):02X}", name).replace(" ", "_") or "%"


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
            f"no rows can be chosen of column `{name}`, which is `{column.type}`",
            hint="give it without run-end encoding",
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
