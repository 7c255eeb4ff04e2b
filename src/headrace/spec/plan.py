"""A plan: for each task, reuse, or run there, with expected time, cost and why."""

from __future__ import annotations

from typing import Literal

from headrace.spec.noun import Noun

Decision = Literal["reuse", "reuse_if_unchanged", "run", "skip", "skip_if_unchanged"]
"""The conditional ones come true where the tasks before give what they gave in an earlier run."""


class PlannedTask(Noun, frozen=True):
    """What is to be done about one task, and the reason to show the user.

    `expected_s` and `expected_usd` are None where nothing is known; `expected_usd` is a range where it depends on a
    cut-off or a gate. `width` is 1, or the number of elements of a mapped task (None: not known before it runs).
    `bytes` is what a transfer brings. `notes` say where the key covers more than what the task's function reaches.
    """

    name: str
    stage: str
    kind: str
    decision: Decision
    reason: str
    key: str | None = None
    pool: str | None = None
    width: int | None = 1
    expected_s: float | None = None
    expected_usd: float | tuple[float, float] | None = None
    needs: tuple[str, ...] = ()
    bytes: int | None = None
    notes: tuple[str, ...] = ()


class Plan(Noun, frozen=True):
    """All planned tasks in the order in which they were traced.

    `expected_s` is a range in seconds (None where a task never ran), `expected_usd` one in US dollars: low where
    everything that may be cut off, held back or reused is, high where nothing is. `bound_usd` is a floor under the cost
    of any plan, `gap` how far `expected_usd` may be above it. `partial`: the pipeline asked for a value, so the rest is
    not known yet.
    """

    pipeline: str
    tasks: tuple[PlannedTask, ...]
    expected_s: tuple[float, float] | None
    expected_usd: tuple[float, float]
    bound_usd: float
    gap: float
    partial: bool = False
