"""Splits a log into complete lines, each with the offset of its end, and joins lines that belong to one event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

CHUNK_BYTES = 1 << 20
CUT_BYTES = 1000
"""Of a line that is too long, this many bytes are kept."""

BATCH_LINES = 4096
BATCH_BYTES = 4 << 20

_Read = Callable[[int], bytes]


class Event(NamedTuple):
    """One line of a log, or several lines that belong together.

    `line` and `last` are the numbers of the first and the last line, and `end` is the offset after them. `data` are the
    bytes. For an event longer than the limit, `data` is only the beginning, and `long` is the whole length in bytes.
    """

    line: int
    last: int
    data: bytes
    end: int
    long: int = 0


def lines(read: _Read, *, offset: int, line: int, limit: int, final: bool) -> Iterator[Event]:
    """Yield the lines in the bytes that `read` returns, as events. `line` is the number of the first line, and `offset`
    is where that line begins.

    A last line without a line break is yielded only if `final` is True; if not, a program may still be writing the
    line. At most one chunk and one line of `limit` bytes are in memory, however long a line is.
    """
    rest, dropped, zeros = b"", 0, 0
    while chunk := read(CHUNK_BYTES):
        *whole, last = chunk.split(b"\n")
        if whole:
            whole[0] = rest + whole[0]
            for each in whole:
                offset += zeros + len(each) + dropped + 1
                yield _event(line, each, offset, dropped, limit)
                line += 1
                dropped = zeros = 0
            rest = last
        else:
            rest += last
        if len(rest) > limit + CUT_BYTES and not dropped:  # a truncated log may begin with a vast run of zeros
            bare = rest.lstrip(b"\0")
            zeros, rest = zeros + len(rest) - len(bare), bare
        if len(rest) > limit + CUT_BYTES:
            dropped += len(rest) - CUT_BYTES
            rest = rest[:CUT_BYTES]
    if final and (rest or dropped or zeros):
        yield _event(line, rest, offset + zeros + len(rest) + dropped, dropped, limit)


def _event(line: int, data: bytes, end: int, dropped: int, limit: int) -> Event:
    data = data.removesuffix(b"\r").lstrip(b"\0")  # a log truncated while a program writes it begins with zeros
    long = len(data) + dropped if dropped or len(data) > limit else 0
    return Event(line, line, data[:CUT_BYTES] if long else data, end, long)


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield events in lists of at most 4096 events or about 4 MiB, because parsing many at once is faster."""
    held: list[Event] = []
    size = 0
    for each in events:
        held.append(each)
        size += len(each.data)
        if len(held) >= BATCH_LINES or size >= BATCH_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def together(
    events: Iterable[Event], begins: Callable[[list[bytes]], list[bool]], *, limit: int, final: bool
) -> Iterator[Event]:
    """Join lines into events, and yield the events. `begins` returns for each line whether an event begins with that
    line. The event ends before the next line that begins an event.

    The last event is yielded only if `final` is True; if not, more of its lines may still come. An event of
    `limit` bytes or more is cut.
    """
    held: Event | None = None
    told = (
        pair for batch in batches(events) for pair in zip(batch, begins([each.data for each in batch]), strict=True)
    )
    for each, begin in told:
        if held is None or begin:
            if held is not None:
                yield held
            held = each
        elif held.long or len(held.data) + len(each.data) >= limit:
            size = (held.long or len(held.data)) + 1 + (each.long or len(each.data))
            held = Event(held.line, each.last, held.data[:CUT_BYTES], each.end, size)
        else:
            size = each.long and len(held.data) + 1 + each.long
            held = Event(held.line, each.last, held.data + b"\n" + each.data, each.end, size)
    if final and held is not None:
        yield held
