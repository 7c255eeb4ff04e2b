"""The lines of a log, whole ones only, with where each ends: as they are, or several together as one event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

CHUNK_BYTES = 1 << 20
CUT_BYTES = 1000
"""So much is kept of a line that is too long."""

BATCH_LINES = 4096
BATCH_BYTES = 4 << 20

_Read = Callable[[int], bytes]


class Event(NamedTuple):
    """A line, or lines that belong together: the numbers of the first and the last, the bytes, the offset behind them.
    Of what was longer than the limit there is the beginning, and its length in `long`."""

    line: int
    last: int
    data: bytes
    end: int
    long: int = 0


def lines(read: _Read, *, offset: int, line: int, limit: int, final: bool) -> Iterator[Event]:
    """Yield the lines that follow, `line` being the number of the first and `offset` its place.

    A last line without an end is given only if the log is `final`: else someone is writing it. No more than a chunk
    and a line of the limit is held, however long a line is.
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
        if len(rest) > limit + CUT_BYTES and not dropped:  # the hole that a truncated log begins with may be vast
            bare = rest.lstrip(b"\0")
            zeros, rest = zeros + len(rest) - len(bare), bare
        if len(rest) > limit + CUT_BYTES:
            dropped += len(rest) - CUT_BYTES
            rest = rest[:CUT_BYTES]
    if final and (rest or dropped or zeros):
        yield _event(line, rest, offset + zeros + len(rest) + dropped, dropped, limit)


def _event(line: int, data: bytes, end: int, dropped: int, limit: int) -> Event:
    data = data.removesuffix(b"\r").lstrip(b"\0")  # a log that was truncated under its writer begins with zeros
    long = len(data) + dropped if dropped or len(data) > limit else 0
    return Event(line, line, data[:CUT_BYTES] if long else data, end, long)


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield lines by the thousand, or by some MiB: what is done with many at once takes less time for each."""
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
    """Put lines together: an event goes from a line that `begins` tells up to the next such line.

    The last one is given only if the log is `final`, since its next line may still come.
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
