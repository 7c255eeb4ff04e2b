"""Captures what an attempt prints, which is the standard output and error of the worker's process. There is one log
file for each worker.

Normally, both descriptors are the log file itself. When the worker gets its first secret, they become a pipe to another
process, which masks secrets and writes the file. So the file never contains a secret.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from headrace.run.events import Span
from headrace.store.folder.logs import PIECE_BYTES
from headrace.work.output.log_pipe import LogPipe
from headrace.work.output.mask import Mask

_STDOUT, _STDERR = 1, 2


class Capture:
    """Points descriptors 1 and 2 to the log, and returns which bytes of the log each attempt wrote.

    If a process that masks secrets is started, `note` is called with its id.
    """

    def __init__(self, folder: Path, name: str, note: Callable[[int], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._name = name
        self._file = os.open(folder / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._note = note
        self.heading = ""
        """The text with which each attempt's output begins."""
        self.hidden = Mask()
        self._pipe: LogPipe | None = None
        self._streams: tuple[TextIO | None, TextIO | None] = (None, None)
        self._start = 0
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self._point()

    def begin(self) -> None:
        """Record the place in the log where the next attempt's output begins. If an earlier attempt closed or replaced
        standard output or error, restore both."""
        self._settle()
        # not restored if the masking process is gone: threads that know a secret might print it before `hide` starts
        # another
        is_lost = self._pipe is None and self.hidden.forms
        if not is_lost and ((sys.stdout, sys.stderr) != self._streams or not _is_open(self._target)):
            self._point()
        self._start = os.fstat(self._file).st_size
        if self.heading:
            with suppress(OSError):  # the disk is full
                os.write(_STDERR, self.heading.encode())

    def end(self) -> Span | None:
        """Return the span of the log that was written since `begin`, or None if nothing was written."""
        for stream in filter(None, self._streams):
            with suppress(ValueError, OSError):  # the user's code closed it, so the text in its buffer is lost
                stream.flush()
        self._settle()
        end = os.fstat(self._file).st_size
        return None if end == self._start else Span(self._name, self._start, end)

    def printed(self, span: Span) -> Iterator[bytes]:
        """Yield what an attempt has printed, in pieces."""
        start = span.start
        while start < span.end and (piece := os.pread(self._file, min(PIECE_BYTES, span.end - start), start)):
            start += len(piece)
            yield piece

    def hide(self, secrets: Iterable[str]) -> None:
        """From now on, mask `secrets` and the secrets of earlier attempts in everything that is printed. Call this
        before a stage gets the secrets.

        Raises:
            HeadraceError: the process that masks secrets can't be started.
        """
        is_new = [self.hidden.add(secret) for secret in secrets]
        if self._pipe is None and self.hidden.forms:
            self._pipe = LogPipe(self._file, self.hidden.forms, self._note)
            self._point()
        elif self._pipe is not None and any(is_new):
            self._pipe.learn(self.hidden.forms)

    def mask(self, text: str) -> str:
        """Return a text with the secrets in it masked."""
        return self.hidden.text(text)

    @property
    def _target(self) -> int:
        return self._file if self._pipe is None else self._pipe.pipe

    def _settle(self) -> None:
        """Wait until everything that was printed is in the log. If the masking process no longer answers, close its
        pipe."""
        if self._pipe is not None and not self._pipe.settle():
            self._pipe.leave()
            self._pipe = None

    def _point(self) -> None:
        os.dup2(self._target, _STDOUT)
        os.dup2(self._target, _STDERR)
        sys.stdout = io.TextIOWrapper(io.FileIO(_STDOUT, "w", closefd=False), "utf-8", "replace", line_buffering=True)
        sys.stderr = io.TextIOWrapper(io.FileIO(_STDERR, "w", closefd=False), "utf-8", "replace", line_buffering=True)
        self._streams = (sys.stdout, sys.stderr)


def _is_open(target: int) -> bool:
    """Return whether standard output and error still lead to the file or pipe that is open as descriptor `target`."""
    try:
        there = os.fstat(target)
        return os.path.samestat(there, os.fstat(_STDOUT)) and os.path.samestat(there, os.fstat(_STDERR))
    except OSError:
        return False
