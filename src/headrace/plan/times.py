"""How long a run takes, as a range, from what the latest runs took. Pure.

The least: only what surely runs, each task as quick as it ever was. The most: all that may run, each as slow as it ever
was. A run takes time beside its tasks too (to trace, to start workers, to import), the more the more tasks run. So the
least counts only what earlier runs took beside that ran none but tasks that surely run now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

ROOM = (0.4, 0.2)
"""So large a part of the time is left as room at both ends, since no two runs take the same time. It is more at the
lower one: what earlier runs had to read from disk is in memory by now."""


class Took(NamedTuple):
    """What a task took, load and save included: the last time, the least and the most, in seconds."""

    last: float
    least: float
    most: float


class Beside(NamedTuple):
    """What an earlier run took beside its tasks, and which of them ran in it."""

    ran: Set[str]
    seconds: float


class Times:
    """Sums up the times of the tasks of a graph, which are added in an order that works."""

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
        """Add a task that runs, `rounds` times one after another; `cpu` is what all of it together keeps busy."""
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
        """Add a task that doesn't run."""
        self._ends[task] = self._after(needs)

    def all(self, brought: Sequence[float]) -> tuple[float, float] | None:
        """Return what the run takes, at least and at most; None where a task never ran.

        `brought` are the times of transfers, which come before what needs them: at once, or one by one.
        """
        if not self._known:
            return None
        ends = self._after(self._ends)
        low, high = (max(end, busy / self._cpu) for end, busy in zip(ends, self._busy, strict=True))
        if self._cpu > 1:  # tasks wait for a core, and others then for those: Graham's bound
            high = max(high, self._busy[1] / self._cpu + ends[1] * (1 - 1 / self._cpu))
        few = [each.seconds for each in self._beside if each.ran <= self._sure]
        low += max(brought, default=0.0) + min(few, default=0.0)
        high += sum(brought) + max((each.seconds for each in self._alike()), default=0.0)
        return low * (1 - ROOM[0]), high * (1 + ROOM[1])

    def _alike(self) -> Sequence[Beside]:
        """Return those earlier runs that are most like one in which all runs that may run."""
        same = [each for each in self._beside if each.ran == self._may]
        more = [each for each in self._beside if each.ran >= self._may]
        return same or more or self._beside

    def _after(self, needs: Iterable[str]) -> tuple[float, float]:
        ends = [self._ends[name] for name in needs]
        return max((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)
