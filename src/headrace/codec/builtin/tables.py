"""Codecs for tables in parts, and for tables that are opened only when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pyarrow as pa

from headrace.codec.builtin.arrow import read_columns
from headrace.codec.joined import Joined
from headrace.codec.later import Later
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError


class LaterCodec:
    """A `Later`, saved as two parts: its table, and the number of rows. Loading doesn't open the table."""

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
            raise CodecError("the artifact doesn't give its number of rows", hint="run again the task that made it")
        return Later(rows, cache(lambda: source.part(0)))


class JoinedCodec:
    """A `Joined`, with each of its tables as a part. A table that is already an artifact isn't written again. Loading
    returns one table.

    Parts without rows are left out, so adding no rows changes nothing. A part that itself has parts is replaced by its
    parts. Equal parts make the same artifact, but the same rows cut at other places make another artifact.
    """

    name = "joined"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, Joined)

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, Joined)
        sink.kind = pa.Table
        for table in [each for each in value.tables if each.num_rows] or value.tables[:1]:
            sink.spread(table, self.name, LaterCodec.name)

    def load(self, source: Source) -> object:
        return pa.concat_tables(source.parts())

    def load_columns(self, source: Source, names: Sequence[str]) -> object:
        return pa.concat_tables([read_columns(part, names) for part in source.sources()])


CODECS = (JoinedCodec(), LaterCodec())
