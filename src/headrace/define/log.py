"""`hr.log`: live values of a stage, for those who look on while it runs: what may be logged, and how it is passed on.

Processes that an attempt has begun, such as those of `torchrun`, pass their values on by a file to the attempt's own:
each is a record of its length and msgpack, appended in one piece, so that processes may write side by side.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from operator import index
from typing import Any

import msgspec
from msgspec import Struct

from headrace.define.ports import current
from headrace.errors import UsageError

WARNING = "warning"
"""Texts under this name are told at the end of `headrace run`, and by `headrace show`."""


def log(name: str, value: object, step: int | None = None) -> None:
    """Log a value under a name, such as `train/loss`; outside of a run, do nothing.

    A number (of Python, NumPy or torch, NaN and infinities too) is a point of a curve; a text, a `Picture` or a
    matplotlib figure is kept as it is now; a text named `warning` is also shown at the run's end. `step` counts
    batches, rounds or epochs; without it, the values of each name are numbered from 0. If an
    attempt starts again from a checkpoint, its points replace earlier ones from its first step on. If an
    attempt spans nodes, only the first one's values count, except names that begin with `rank`. It may be
    called in threads, in any code that a stage calls, and (numbers and texts) in processes that it starts, whose
    `RANK` counts likewise.

    Raises:
        UsageError: the value is none of these, or the step is no whole number.
    """
    attempt = current()
    if attempt is not None:
        attempt.log(name, value, step)
    elif (path := os.environ.get(FILE)) is not None:
        pass_on(path, name, value, step)


def warn(text: str) -> None:
    """Tell whoever runs a pipeline what they should know though nothing failed: where the run ends, by `headrace show`
    and in the task's log."""
    sys.stderr.write(f"warning: {text}\n")
    log(WARNING, text)


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


NAME_LIMIT = 200
MOST = 1 << 63
_HINT = "log a number, a text, a `headrace.Picture` or a matplotlib figure"


def check_name(name: object) -> None:
    """Refuse what is no name to log under.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(name, str) or not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise UsageError(
            f"a value can't be logged under the name `{str(name)[:60]}`",
            hint=f"use a text such as `train/loss`, of up to {NAME_LIMIT} characters that can be printed",
        )


def number(name: str, value: Any) -> float:
    """Return a value as the number that it is.

    Raises:
        UsageError: it is none, or too large for a 64-bit float.
    """
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"`{name}` can't be logged: the number is too large", hint="log its logarithm") from None
    except (TypeError, ValueError, RuntimeError):
        if getattr(value, "size", None) == 1 and hasattr(value, "item"):  # an array of one element, as a tensor of one
            return number(name, value.item())
        kind = type(value)
        told = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise UsageError(f"`{name}` can't be logged: it is a `{told}`, not a single number", hint=_HINT) from None


def whole(name: str, step: Any) -> int:
    """Return a step as the whole number that it is.

    Raises:
        UsageError: it is none, or too large for a 64-bit integer.
    """
    try:
        found = index(step)
    except TypeError:
        raise UsageError(
            f"`{name}` can't be logged at step `{step!r}`: that is not a whole number", hint="give a step as an `int`"
        ) from None
    if not -MOST <= found < MOST:
        raise UsageError(f"`{name}` can't be logged at step {found}: it is too large", hint="give a smaller step")
    return found


def counts(name: str, rank: int) -> bool:
    """Return whether values under a name count from the process of this rank."""
    return rank == 0 or name.startswith("rank")
