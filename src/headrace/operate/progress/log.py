"""Headrace's own log of a project's runs, one line per event, if `[log]` in the settings asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headrace.errors import ConfigError
from headrace.operate.progress.observer import Observer
from headrace.project.project import Project


@contextmanager
def logged(project: Project, observer: Observer) -> Iterator[Observer]:
    """Yield an observer that passes everything to `observer` and, if the settings ask for a log, also writes the log.

    An error that ends the driver is logged too.

    Raises:
        ConfigError: the log's file can't be written.
    """
    section = project.config.log
    if section.file is None:
        yield observer
        return
    # `logging` takes 8 ms that a run without a log doesn't need.
    from headrace.operate.progress.log_lines import LoggingObserver, attached, handler  # noqa: PLC0415

    try:
        writer = handler(project.root, section.file, section.format, observer.note)
    except OSError as error:
        raise ConfigError(
            f"the log `{section.file}` can't be written: {error.strerror}",
            hint="`[log] file` is a path that can be written to, or `-` for stderr",
        ) from error
    with attached(writer, section.level), LoggingObserver(observer) as looking:
        yield looking
