"""Plain values as exact JSON."""

from __future__ import annotations

from headrace.codec import plain
from headrace.codec.sink import Sink
from headrace.codec.source import Source


class JsonCodec:
    """Numbers, None, dates and their like, and what consists of them: see `headrace.codec.plain`.

    Equal values make equal bytes; a dictionary keeps its order, so another order is another value.
    """

    name = "json"
    safe = True

    def takes(self, value: object) -> bool:
        return plain.is_plain(type(value))

    def save(self, value: object, sink: Sink) -> None:
        sink.write(plain.encode(value))

    def load(self, source: Source) -> object:
        return plain.decode(source.read())
