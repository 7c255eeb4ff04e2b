"""Which progress to show: a live table on a terminal, else plain lines, and none beside a JSON object."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.app.marks import is_live
from headrace.app.watcher import NoWatcher, Watcher
from headrace.cli.plain import PlainWatcher


@contextmanager
def watching(*, as_json: bool) -> Iterator[Watcher]:
    """Give a watcher for the time of a run; the terminal is left as it was, however the run ends."""
    if not is_live(sys.stderr):
        yield NoWatcher() if as_json else PlainWatcher()
        return
    live = importlib.import_module("headrace.app.live").LiveWatcher()  # rich: 30 ms that logs and pipes don't need
    try:
        yield live
    finally:
        live.leave()
