"""The audience: the callbacks through which a driver's caller sees what was stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from headrace.run.machine.task import Task
from headrace.run.ports import RunRow, TaskRow

Rows = Callable[[Sequence[TaskRow]], None]


class Stored(Struct, frozen=True, gc=False):
    """The changes that a tick has stored: rows of tasks, and whether the run was opened or closed."""

    rows: list[TaskRow]
    opened: bool
    closed: RunRow | None


class Audience:
    """Calls the callbacks that the driver's caller passed. `before` holds the tasks that an earlier driver stored. The
    callbacks get them together with the first rows that this driver stores."""

    def __init__(
        self,
        opened: Callable[[], None],
        rows: Rows,
        closed: Callable[[RunRow], None],
        note: Callable[[str], None],
        before: Mapping[str, Task],
    ) -> None:
        self._opened = opened
        self.show = rows
        self._closed = closed
        self.note = note
        self._before = before
        self._remarks: set[str] = set()

    def remark(self, text: str) -> None:
        """Pass a worker's or the tracer's remark to the callback `note`, unless the same remark was passed before."""
        if text not in self._remarks:
            self._remarks.add(text)
            self.note(text)

    def tell(self, stored: Stored, tasks: Mapping[str, Task]) -> None:
        """Pass `stored` to the callbacks. `tasks` are all tasks of the run by name."""
        if stored.opened:
            self._opened()
        if self._before:  # nobody needs these before the first launch
            fresh = {row.name for row in stored.rows}
            rest = [task for name, task in self._before.items() if name not in fresh and tasks.get(name) is task]
            self.show([*(task.row() for task in rest), *stored.rows])
            self._before = {}
        elif stored.rows:
            self.show(stored.rows)
        if stored.closed is not None:
            self._closed(stored.closed)
