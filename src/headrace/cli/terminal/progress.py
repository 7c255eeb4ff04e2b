"""The choice of progress display: a live table on a terminal, else plain lines, and nothing with `--json`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.cli.terminal.progress_lines import PlainObserver
from headrace.operate.progress.observer import NoObserver, Observer
from headrace.report.marks import is_live


@contextmanager
def watching(*, as_json: bool) -> Iterator[Observer]:
    """Yield an observer that shows the progress of a run. The terminal is reset afterwards, also after an error."""
    if not is_live(sys.stderr):
        yield NoObserver() if as_json else PlainObserver()
        return
    # rich takes 30 ms, which logs and pipes don't need
    live = importlib.import_module("headrace.operate.progress.live_table").LiveObserver()
    try:
        yield live
    finally:
        live.leave()
