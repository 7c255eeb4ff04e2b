"""Observers of a run: the driver calls them, and the command line or a notebook shows the progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.run.ports import RunRow, TaskRow

__all__ = ["NoObserver", "Observer", "RunRow", "TaskRow"]


class Observer(Protocol):
    """An observer of a run. The drive loop waits for each call, so the methods must return quickly and must not raise.

    `opened` is called first and `closed` last. `tasks` is called with the rows that changed, after they were stored.
    """

    def opened(self, run_id: str) -> None: ...
    def tasks(self, rows: Sequence[TaskRow]) -> None: ...
    def note(self, text: str) -> None: ...
    def closed(self, row: RunRow) -> None: ...


class NoObserver:
    """An observer that does nothing."""

    def opened(self, run_id: str) -> None:
        pass

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def closed(self, row: RunRow) -> None:
        pass
