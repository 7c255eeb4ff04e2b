"""JSON Schemas of what clients send and receive. They are made from the types that read the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from headrace.errors import UsageError
from headrace.serve.predictions import feedback
from headrace.serve.records import Records, Strictness
from headrace.spec.signature import Column

Schema = dict[str, Any]


class Interface(NamedTuple):
    """What an endpoint takes and gives at the moment: the version of its model, the reader of its records, the columns
    of its predictions (empty if they aren't known), and a made-up record."""

    version: str
    records: Records
    gives: Sequence[Column]
    example: Mapping[str, Any]


def body_schema(records: Records) -> Schema:
    """Return the schema of a request's body."""
    (schema,), parts = msgspec.json.schema_components([records.body])
    found: Schema = _inlined(schema, parts)
    return found


@cache
def feedback_schema() -> Schema:
    """Return the schema of a body with labels."""
    (schema,), parts = msgspec.json.schema_components([feedback.Body])
    found: Schema = _inlined(schema, parts)
    return found


def prediction_schema(gives: Sequence[Column]) -> Schema:
    """Return the schema of a prediction. Each of its values may be null: a preparation may refuse a row, and JSON
    has no value for NaN."""
    if not gives:
        return {"type": "object"}
    return {
        "type": "object",
        "properties": {column.name: _value_schema(column) for column in gives},
        "required": [column.name for column in gives],
        "additionalProperties": False,
    }


@lru_cache(1_000)
def _value_schema(column: Column) -> Schema:
    """Return the schema of a value in an answer. It is the same as that of a value in a record."""
    try:
        records = Records([replace(column, name="value")], Strictness(), most=1)
    except UsageError:  # a type that records can't have, such as that of a list, or an unknown one
        return {}
    found: Schema = body_schema(records)["properties"]["records"]["items"]["properties"]["value"]
    return found


def _inlined(schema: Any, parts: Mapping[str, Schema]) -> Any:
    """Return a schema in which each reference to one of `parts` is replaced by this part."""
    match schema:
        case list():
            return [_inlined(each, parts) for each in schema]
        case {"$ref": str(name)}:
            part = _inlined(parts[name.rpartition("/")[2]], parts)
            return {key: value for key, value in part.items() if key != "title"}
        case {"type": "string", "format": "decimal"}:
            return {**schema, "type": ["string", "number"]}
        case dict():
            return {key: _inlined(value, parts) for key, value in schema.items()}
        case _:
            return schema
