"""The Open Inference Protocol, version 2, over HTTP: its paths, its metadata, its answers and its errors. Its tensors
are described in `tensors.py`.

GET  /v2                                        the server
GET  /v2/health/live, /v2/health/ready          the server answers; its models are loaded
GET  /v2/models/NAME[/versions/VERSION]         what a version takes and gives
GET  /v2/models/NAME[/versions/VERSION]/ready   the version can answer
POST /v2/models/NAME[/versions/VERSION]/infer   tensors: predictions

NAME is the name of an endpoint. VERSION is the number of a version that has a share of the endpoint's requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from headrace.serve.asking import RowsRefused
from headrace.serve.inference.tensors import BYTES, IDS, Inquiry, Output, datatype_of, written
from headrace.serve.records import RecordsRefused
from headrace.serve.refusals import Response, VersionUnknown
from headrace.serve.request import BINARY, HEAD_BYTES
from headrace.spec.endpoint import Route, Variant
from headrace.spec.signature import Column

_SHOWN = 3
"""How many faults the text of an error names."""


class Described(NamedTuple):
    """The metadata of an endpoint: the versions that a client may name, and the columns that one of them takes and
    gives. The type of a column is empty if it isn't known."""

    versions: Sequence[int]
    takes: Sequence[Column]
    gives: Sequence[Column]


class Inferred(NamedTuple):
    """An endpoint's answer: its outputs, the ids of the predictions (empty texts if they aren't logged), and the
    variant and version (its number) that answered. These two are None if several variants answered."""

    outputs: Sequence[Output]
    ids: Sequence[str]
    variant: str | None
    version: str | None


def versions_of(route: Route) -> list[int]:
    """Return the versions that a client may name: those of all variants, but not the shadow's."""
    return list(dict.fromkeys(variant.version for variant in route.variants))


def variant_with(version: str, route: Route) -> Variant:
    """Return the variant with this version. `version` is a text that a client sent.

    Raises:
        VersionUnknown: no variant has this version.
    """
    for variant in route.variants:
        if str(variant.version) == version:
            return variant
    raise VersionUnknown(
        f"version `{version:.20}` of the endpoint `{route.endpoint:.80}` has no share of its requests",
        hint=f"ask for {' or '.join(f'`{each}`' for each in versions_of(route))}, or leave out the version",
    )


def joined_columns(
    parts: Sequence[Mapping[str, Sequence[Any]]], places: Sequence[Sequence[int] | None]
) -> Mapping[str, Sequence[Any]]:
    """Return the columns of answers for all rows of a request. Each of `parts` has one variant's answers, for the rows
    at its `places` (None: for all rows).

    Raises:
        RowsRefused: the parts don't all have the same columns.
    """
    if len(parts) == 1:
        return parts[0]
    if len({frozenset(each) for each in parts}) > 1:
        raise RowsRefused(
            "the versions that answer give different outputs", hint="name one version, or send records in JSON"
        )
    rows = [row for each in places for row in each or ()]
    order = sorted(range(len(rows)), key=rows.__getitem__)
    whole = {name: [value for each in parts for value in each[name]] for name in parts[0]}
    return {name: [values[place] for place in order] for name, values in whole.items()}


def server() -> dict[str, Any]:
    """Return the metadata of the server."""
    return {"name": "headrace", "version": version("headrace"), "extensions": ["binary_tensor_data"]}


def metadata(endpoint: str, described: Described) -> dict[str, Any]:
    """Return the metadata of an endpoint. Besides what the model gives, there is an output with the ids of the
    predictions."""
    outputs = [*described.gives, Column(name=IDS, type="string")]
    return {
        "name": endpoint,
        "versions": [str(each) for each in described.versions],
        "platform": "headrace",
        "inputs": [_described(column) for column in described.takes],
        "outputs": [_described(column) for column in outputs],
    }


def response_of(endpoint: str, found: Inferred, inquiry: Inquiry) -> Response:
    """Return the response with an endpoint's answer: JSON, followed by the bytes of outputs if there are any."""
    outputs = list(found.outputs)
    if inquiry.wanted is None or any(each.name == IDS for each in inquiry.wanted):
        outputs.append(Output(IDS, BYTES, found.ids))
    heads, data = zip(*written(outputs, inquiry), strict=True)
    head = {
        "model_name": endpoint,
        **({} if found.version is None else {"model_version": found.version}),
        **({"id": inquiry.id} if inquiry.id else {}),
        **({} if found.variant is None else {"parameters": {"variant": found.variant}}),
        "outputs": heads,
    }
    text = msgspec.json.encode(head)
    if not any("parameters" in each for each in heads):
        return Response(200, text)
    return Response(200, b"".join((text, *data)), ((HEAD_BYTES, str(len(text)).encode()),), BINARY.encode())


def error_of(response: Response, error: Exception) -> Response:
    """Return an error's response in the form that the protocol has for errors: one text."""
    found = msgspec.json.decode(response.body)
    text = found["message"]
    if isinstance(error, RecordsRefused):
        faults = [_fault(each.field, each.record, each.what) for each in error.faults]
        more = f"; and {len(faults) - _SHOWN:,} more faults" * (len(faults) > _SHOWN)
        text = f"the tensors don't fit the model: {'; '.join(faults[:_SHOWN])}{more}"
    elif found["hint"]:
        text = f"{text} (hint: {found['hint']})"
    return response._replace(body=msgspec.json.encode({"error": text}))


def _described(column: Column) -> dict[str, Any]:
    return {"name": column.name, "datatype": datatype_of(column.type) or BYTES, "shape": [-1]}


def _fault(field: str | None, record: int | None, what: str) -> str:
    where = [] if field is None else [f"`{field}`"]
    return ", ".join([*where, *([] if record is None else [f"row {record}"])]) + ": " * bool(where) + what
