"""Tables in parts."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headrace.codec.builtin.arrow import read_columns
from headrace.codec.builtin.later import LaterCodec
from headrace.codec.joined import Joined
from headrace.codec.sink import Sink
from headrace.codec.source import Source


class JoinedCodec:
    """A `Joined`: each of its tables is a part, written only if it isn't an artifact yet; loading gives one table.

    Parts without rows are left out, and one that is itself in parts counts as its parts: so adding nothing changes
    nothing. Equal parts make the same artifact; the same rows cut elsewhere make another one.
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
        return pa.concat_tables([read_columns(each, names) for each in source.sources()])


CODECS = (JoinedCodec(),)
