"""What processes log that an attempt has begun, such as those of `torchrun`: passed on by a file to the attempt's own.

Each value is a record of its length and msgpack, appended in one piece, so that processes may write side by side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from headrace.define.loggable import check_name, counts, number, whole

FILE = "HEADRACE_LOGGED"
"""The environment variable that names the file to an attempt's processes."""


class Passed(Struct, frozen=True, array_like=True):
    """One value: a number or a text, at a step and a time (Unix seconds)."""

    name: str
    value: float | str
    step: int
    at: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Passed).decode
_next: dict[str, int] = {}


def pass_on(path: str, name: str, value: object, step: int | None) -> None:
    """Append a value to the file.

    Raises:
        UsageError: it can't be logged from another process, or not so.
    """
    check_name(name)
    if not counts(name, int(os.environ.get("RANK") or 0)):
        return
    if step is None:
        step = _next.get(name, 0)
        _next[name] = step + 1
    told = value if isinstance(value, str) else number(name, value)
    body = _encode(Passed(name, told, whole(name, step), time.time()))
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, len(body).to_bytes(4, "little") + body)
    finally:
        os.close(file)


def records(data: bytes) -> Iterator[tuple[Passed, int]]:
    """Go over the values that are whole, each with where it ends; what is no value of ours ends it."""
    start = 0
    while (begin := start + 4) <= len(data):
        end = begin + int.from_bytes(data[start:begin], "little")
        if end > len(data):
            return
        try:
            yield _decode(data[begin:end]), end
        except msgspec.MsgspecError:
            return
        start = end
