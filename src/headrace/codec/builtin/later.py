"""Tables that are opened when they are asked for."""

from __future__ import annotations

from functools import cache

from headrace.codec.later import Later
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError


class LaterCodec:
    """A `Later`: its table is a part, and so is the number of its rows. Loading opens nothing."""

    name = "later"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, Later)

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, Later)
        sink.part(value.open())
        sink.part(value.num_rows)

    def load(self, source: Source) -> object:
        rows = source.part(1)
        if type(rows) is not int:
            raise CodecError("it doesn't say how many rows the table has", hint="run what made it again")
        return Later(rows, cache(lambda: source.part(0)))


CODECS = (LaterCodec(),)
