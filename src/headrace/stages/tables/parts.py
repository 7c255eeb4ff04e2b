"""Turns a stream of record batches into tables of at most about 64 MiB, called parts. In a run, each part is stored
in pieces of about 16 MiB while the stream goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from headrace.codec.builtin.arrow import BATCH_BYTES, batch_rows
from headrace.codec.joined import Streamed
from headrace.codec.misfit import CallerFailed
from headrace.define.ports import current

PART_BYTES = 1 << 26
"""The approximate size of a part in bytes."""

PIECES_AHEAD = 2
"""How many pieces of about 16 MiB may wait for the disk before the stream has to wait."""


def part_rows(schema: Any) -> int:
    """Return how many rows of this schema make a part of about `PART_BYTES`."""
    return batch_rows(schema) * (PART_BYTES // BATCH_BYTES)


def kept(schema: Any, batches: Iterable[Any], rows: int | None = None) -> list[Any]:
    """Return the batches as tables of `rows` rows each, by default of about 64 MiB each. Without batches, return one
    table without rows.

    The number of rows per table depends only on the schema and `rows`, unless rows are so wide that a table reaches its
    size in bytes first. In a run, the tables are stored piece by piece in a thread while the stream goes on, and are
    returned memory-mapped, so only three or four pieces of 16 MiB are in memory. If the whole stream fits in one piece,
    it is returned from memory and isn't stored, because the caller may not need it in the store.
    """
    coming = _pieces(schema, batches, rows)
    attempt = current()
    if attempt is None:
        return list(iter(lambda: _part(coming), None))
    first, following = next(coming), next(coming, None)
    if following is None:
        return [first[0]]
    with Keeper(schema, attempt.stored) as keeper:
        keeper.add(*first)
        keeper.add(*following)
        del first, following
        for piece, ends in coming:
            keeper.add(piece, ends=ends)
            del piece
    return keeper.tables


def _pieces(schema: Any, batches: Iterable[Any], rows: int | None) -> Iterator[tuple[Any, bool]]:
    """Yield the batches as tables (pieces), each as long as a record batch of a stored table. Each piece comes with
    True if it is the last one of its part, else with False."""
    most, at_once = rows or part_rows(schema), batch_rows(schema)
    pending: list[Any] = []
    count = size = inner = given = 0
    for batch in batches:
        left = batch
        while left.num_rows:
            piece = left.slice(0, min(most - count, at_once - inner))
            left = left.slice(piece.num_rows)
            pending.append(piece)
            count += piece.num_rows
            inner += piece.num_rows
            size += piece.nbytes
            ends = count == most or size >= PART_BYTES
            if ends or inner == at_once:
                yield pa.Table.from_batches(pending, schema), ends
                given += 1
                pending, inner = [], 0
            if ends:
                count = size = 0
    if pending or not given:
        yield pa.Table.from_batches(pending, schema), True


def _part(coming: Iterator[tuple[Any, bool]]) -> Any:
    """Return the next whole part, or None if no part is left."""
    found = []
    for piece, ends in coming:
        found.append(piece)
        if ends:
            break
    return pa.concat_tables(found) if found else None


class Keeper:
    """Stores parts in a thread, piece by piece. After its `with` block, `tables` holds the stored parts."""

    def __init__(self, schema: Any, keep: Callable[[Any], Any]) -> None:
        self.tables: list[Any] = []
        self._schema = schema
        self._keep = keep
        self._streams = not any(pa.types.is_dictionary(each.type) for each in schema)
        self._line: Queue[tuple[Any, bool] | None] = Queue(PIECES_AHEAD)
        self._error: BaseException | None = None
        self._given_up = self._over = False
        self._thread = Thread(target=self._run, name="keep")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up = error is not None
        self._line.put(None)
        self._thread.join()
        if error is None:
            self._check()

    def add(self, piece: Any, ends: bool) -> None:
        """Pass a piece to the thread that stores it. If `PIECES_AHEAD` pieces wait for this thread already, wait until
        it takes one. `ends` says whether the piece is the last one of its part. If storing an earlier piece has failed,
        raise that error."""
        self._check()
        self._line.put((piece, ends))

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (first := self._next()) is not None:
                pieces = self._of_part([first])
                del first
                value = Streamed(self._schema, pieces) if self._streams else pa.concat_tables(pieces)
                self.tables.append(self._keep(value))
        except BaseException as error:  # noqa: BLE001 - the stream's thread raises it
            self._error = error
            while self._next() is not None:  # so that `add` doesn't wait for ever
                pass

    def _of_part(self, begun: list[tuple[Any, bool]]) -> Iterator[Any]:
        """Yield the pieces of one part as they arrive."""
        item: tuple[Any, bool] | None = begun.pop()
        while item is not None:
            yield item[0]
            if item[1]:
                return
            item = None  # frees this piece before the next one is made
            item = self._next()
        if self._given_up:
            raise CallerFailed(RuntimeError("the stream broke off"))

    def _next(self) -> tuple[Any, bool] | None:
        """Return the next piece, after waiting for it; None at the end of the stream."""
        item = None if self._over else self._line.get()
        self._over = item is None
        return item
