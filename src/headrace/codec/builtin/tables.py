"""Codecs for tables in parts, for parts of larger tables, and for tables that are opened only when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pyarrow as pa

from headrace.codec.builtin.arrow import read_columns
from headrace.codec.joined import Joined, Slice
from headrace.codec.later import Later
from headrace.codec.sink import Sink
from headrace.codec.source import Source
from headrace.errors import CodecError
from headrace.spec.artifact import Piece


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
        return pa.concat_tables([_columns_of(part, names) for part in source.sources()])


class SliceCodec:
    """A `Slice`, with the larger table as its one part. The part's name says which rows the slice has.

    If a value has several slices of one table, the table is loaded only once.
    """

    name = "slice"
    safe = True

    def takes(self, value: object) -> bool:
        return isinstance(value, Slice)

    def save(self, value: object, sink: Sink) -> None:
        assert isinstance(value, Slice)
        sink.kind = pa.Table
        sink.part(value.whole, Piece(start=value.start, count=value.count, of=value.whole.num_rows).name)

    def load(self, source: Source) -> object:
        return _slice_of(source.shared(0), source)

    def load_columns(self, source: Source, names: Sequence[str]) -> object:
        return _slice_of(_columns_of(source.sources()[0], names), source)


def _columns_of(part: Source, names: Sequence[str]) -> pa.Table:
    """Return the columns `names` of a part of a `Joined`."""
    if part.codec == SliceCodec.name:
        return _slice_of(_columns_of(part.sources()[0], names), part)
    return read_columns(part, names)


def _slice_of(whole: object, source: Source) -> pa.Table:
    """Return the rows of a slice from the larger table.

    Raises:
        CodecError: the larger table doesn't have these rows.
    """
    piece = Piece.named(source.names)
    if not isinstance(whole, pa.Table) or piece is None or whole.num_rows != piece.of:
        raise CodecError("a piece of a larger table isn't one: the artifact is damaged, or forged")
    return whole.slice(piece.start, piece.count)


CODECS = (JoinedCodec(), LaterCodec(), SliceCodec())
