"""What the elements of a mapped task are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.plan.resolve import labels
from headrace.spec.graph import Arg


class Spread:
    """The lists that a mapped task is spread over, and what all its elements share, resolved once for all of them."""

    __slots__ = ("_lists", "_names", "_shared")

    def __init__(self, names: Sequence[str], lists: Mapping[str, Sequence[Arg]], shared: Mapping[str, Arg]) -> None:
        self._names = [name for name in names if name in lists or name in shared]
        self._lists = lists
        self._shared = shared

    def labels(self, task: str, how: int) -> list[str]:
        """Name the elements, in the way that the run began with."""
        return labels(task, self._lists, how)

    def row(self, index: int) -> tuple[tuple[str, Arg], ...]:
        """Give the arguments of one element, in the order of the call."""
        lists, shared = self._lists, self._shared
        return tuple([(name, lists[name][index] if name in lists else shared[name]) for name in self._names])
