"""The lines of the log: the events of a run as JSON objects or as text, one per line."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import msgspec

from headrace.errors import HeadraceError
from headrace.operate.progress.observer import Observer, RunRow, TaskRow
from headrace.spec.redaction import masked

_log = logging.getLogger("headrace.run")
_LEVELS = {"failed": logging.WARNING, "waiting": logging.DEBUG, "running": logging.DEBUG}
"""The log levels of a task's states. States that aren't listed are logged at `info`."""


class JsonLine(logging.Formatter):
    """A formatter that writes a record as one JSON object: `time` (UTC), `level`, `logger`, `event`, and the event's
    fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON."""
        return msgspec.json.encode(_fields(self, record)).decode()


class TextLine(logging.Formatter):
    """A formatter that writes a record as text: `2026-11-25T16:40:00.123Z INFO run opened run=... user=...`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of text."""
        head = _fields(self, record)
        when, level, _, event = head.pop("time"), head.pop("level"), head.pop("logger"), head.pop("event")
        rest = " ".join(f"{name}={_word(value)}" for name, value in head.items())
        return f"{when} {level.upper()} {event} {rest}".rstrip()


class _Told(logging.Handler):
    """A handler that reports, but only once, that log lines are lost, for example because the disk is full. The run
    goes on."""

    tell: Callable[[str], None] | None = None

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  named so by `logging`
        """If this is the first error of `emit`, call `tell` with a message about it."""
        tell, self.tell = self.tell, None
        if tell is not None:
            tell(f"lines of the log are lost: {sys.exception()}")


class _ToFile(_Told, WatchedFileHandler):
    def close(self) -> None:
        """Close the file, and ignore errors: lost lines were reported before."""
        with suppress(OSError):
            super().close()


class _ToStderr(_Told, logging.StreamHandler[TextIO]):
    pass


def handler(root: Path, file: str, form: str, tell: Callable[[str], None]) -> logging.Handler:
    """Return a handler that writes to a file, or to stderr if `file` is `-`.

    The file's path is relative to `root`, the project's folder. `form` is `json` or `text`. `tell` is called with a
    message when a line can't be written. The file may be moved away at any time, as `logrotate` does: the next line
    then creates a new file.
    """
    writer: _ToFile | _ToStderr
    if file == "-":
        writer = _ToStderr()
    else:
        path = root / Path(file).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = _ToFile(path, encoding="utf-8")
    writer.tell = tell
    writer.setFormatter(JsonLine() if form == "json" else TextLine())
    return writer


@contextmanager
def attached(writer: logging.Handler, level: str) -> Iterator[None]:
    """Write all of Headrace's log records of this level and above to `writer`, until the context ends."""
    logger = logging.getLogger("headrace")
    logger.addHandler(writer)
    logger.setLevel(level.upper())
    try:
        yield
    finally:
        logger.removeHandler(writer)
        writer.close()


class LoggingObserver:
    """An observer that writes the events of a run to the log and passes them to another observer."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._run: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Log the error that ended the driver, if there was one."""
        if isinstance(error, HeadraceError):
            self._say(logging.ERROR, "driver stopped", error=type(error).__name__, message=error.message)
        elif error is not None:
            _log.error("driver stopped", exc_info=error, extra={"fields": {"run": self._run}})

    def opened(self, run_id: str) -> None:
        """Log that the run is open, then call `opened` of the observer that this one wraps."""
        self._run = run_id
        self._say(logging.INFO, "run opened", pid=os.getpid(), host=socket.gethostname())
        self._observer.opened(run_id)

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        """Log the states of these changed tasks, then pass the rows to the observer that this one wraps."""
        for row in rows:
            level = _LEVELS.get(row.state, logging.INFO)
            if _log.isEnabledFor(level):
                self._say(level, f"task {row.state}", **_task_fields(row))
        self._observer.tasks(rows)

    def note(self, text: str) -> None:
        """Log a message, then pass it to the observer that this one wraps."""
        self._say(logging.INFO, text)
        self._observer.note(text)

    def closed(self, row: RunRow) -> None:
        """Log that the run has ended, then call `closed` of the observer that this one wraps."""
        level = logging.INFO if row.state == "succeeded" else logging.WARNING
        self._say(level, "run closed", state=row.state, why=row.why, seconds=row.seconds, usd=row.usd)
        self._observer.closed(row)

    def _say(self, level: int, event: str, **fields: Any) -> None:
        _log.log(level, event, extra={"fields": {"run": self._run, **fields}})


def _task_fields(row: TaskRow) -> dict[str, Any]:
    fields = {"task": row.name, "stage": row.stage, "state": row.state, "reason": row.reason, "attempts": row.attempts}
    if row.state in ("succeeded", "failed"):
        fields |= {"pool": row.pool, "seconds": row.seconds, "load_s": row.load_s, "save_s": row.save_s, "usd": row.usd}
    return fields


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    fields: dict[str, Any] = {
        "time": f"{when}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": record.getMessage(),
    }
    fields |= {name: value for name, value in getattr(record, "fields", {}).items() if value not in (None, "")}
    if record.exc_info:
        fields["traceback"] = masked(formatter.formatException(record.exc_info))
    return fields


def _word(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return msgspec.json.encode(text).decode() if any(sign in text for sign in ' "\n=') else text
