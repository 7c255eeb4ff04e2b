"""Sends a notice by a command: the notice is the command's standard input. The command's time and output are limited,
so that a command that hangs or prints without end does no harm."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired

OUTPUT_BYTES = 1 << 20
"""A command that prints more bytes than this is ended."""
KEPT_BYTES = 2000
"""How many bytes from the end of a command's output are kept for the message about a failure."""
STEP_S = 0.05


def send(
    words: Sequence[str], body: bytes, *, environment: Mapping[str, str], folder: Path, limit_s: float
) -> str | None:
    """Run a command that gets a notice as its standard input. Return None if its exit code is 0, else what went wrong.

    After `limit_s` seconds, or once it has printed too much, the command is ended with all processes of its session.
    """
    with tempfile.TemporaryFile() as given:  # a pipe might be too small for the notice
        given.write(body)
        given.seek(0)
        try:
            process = Popen(
                words,
                stdin=given,
                stdout=PIPE,
                stderr=STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # `ValueError`: a word with a null character
            return f"the command `{words[0]}` can't be started: {getattr(error, 'strerror', None) or error}"
    try:
        return _watched(process, words[0], time.monotonic() + limit_s, limit_s)
    except BaseException:
        _kill(process)
        raise
    finally:
        assert process.stdout is not None
        process.stdout.close()


def _watched(process: Popen[bytes], name: str, ends: float, limit_s: float) -> str | None:
    """Wait until a command ends, and read what it prints. Return None if its exit code is 0, else what went wrong."""
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    end, size, is_open = b"", 0, True
    while process.poll() is None:
        left = ends - time.monotonic()
        if left <= 0:
            _kill(process)
            return f"the command `{name}` didn't end within {limit_s:g} s, and was killed"
        if not is_open:
            with suppress(TimeoutExpired):
                process.wait(min(STEP_S, left))
        elif select.select([pipe], [], [], min(STEP_S, left))[0]:
            some = _read(pipe)
            is_open, size, end = bool(some), size + len(some), (end + some)[-KEPT_BYTES:]
            if size > OUTPUT_BYTES:
                _kill(process)
                return f"the command `{name}` printed more than {OUTPUT_BYTES >> 20} MiB, and was killed"
    if process.returncode == 0:
        return None
    end = (end + _read(pipe))[-KEPT_BYTES:]
    lines = [line.strip() for line in end.decode("utf-8", "replace").splitlines() if line.strip()]
    return f"the command `{name}` {_ended(process.returncode)}" + (f": {lines[-1]:.200}" if lines else "")


def _ended(code: int) -> str:
    return f"exited with {code}" if code > 0 else f"was ended by signal {-code}"


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 1 << 16)
    except BlockingIOError:
        return b""


def _kill(process: Popen[bytes]) -> None:
    """Kill a command with all processes of its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
