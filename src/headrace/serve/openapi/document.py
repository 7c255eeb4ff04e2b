"""The OpenAPI 3.1 document that describes a server's paths. For each endpoint, it describes the records that this
endpoint takes and the predictions that it gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from inspect import getdoc
from urllib.parse import quote

from headrace.errors import HeadraceError, LogError
from headrace.serve import refusals
from headrace.serve.asking import ModelGone, ModelSlow, RowsRefused
from headrace.serve.metrics import KIND
from headrace.serve.openapi.schemas import Interface, Schema, body_schema, feedback_schema, prediction_schema
from headrace.serve.predictions.feedback import MOST_LABELS, LabelsRefused
from headrace.serve.predictions.keeping import NothingKept
from headrace.serve.queue import ModelBusy
from headrace.serve.records import MOST_FAULTS, RecordsRefused
from headrace.serve.refusals import Refusal
from headrace.serve.request import ARROW

JSON = "application/json"
_ANY: tuple[type[Refusal], ...] = (
    refusals.BadRequest,
    refusals.AccessRefused,
    refusals.HeadTooLarge,
    refusals.ServerFull,
)
"""The errors by which any request may be refused."""
_READ: tuple[type[Refusal], ...] = (*_ANY, refusals.RateExceeded)
"""The errors by which a request about the server may be refused."""
_TEXT: Schema = {"type": "string"}
_ID: Schema = {"type": "string", "description": "The id of the prediction in the log."}
_STATUSES: dict[type[HeadraceError], int] = {
    RecordsRefused: 422,
    RowsRefused: 422,
    NothingKept: 409,
    LabelsRefused: 422,
    ModelBusy: 429,
    HeadraceError: 500,
    ModelGone: 503,
    LogError: 503,
    ModelSlow: 504,
}
"""The statuses of errors that aren't refusals."""
_PREDICT: tuple[type[HeadraceError], ...] = (
    refusals.EndpointUnknown,
    refusals.BodyLate,
    refusals.BodyTooLarge,
    refusals.ContentRefused,
    RecordsRefused,
    RowsRefused,
    refusals.RateExceeded,
    ModelBusy,
    HeadraceError,
    refusals.NotReady,
    refusals.Stopping,
    ModelGone,
    LogError,
    refusals.AnswerLate,
    ModelSlow,
)
"""The errors with which a request for predictions may fail."""
_FEEDBACK: tuple[type[HeadraceError], ...] = (
    refusals.EndpointUnknown,
    refusals.BodyLate,
    NothingKept,
    refusals.BodyTooLarge,
    refusals.ContentRefused,
    LabelsRefused,
    refusals.RateExceeded,
    HeadraceError,
    refusals.Stopping,
    LogError,
    refusals.AnswerLate,
)
"""The errors with which a request with labels may fail."""


def document(endpoints: Mapping[str, Interface | None], *, with_tokens: bool) -> Schema:
    """Return the document for these endpoints. For an endpoint that isn't loaded yet (None), it says only that the
    endpoint exists."""
    paths: dict[str, Schema] = {}
    for name, interface in sorted(endpoints.items()):
        path = f"/v1/endpoints/{quote(name, safe='')}"
        paths[f"{path}/predict"] = {"post": _predict(name, interface, with_tokens)}
        paths[f"{path}/feedback"] = {"post": _feedback(name, with_tokens)}
    paths |= {path: {"get": each} for path, each in _server(with_tokens)}
    scheme = {"type": "http", "scheme": "bearer", "description": "A token, as `headrace tokens make` prints it."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headrace",
            "version": version("headrace"),
            "description": "Endpoints that answer requests with registered models. The Open Inference Protocol, which"
            " has its own document, is used below `/v2`.",
        },
        "paths": paths,
        **({"components": {"securitySchemes": {"token": scheme}}} if with_tokens else {}),
    }


def _predict(name: str, interface: Interface | None, with_tokens: bool) -> Schema:
    body: Schema = {"type": "object"} if interface is None else body_schema(interface.records)
    example = None if interface is None else {"records": [interface.example]}
    answer = {
        "type": "object",
        "properties": {
            "predictions": {
                "type": "array",
                "items": prediction_schema(() if interface is None else interface.gives),
                "description": "One for each record, in the same order.",
            },
            "ids": {
                "type": ["array", "null"],
                "items": _ID,
                "description": "The id of each prediction in the log; null if they aren't logged.",
            },
            "variant": {"type": ["string", "null"], "description": "The variant that answered; null if several did."},
            "version": {"type": ["string", "null"], "description": "The version of the model that answered."},
            "variants": {"type": "array", "items": _TEXT, "description": "If several answered: one for each record."},
            "versions": {"type": "array", "items": _TEXT, "description": "If several answered: one for each record."},
        },
        "required": ["predictions", "ids", "variant", "version"],
        "additionalProperties": False,
    }
    named = {"headrace-variant": {"schema": _TEXT}, "headrace-version": {"schema": _TEXT}}
    right = {
        "description": "A prediction for each record.",
        "headers": named,
        "content": {JSON: {"schema": answer}, ARROW: {}},
    }
    return {
        "tags": [name],
        "operationId": f"predict {name}",
        "summary": "Return a prediction for each record.",
        "x-version": "" if interface is None else interface.version,
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": body, **({"example": example} if example else {})}, ARROW: {}},
        },
        "responses": {"200": right, **_refused((*_ANY, *_PREDICT), with_tokens=with_tokens)},
        **_security(with_tokens),
    }


