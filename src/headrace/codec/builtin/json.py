"""Plain values, and Headrace's own documents, as exact JSON."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from headrace.codec import exact_json
from headrace.codec.safe_records import is_listed
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError
from headrace.spec.noun import Document

OURS = ("headrace.spec.", "headrace.stages.")
AS_THEY_ARE = (bytes, bytearray, date, datetime, time, timedelta, Decimal, UUID)
"""Classes whose values exact JSON writes in a form of its own. msgspec alone would turn these values into text."""


class JsonCodec:
    """Numbers, None, dates and similar values, and containers of them: see `headrace.codec.exact_json`.

    Equal values make equal bytes. A dictionary keeps its order, so another order makes other bytes.
    """

    name = "json"
    safe = True

    def takes(self, value: object) -> bool:
        return exact_json.is_plain(type(value))

    def save(self, value: object, sink: Sink) -> None:
        sink.write(exact_json.encode(value))

    def load(self, source: Source) -> object:
        return exact_json.decode(source.read())


class DocumentCodec:
    """A document of Headrace's own, such as a `Preparation`, as one JSON object. msgspec makes the JSON, and checks it
    on loading.

    If an artifact names a class that isn't a document, loading it is refused. Only modules of Headrace are imported to
    find this out.
    """

    name = "document"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, Document) and type(value).__module__.startswith(OURS)

    def save(self, value: object, sink: Sink) -> None:
        sink.write(exact_json.encode(_listed(msgspec.to_builtins(value, builtin_types=AS_THEY_ARE))))

    def load(self, source: Source) -> object:
        kind: Any = source.kind if is_listed(source.type) else object
        if not issubclass(kind, Document):
            raise CodecError(
                f"the artifact has the type `{source.type}`, which this Headrace doesn't know",
                hint="run again the task that made the artifact",
            )
        document = exact_json.decode(source.read())
        form = document.get("form") if isinstance(document, dict) else None
        if isinstance(form, int) and form > kind.FORM:
            raise CodecError(
                f"a newer Headrace wrote this `{kind.__name__}`: its format is {form}, and this Headrace reads formats"
                f" up to {kind.FORM}",
                hint="install a newer Headrace here",
            )
        return msgspec.convert(document, kind)


def _listed(value: Any) -> Any:
    """Return a value with its tuples as lists, since JSON has only lists. On loading, the class says which fields are
    tuples."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
