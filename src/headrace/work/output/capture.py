"""What an attempt prints: standard output and error of the worker's process, in one log file of the worker's.

They are the file itself. In a worker that has been given a secret, they are a pipe to a process that masks secrets and
writes the file, so that none ever stands in it.
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
    """Points descriptors 1 and 2 at the log, and tells which bytes of it each attempt wrote.

    `note` is told the number of the process that masks secrets, if one is begun.
    """

    def __init__(self, folder: Path, name: str, note: Callable[[int], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._name = name
        self._file = os.open(folder / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._note = note
        self.hidden = Mask()
        self._pipe: LogPipe | None = None
        self._streams: tuple[TextIO | None, TextIO | None] = (None, None)
        self._start = 0
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self._point()

    def begin(self) -> None:
        """Note where the next attempt's output begins, and mend what an earlier one closed or replaced."""
        self._settle()
        # threads that know a secret may print until `hide` mends it
        is_lost = self._pipe is None and self.hidden.forms
        if not is_lost and ((sys.stdout, sys.stderr) != self._streams or not _is_open(self._target)):
            self._point()
        self._start = os.fstat(self._file).st_size

    def end(self) -> Span | None:
        """Return what has been written since `begin`, or None if that is nothing."""
        for stream in filter(None, self._streams):
            with suppress(ValueError, OSError):  # the user's code closed it: what it held is gone
                stream.flush()
        self._settle()
        end = os.fstat(self._file).st_size
        return None if end == self._start else Span(self._name, self._start, end)

    def printed(self, span: Span) -> Iterator[bytes]:
        """Go over what an attempt has printed, piece by piece."""
        start = span.start
        while start < span.end and (piece := os.pread(self._file, min(PIECE_BYTES, span.end - start), start)):
            start += len(piece)
            yield piece

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these, and those of earlier attempts, in all that is printed: to be called before a stage has them.

        Raises:
            HeadraceError: the process that masks can't be begun.
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
        """See to it that all that was printed is in the log; let go of a process that doesn't do it any more."""
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
    """Whether standard output and error still are what they should be."""
    try:
        there = os.fstat(target)
        return os.path.samestat(there, os.fstat(_STDOUT)) and os.path.samestat(there, os.fstat(_STDERR))
    except OSError:
        return False
