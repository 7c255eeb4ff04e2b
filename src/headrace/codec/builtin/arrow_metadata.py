"""What an Arrow file or stream claims to hold, read before pyarrow unpacks any of it.

Each batch begins with a flatbuffer that lists the lengths of the batch's columns and buffers. A compressed buffer
begins with its unpacked size. pyarrow allocates memory for these sizes without showing them first. The field numbers
below are those of Arrow's `Message.fbs` and `File.fbs`; pyarrow itself verifies all other fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

import pyarrow as pa

GROWTH = 200
LEAST_BARE = 1 << 27
"""The most values without bytes (untyped nulls, run-length encoding) that a file may claim. For large files, the limit
is `GROWTH` values for each byte of the file, if that is more."""

_MAGIC_BYTES = 6
_CONTINUED = b"\xff\xff\xff\xff"
_U8, _U16, _I16, _U32, _I32, _I64 = (Struct(f"<{form}") for form in "BHhIiq")
_PAIR, _BLOCK = Struct("<qq"), Struct("<qi4xq")
_DICTIONARY, _BATCH = 2, 3


class Claims(NamedTuple):
    """What a file or stream of `size` bytes claims to hold when it is unpacked: `data` bytes in all buffers, and
    `values` values in all columns. Values inside lists count too; in a table without columns, each row counts as a
    value."""

    size: int
    data: int
    values: int
    is_packed: bool

    @property
    def is_bare(self) -> bool:
        """True if there are far more values than bytes that could hold them."""
        return self.values - self.data > max(LEAST_BARE, GROWTH * self.size)


def claims_of(file: Any, *, is_stream: bool, most_messages: int | None = None) -> Claims:
    """Return what the IPC file or stream `file` claims to hold. `file` is then set back to its start. At most the first
    eight bytes of each buffer are read.

    Raises:
        pyarrow.ArrowInvalid: an offset or length in `file` points outside of it, or it has more than `most_messages`
            batches and dictionaries, each of which takes time.
    """
    size = file.seek(0, 2)
    data, values, is_packed, read = 0, 0, False, 0
    for count, (start, length, body) in enumerate(_in_stream(file, size) if is_stream else _in_file(file, size)):
        if most_messages is not None and count > most_messages:
            raise pa.ArrowInvalid(f"it has more than {most_messages:,} batches")
        read += length
        if read > size:
            raise pa.ArrowInvalid("its batches overlap")
        message = _Table.root(_read(file, start, length, size))
        kind = message.number(1, _U8)
        batch = message.table(2) if kind in (_DICTIONARY, _BATCH) else None
        if batch is not None and kind == _DICTIONARY:
            batch = batch.table(1)
        if batch is None:
            continue
        nodes = list(batch.structs(1, _PAIR))
        buffers = list(batch.structs(2, _PAIR))
        lengths = [batch.number(0, _I64), *(number for number, _ in nodes), *(number for _, number in buffers)]
        if min(lengths) < 0:
            raise pa.ArrowInvalid("a length is negative")
        values += sum(lengths[: 1 + len(nodes)])
        if batch.table(3) is None and not _is_packed_of_old(message):
            data += sum(number for _, number in buffers)
        else:
            is_packed = True
            data += sum(_unpacked(file, body + offset, length, size) for offset, length in buffers if length)
    file.seek(0)
    return Claims(size, data, values, is_packed)


def _in_file(file: Any, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield three numbers for each message that the file's end lists: the position of its flatbuffer, the flatbuffer's
    length, and the position of its body."""
    end = size - _MAGIC_BYTES - 4
    length = _I32.unpack(_read(file, end, 4, size))[0]
    footer = _Table.root(_read(file, end - length, length, size))
    for field in (2, 3):  # dictionaries, batches
        for place, metadata_length, _ in footer.structs(field, _BLOCK):
            start, length = _start(_read(file, place, 8, size), place)
            if start + length > place + metadata_length:
                raise pa.ArrowInvalid("a batch is longer than the file's end says")
            yield start, length, place + metadata_length


def _in_stream(file: Any, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield three numbers for each message of a stream: the position of its flatbuffer, the flatbuffer's length, and
    the position of its body."""
    place = 0
    while place + 8 <= size:
        start, length = _start(_read(file, place, 8, size), place)
        if length == 0:
            return
        yield start, length, start + length
        message = _Table.root(_read(file, start, length, size))
        body = message.number(3, _I64)
        if body < 0:
            raise pa.ArrowInvalid("a length is negative")
        place = start + length + body


def _start(head: bytes, place: int) -> tuple[int, int]:
    """Return the position of a message's flatbuffer, and the flatbuffer's length. `head` is the first eight bytes of
    the message, at position `place`: a mark and the length. Arrow before 0.15 wrote no mark."""
    is_old = head[:4] != _CONTINUED
    return (place + 4, _I32.unpack(head[:4])[0]) if is_old else (place + 8, _I32.unpack(head[4:])[0])


def _is_packed_of_old(message: _Table) -> bool:
    """Return whether a message's buffers are compressed in the way of Arrow 0.17, which recorded the compression in the
    message's own metadata. pyarrow still reads such messages."""
    return message.number(0, _I16) < 4 and any(True for _ in message.structs(4, _U32))


def _unpacked(file: Any, place: int, length: int, size: int) -> int:
    unpacked = int(_I64.unpack(_read(file, place, 8, size))[0]) if length >= 8 else -2
    if unpacked < -1:
        raise pa.ArrowInvalid("a compressed buffer has no size")
    return length - 8 if unpacked == -1 else unpacked


def _read(file: Any, place: int, length: int, size: int) -> bytes:
    if not (0 <= place <= place + length <= size):
        raise pa.ArrowInvalid("an offset in it points outside of it")
    file.seek(place)
    data = bytes(file.read(length))
    if len(data) != length:
        raise pa.ArrowInvalid("it ends too early")
    return data


class _Table:
    """A table of a flatbuffer. Fields are read by number, and never beyond the flatbuffer's bytes."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self._place = place
        self._fields = place - self._at(_I32, place)
        self._end = self._at(_U16, self._fields)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        """Return the root table of a flatbuffer."""
        if len(data) < 4:
            raise pa.ArrowInvalid("it has an empty message")
        return cls(data, _U32.unpack_from(data)[0])

    def number(self, field: int, form: Struct) -> int:
        """Return the number in a field; 0 if the field is absent."""
        place = self._find(field)
        return 0 if place is None else self._at(form, place)

    def table(self, field: int) -> _Table | None:
        """Return the table in a field; None if the field is absent."""
        place = self._find(field)
        return None if place is None else _Table(self._data, place + self._at(_U32, place))

    def structs(self, field: int, form: Struct) -> Iterator[tuple[int, ...]]:
        """Return an iterator over the list of structs in a field; it is empty if the field is absent."""
        place = self._find(field)
        if place is None:
            return iter(())
        place += self._at(_U32, place)
        start, length = place + 4, self._at(_U32, place) * form.size
        if start + length > len(self._data):
            raise pa.ArrowInvalid("a list points outside of the Arrow message that it is in")
        return form.iter_unpack(memoryview(self._data)[start : start + length])

    def _find(self, field: int) -> int | None:
        if 4 + 2 * field >= self._end:
            return None
        offset = self._at(_U16, self._fields + 4 + 2 * field)
        return self._place + offset if offset else None

    def _at(self, form: Struct, place: int) -> int:
        if not 0 <= place <= len(self._data) - form.size:
            raise pa.ArrowInvalid("an offset points outside of the Arrow message that it is in")
        return int(form.unpack_from(self._data, place)[0])
