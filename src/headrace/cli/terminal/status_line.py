"""Shows progress bars of a long command on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.report.marks import is_live

Progress = Callable[[str, int, int], None]


def _silent(_what: str, _done: int, _total: int) -> None:
    """Show nothing: there is no terminal to show progress on."""


@contextmanager
def progress(*, as_json: bool) -> Iterator[Progress]:
    """Yield a function `(what, done, total)` that shows the progress of a command: a bar on a terminal for each `what`.

    Without a terminal on which it can be redrawn, or with `as_json`, the function does nothing.
    """
    if as_json or not is_live(sys.stderr):
        yield _silent
        return
    from rich.console import Console  # noqa: PLC0415  30 ms, for terminals only
    from rich.progress import Progress as Bars  # noqa: PLC0415  as above
    from rich.progress import TaskID  # noqa: PLC0415  as above

    with Bars(console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show
