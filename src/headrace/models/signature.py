"""The signature of a model, derived from rows like those that it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import UsageError
from headrace.models.model import Model
from headrace.models.types import is_text, kind_named, plain_type
from headrace.spec.signature import Column, Signature

MOST_CATEGORIES = 100
"""A column with more different texts than this has no categories."""
REPEATED = 2
"""The texts of a column are categories if each different text occurs at least this often on average. So names and
addresses aren't categories."""
TRIED = 8
"""The model predicts this many rows, to show what it gives."""


def signature_of(model: Model, rows: pa.Table, columns: Sequence[str]) -> Signature:
    """Return the signature of a model that learned from these columns of the rows.

    The model predicts some of the rows, so that the signature can say what the model gives. If the model can't predict
    these rows, the signature doesn't say what the model gives.
    """
    try:
        given = pa.table(model.answers(rows.slice(0, TRIED), columns))
    except Exception:  # noqa: BLE001  the model may be code of the user, which may raise anything
        given = pa.table({})
    return signature_for(rows.select(list(columns)), _described(given.schema))


def signature_for(rows: pa.Table | pa.Schema, gives: tuple[Column, ...] = ()) -> Signature:
    """Return the signature of a model that takes rows like these, or rows of this schema.

    Raises:
        UsageError: two columns have the same name.
    """
    schema = rows if isinstance(rows, pa.Schema) else rows.schema
    if len({*schema.names}) < len(schema.names):
        raise UsageError(
            "two columns of the signature have the same name",
            hint="pass a table that has each column of the model only once",
        )
    known = {} if isinstance(rows, pa.Schema) else {name: _categories(rows[name]) for name in schema.names}
    takes = tuple(Column(name=each.name, type=str(each.type), categories=known.get(each.name)) for each in schema)
    example = {each.name: _made_up(each.type, known.get(each.name)) for each in schema}
    return Signature(takes=takes, gives=gives, example=example)


def example_of(columns: Sequence[Column]) -> dict[str, Any]:
    """Return a made-up row with these columns."""
    return {each.name: _made_up(kind_named(each.type) or pa.null(), each.categories) for each in columns}


def _described(schema: pa.Schema) -> tuple[Column, ...]:
    return tuple(Column(name=each.name, type=str(each.type)) for each in schema)


def _categories(column: pa.ChunkedArray) -> tuple[str, ...] | None:
    """Return the values of a column of texts, sorted, if they are categories; else None.

    A column without values tells nothing about its categories, so the result is None too.
    """
    if not is_text(plain_type(column.type)):
        return None
    values = pc.unique(column.cast(pa.large_string())).drop_null()
    is_coded = pa.types.is_dictionary(column.type)
    if not 0 < len(values) <= MOST_CATEGORIES or not (is_coded or REPEATED * len(values) <= len(column)):
        return None
    return tuple(sorted(values.to_pylist()))


def _made_up(kind: pa.DataType, categories: tuple[str, ...] | None) -> Any:
    """Return an example of a value of this type, in a form that JSON can hold."""
    plain = plain_type(kind)
    if is_text(plain):
        return categories[0] if categories else "text"
    if pa.types.is_boolean(plain):
        return True
    if pa.types.is_integer(plain):
        return 1
    if pa.types.is_floating(plain) or pa.types.is_decimal(plain):
        return 1.5
    if pa.types.is_date(plain):
        return "2024-01-31"
    if pa.types.is_timestamp(plain):
        return "2024-01-31T12:00:00Z" if plain.tz else "2024-01-31T12:00:00"
    if pa.types.is_list(plain) or pa.types.is_large_list(plain) or pa.types.is_fixed_size_list(plain):
        return [_made_up(plain.value_type, None)] * (plain.list_size if pa.types.is_fixed_size_list(plain) else 1)
    return None