def _feedback(name: str, with_tokens: bool) -> Schema:
    kept = {"type": "integer", "minimum": 1, "maximum": MOST_LABELS}
    return {
        "tags": [name],
        "operationId": f"feedback {name}",
        "summary": "Send labels: what really came of predictions.",
        "requestBody": {"required": True, "content": {JSON: {"schema": feedback_schema()}}},
        "responses": {
            "200": _json({"labels": kept}, "How many labels were logged."),
            **_refused((*_ANY, *_FEEDBACK), with_tokens=with_tokens),
        },
        **_security(with_tokens),
    }


def _server(with_tokens: bool) -> Iterator[tuple[str, Schema]]:
    """Yield the paths that don't belong to an endpoint, each with the description of its GET request."""
    healthy, ready = ({"const": True}, {"const": True})
    yield (
        "/health",
        {
            "summary": "Check whether the server lives.",
            "responses": {"200": _json({"healthy": healthy}, "The server lives."), **_refused(_ANY)},
            "security": [],
        },
    )
    yield (
        "/ready",
        {
            "summary": "Check whether the models are loaded.",
            "responses": {"200": _json({"ready": ready}, "They are loaded."), **_refused((*_ANY, refusals.NotReady))},
            "security": [],
        },
    )
    yield (
        "/metrics",
        {
            "summary": "The metrics of the server, for Prometheus.",
            "responses": {
                "200": {"description": "The metrics.", "content": {KIND.decode(): {"schema": _TEXT}}},
                **_refused(_READ, with_tokens=with_tokens),
            },
            **_security(with_tokens),
        },
    )
    yield (
        "/openapi.json",
        {
            "summary": "This document.",
            "responses": {
                "200": {"description": "The document.", "content": {JSON: {"schema": {"type": "object"}}}},
                **_refused(_READ, with_tokens=with_tokens),
            },
            **_security(with_tokens),
        },
    )
    yield (
        "/",
        {
            "summary": "A page that shows this document, and can send requests to endpoints.",
            "responses": {"200": {"description": "The page.", "content": {"text/html": {}}}, **_refused(_ANY)},
            "security": [],
        },
    )


def _json(properties: Schema, about: str) -> Schema:
    schema = {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip
    return {"description": about, "content": {JSON: {"schema": schema}}}


def _security(with_tokens: bool) -> Schema:
    return {"security": [{"token": []}]} if with_tokens else {}


def _refused(errors: Iterable[type[HeadraceError]], *, with_tokens: bool = False) -> Schema:
    """Return the responses for errors, by status."""
    by_status: dict[int, list[type[HeadraceError]]] = defaultdict(list)
    for error in (*errors, *((refusals.TokenRefused, refusals.NotReady) if with_tokens else ())):
        if error not in (known := by_status[_status(error)]):
            known.append(error)
    return {str(status): _refusal(by_status[status]) for status in sorted(by_status)}


def _status(error: type[HeadraceError]) -> int:
    return error.status if issubclass(error, Refusal) else _STATUSES[error]


def _refusal(errors: list[type[HeadraceError]]) -> Schema:
    properties: Schema = {
        "error": {"enum": [error.__name__ for error in errors]},
        "message": _TEXT,
        "hint": {"type": ["string", "null"]},
    }
    if refused := [error.__name__ for error in errors if error in (RecordsRefused, LabelsRefused)]:
        properties["faults"] = {
            "type": "array",
            "maxItems": MOST_FAULTS,
            "description": f"What is wrong, at most {MOST_FAULTS} faults. Only `{refused[0]}` has this field.",
            "items": {
                "type": "object",
                "properties": {
                    "what": _TEXT,
                    "record": {"type": ["integer", "null"], "description": "The wrong entry's number, from 0 on."},
                    "field": {"type": ["string", "null"]},
                },
                "required": ["what", "record", "field"],
                "additionalProperties": False,
            },
        }
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["error", "message", "hint"],
        "additionalProperties": False,
    }
    told = " ".join(f"`{error.__name__}`: {_words(error)}" for error in errors)
    return {"description": told, "content": {JSON: {"schema": schema}}}


def _words(error: type[HeadraceError]) -> str:
    if error is HeadraceError:
        return "The server failed; its log says why."
    words, _, _ = (getdoc(error) or "").replace("\n", " ").partition(". ")
    return f"{words.rstrip('.')}."
