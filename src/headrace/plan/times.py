"""Estimates how long a run takes, as a range, from the times of the latest runs. Pure.

The lower end counts only the tasks that surely run, each with its shortest time so far. The upper end counts all tasks
that may run, each with its longest time so far.

A run also needs time in addition to its tasks: to trace, to start workers, to import. This time grows with the number
of tasks. So for the lower end, it is taken only from earlier runs whose tasks all surely run now. The time of a run
with more tasks would be too long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

ROOM = (0.4, 0.2)
"""The shares by which the range is widened at its lower and upper end, because no two runs take the same time. The
lower share is larger, because files that earlier runs read from disk may be in memory now."""


class Took(NamedTuple):
    """The time of a task in seconds, with loading and saving: its last time, its shortest and its longest."""

    last: float
    least: float
    most: float


class Beside(NamedTuple):
    """The seconds that an earlier run needed in addition to its tasks, and the names of the tasks that ran in it."""

    ran: Set[str]
    seconds: float


class Times:
    """Computes the time of a run from the times of its tasks. Each task must be added after the tasks that it needs.

    `cpu` is the number of cpus of all pools together.
    """

    def __init__(self, cpu: float, beside: Sequence[Beside]) -> None:
        self._cpu = max(cpu, 1e-9)
        self._beside = beside
        self._ends: dict[str, tuple[float, float]] = {}
        self._busy = [0.0, 0.0]
        self._sure: set[str] = set()
        self._may: set[str] = set()
        self._known = True

    def add(
        self, task: str, needs: Iterable[str], took: Took | None, *, rounds: int = 1, cpu: float = 0.0, is_sure: bool
    ) -> None:
        """Add a task that runs `rounds` times, one after another.

        `took` is the time of one attempt (None: not known). `cpu` is the number of cpus of all its attempts together.
        `is_sure` is true if the task surely runs.
        """
        self._may.add(task)
        self._sure |= {task} if is_sure else set()
        self._known = self._known and took is not None
        low, high = self._after(needs)
        _, least, most = took or Took(0.0, 0.0, 0.0)
        least *= is_sure
        self._ends[task] = low + least * rounds, high + most * rounds
        self._busy[0] += least * cpu
        self._busy[1] += most * cpu

    def leave(self, task: str, needs: Iterable[str]) -> None:
        """Add a task that doesn't run, so that the tasks after it can be added."""
        self._ends[task] = self._after(needs)

    def all(self, brought: Sequence[tuple[float, bool]]) -> tuple[float, float] | None:
        """Return the shortest and the longest expected time of the run in seconds, or None if a task never ran before.

        `brought` has the time of each transfer in seconds, with True if the transfer surely runs. The lower end assumes
        that the transfers that surely run do so in parallel. The upper end assumes that all transfers run one after
        another.
        """
        if not self._known:
            return None
        ends = self._after(self._ends)
        low, high = (max(end, busy / self._cpu) for end, busy in zip(ends, self._busy, strict=True))
        if self._cpu > 1:  # tasks may wait for a free cpu, and other tasks for them: Graham's bound
            high = max(high, self._busy[1] / self._cpu + ends[1] * (1 - 1 / self._cpu))
        few = [run.seconds for run in self._beside if run.ran <= self._sure]
        low += max((seconds for seconds, is_sure in brought if is_sure), default=0.0) + min(few, default=0.0)
        high += sum(seconds for seconds, _ in brought) + max((run.seconds for run in self._alike()), default=0.0)
        return low * (1 - ROOM[0]), high * (1 + ROOM[1])

    def _alike(self) -> Sequence[Beside]:
        """Return the earlier runs that are most like the longest possible run, in which all tasks that may run do run.

        These are the runs that ran exactly the same tasks. If there are none, return the runs that ran all of these
        tasks and more. If there are none of these either, return all earlier runs.
        """
        same = [run for run in self._beside if run.ran == self._may]
        more = [run for run in self._beside if run.ran >= self._may]
        return same or more or self._beside

    def _after(self, needs: Iterable[str]) -> tuple[float, float]:
        ends = [self._ends[name] for name in needs]
        return max((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)
