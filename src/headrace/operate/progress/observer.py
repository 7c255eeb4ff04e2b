"""Who looks on while a run goes: the driver tells, the command line or a notebook shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.run.ports import RunRow, TaskRow

__all__ = ["NoObserver", "Observer", "RunRow", "TaskRow"]


class Observer(Protocol):
    """Told of a run as it goes, from the thread of the drive loop: it must be quick, and must not raise.

    `opened` comes first and `closed` last. `tasks` gives the rows that changed, after they were stored.
    """

    def opened(self, run_id: str) -> None: ...
    def tasks(self, rows: Sequence[TaskRow]) -> None: ...
    def note(self, text: str) -> None: ...
    def closed(self, row: RunRow) -> None: ...


class NoObserver:
    """Nobody looks on."""

    def opened(self, run_id: str) -> None:
        pass

    def tasks(self, rows: Sequence[TaskRow]) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def closed(self, row: RunRow) -> None:
        pass
