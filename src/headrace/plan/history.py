"""What the planner asks about earlier runs. The ledger's answers are in `inspect/history.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from headrace.plan.reuse import Before
from headrace.plan.times import Took
from headrace.spec.artifact import Ref


class History(Protocol):
    """The facts about earlier runs that the planner needs, all from the same moment."""

    def results(self, keys: Sequence[str]) -> Mapping[str, tuple[Ref, str]]:
        """Return the stored outputs by key, each with the run that made it. Keys without an output are left out."""
        ...

    def why_gone(self, key: str) -> str | None:
        """If there was an output under this key, which `results` left out because no store has it, return words which
        say so. Otherwise return None."""
        ...

    def runs(self) -> Sequence[str]:
        """Return the ids of the latest runs, newest first."""
        ...

    def before(self, task: str) -> Before | None:
        """Return a task's latest earlier key, with the code and inputs behind it, or None if no run had the task."""
        ...

    def output(self, task: str, run: str) -> Ref | None:
        """Return the output of a task in one of the latest runs, or None if it had no output there."""
        ...

    def made_of(self, task: str, code: str, *, is_map: bool) -> Sequence[bytes] | None:
        """Return the encoded inputs of which a task's outputs were made, in all runs with this code; None if too many.

        If `is_map`, the task is a mapped one: return the encoded inputs of its elements.
        """
        ...

    def took(self, task: str, stage: str) -> Took | None:
        """Return how long an attempt of a task took, with loading and saving, or None if it never ran."""
        ...

    def width(self, task: str) -> int | None:
        """Return how many elements a mapped task had in an earlier run, or None if it isn't known."""
        ...
