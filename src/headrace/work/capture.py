"""What an attempt prints: standard output and error of the worker's process, in one log file of the worker's."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from headrace.run.events import Span
from headrace.store.logs import PIECE_BYTES
from headrace.work.masking import Mask

_STDOUT, _STDERR = 1, 2


class Capture:
    """Points descriptors 1 and 2 at the log, and tells which bytes of it each attempt wrote."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._name = name
        self._file = os.open(folder / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mask = Mask()
        self._streams: tuple[TextIO | None, TextIO | None] = (None, None)
        self._start = 0
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self._point()

    def begin(self) -> None:
        """Note where the next attempt's output begins, and mend what an earlier one closed or replaced."""
        here = os.fstat(self._file)
        if (sys.stdout, sys.stderr) != self._streams or not _is_open(here):
            self._point()
        self._start = here.st_size

    def end(self) -> Span | None:
        """Give what has been written since `begin`, or None if that is nothing."""
        for stream in filter(None, self._streams):
            with suppress(ValueError, OSError):  # the user's code closed it: what it held is gone
                stream.flush()
        end = os.fstat(self._file).st_size
        if end == self._start:
            return None
        if self._mask.forms:
            self._overwrite(end)
        return Span(self._name, self._start, end)

    def printed(self, span: Span) -> Iterator[bytes]:
        """Go over what an attempt has printed, piece by piece."""
        start = span.start
        while start < span.end and (piece := os.pread(self._file, min(PIECE_BYTES, span.end - start), start)):
            start += len(piece)
            yield piece

    def hide(self, secret: str) -> None:
        """From now on, mask this in all that is printed."""
        self._mask.add(secret)

    def mask(self, text: str) -> str:
        """Give a text with the secrets in it masked."""
        return self._mask.text(text)

    def _point(self) -> None:
        os.dup2(self._file, _STDOUT)
        os.dup2(self._file, _STDERR)
        sys.stdout = io.TextIOWrapper(io.FileIO(_STDOUT, "w", closefd=False), "utf-8", "replace", line_buffering=True)
        sys.stderr = io.TextIOWrapper(io.FileIO(_STDERR, "w", closefd=False), "utf-8", "replace", line_buffering=True)
        self._streams = (sys.stdout, sys.stderr)

    def _overwrite(self, end: int) -> None:
        """Overwrite secrets in place: the file is opened anew, since what is appended can't be overwritten."""
        data = os.pread(self._file, end - self._start, self._start)
        masked = [form.encode(errors="surrogateescape") for form in self._mask.forms]
        if not any(secret in data for secret in masked):
            return
        for secret in masked:
            data = data.replace(secret, b"*" * len(secret))
        writer = os.open(f"/proc/self/fd/{self._file}", os.O_WRONLY)
        try:
            os.pwrite(writer, data, self._start)
        finally:
            os.close(writer)


def _is_open(log: os.stat_result) -> bool:
    """Whether standard output and error still are the log."""
    try:
        return os.path.samestat(log, os.fstat(_STDOUT)) and os.path.samestat(log, os.fstat(_STDERR))
    except OSError:
        return False
