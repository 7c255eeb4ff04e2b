"""`hr.log`: values that a stage logs and that users see while the stage runs. This module checks the values and passes
them on.

Processes that an attempt starts, such as those of `torchrun`, append their values to a file, which the attempt's own
process reads. A record in this file is a length (4 bytes), followed by a msgpack value of this length. Each record is
appended by one write, so several processes may write at the same time.
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
from headrace.spec.noun import UNREADABLE

WARNING = "warning"
"""Texts logged under this name are warnings: `headrace run` prints them at its end, and `headrace show` too."""


def log(name: str, value: object, step: int | None = None) -> None:
    """Log a value under a name, such as `train/loss`. Outside of a run, do nothing.

    A number (of Python, NumPy or torch, also NaN and infinities) is a point of a curve. A text, a `Picture` or a
    matplotlib figure is stored as it is at the time of the call. A text named `warning` is also shown when the run
    ends. `step` is the number of the batch, round or epoch; without it, the values of each name are numbered from 0.

    If a new attempt logs a curve from step 50 on, the points that earlier attempts logged for step 50 and later are
    dropped. So an attempt that starts from a checkpoint continues the curve. If an attempt spans several nodes, rank 0
    logs all values; other ranks log only values whose name begins with `rank`. The function may be called in threads,
    in any code that a stage calls, and in processes that the stage starts. These processes can log only numbers and
    texts. Their rank is the environment variable `RANK`.

    Raises:
        UsageError: the value is of another kind, the name isn't allowed, or the step isn't a whole number.
    """
    attempt = current()
    if attempt is not None:
        attempt.log(name, value, step)
    elif (path := os.environ.get(FILE)) is not None:
        pass_on(path, name, value, step)


def warn(text: str) -> None:
    """Log a warning for the user who runs the pipeline, and print it on stderr.

    The warning is shown at the end of the run, by `headrace show`, and in the task's log. The task doesn't fail.
    """
    sys.stderr.write(f"warning: {text}\n")
    log(WARNING, text)


FILE = "HEADRACE_LOGGED"
"""The environment variable with the path of the file to which an attempt's child processes append logged values."""


class Passed(Struct, frozen=True, array_like=True):
    """A logged value as `pass_on` writes it to the file: a number or a text, with its name, its step and its time (Unix
    seconds)."""

    name: str
    value: float | str
    step: int
    at: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Passed).decode
_next: dict[str, int] = {}


def pass_on(path: str, name: str, value: object, step: int | None) -> None:
    """Append a logged value to the file at `path`. Without a step, the values of each name are numbered from 0.

    Raises:
        UsageError: the value isn't a number or a text, or the name or step isn't allowed.
    """
    check_name(name)
    if not counts(name, int(os.environ.get("RANK") or 0)):
        return
    if step is None:
        step = _next.get(name, 0)
        _next[name] = step + 1
    plain = value if isinstance(value, str) else number(name, value)
    body = _encode(Passed(name, plain, whole(name, step), time.time()))
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, len(body).to_bytes(4, "little") + body)
    finally:
        os.close(file)


def records(data: bytes) -> Iterator[tuple[Passed, int]]:
    """Yield each complete record in `data`, with the offset of its end. Stop at the first incomplete or invalid one."""
    start = 0
    while (begin := start + 4) <= len(data):
        end = begin + int.from_bytes(data[start:begin], "little")
        if end > len(data):
            return
        try:
            yield _decode(data[begin:end]), end
        except UNREADABLE:
            return
        start = end


NAME_LIMIT = 200
MOST = 1 << 63
_HINT = "log a number, a text, a `headrace.Picture` or a matplotlib figure"


def check_name(name: object) -> None:
    """Raise an error if a value can't be logged under this name.

    Raises:
        UsageError: the name isn't a text of 1 to 200 printable characters.
    """
    if not isinstance(name, str) or not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise UsageError(
            f"a value can't be logged under the name `{str(name)[:60]}`",
            hint=f"use a text such as `train/loss`, of up to {NAME_LIMIT} characters that can be printed",
        )


def number(name: str, value: Any) -> float:
    """Return a value as a Python float. An array or tensor with one element is accepted.

    Raises:
        UsageError: the value isn't a single number, or is too large for a 64-bit float.
    """
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"`{name}` can't be logged: the number is too large", hint="log its logarithm") from None
    except (TypeError, ValueError, RuntimeError):
        if getattr(value, "size", None) == 1 and hasattr(value, "item"):  # an array or a tensor with one element
            return number(name, value.item())
        kind = type(value)
        shown = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise UsageError(f"`{name}` can't be logged: it is a `{shown}`, not a single number", hint=_HINT) from None


def whole(name: str, step: Any) -> int:
    """Return a step as a Python int.

    Raises:
        UsageError: the step isn't a whole number, or is too large for a 64-bit integer.
    """
    try:
        count = index(step)
    except TypeError:
        raise UsageError(
            f"`{name}` can't be logged at step `{step!r}`: that is not a whole number", hint="give a step as an `int`"
        ) from None
    if not -MOST <= count < MOST:
        raise UsageError(
            f"`{name}` can't be logged at step {count}: that step is too large", hint="give a smaller step"
        )
    return count


def counts(name: str, rank: int) -> bool:
    """Return whether a process of this rank logs values under this name: only if `rank` is 0 or the name begins with
    the word `rank`."""
    return rank == 0 or name.startswith("rank")
