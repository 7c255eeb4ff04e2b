"""Text and bytes, saved unchanged."""

from __future__ import annotations

from headrace.codec.classes import is_exactly
from headrace.codec.sink import Sink
from headrace.codec.source import Source


class TextCodec:
    """Text as UTF-8. A lone surrogate, which UTF-8 doesn't allow, is kept with Python's `surrogatepass`."""

    name = "text"
    safe = True

    def takes(self, value: object) -> bool:
        return type(value) is str

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, str)
        sink.write(value.encode("utf-8", "surrogatepass"))

    def load(self, source: Source) -> object:
        return source.read().decode("utf-8", "surrogatepass")


class BytesCodec:
    """Bytes, and a bytearray."""

    name = "bytes"
    safe = True

    def takes(self, value: object) -> bool:
        return is_exactly(value, "builtins.bytes", "builtins.bytearray")

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, bytes | bytearray)
        sink.write(value)

    def load(self, source: Source) -> object:
        data = source.read()
        return bytearray(data) if source.type == "builtins.bytearray" else data
