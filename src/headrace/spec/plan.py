"""A plan: for each task, whether it is reused or run, with expected time, expected cost and the reason."""

from __future__ import annotations

from typing import Literal

from headrace.spec.noun import Noun

Decision = Literal["reuse", "reuse_if_unchanged", "run", "skip", "skip_if_unchanged"]
"""What a plan decides about a task. A decision that ends with `_if_unchanged` applies only if the tasks before this
task have the same outputs as in an earlier run."""


class PlannedTask(Noun, frozen=True):
    """The planned decision about one task, and the reason to show the user.

    `expected_s` (seconds) and `expected_usd` (US dollars) are None if they aren't known. `expected_usd` is a range
    (low, high) if the task may still be skipped or reused. `width` is 1, or the number of elements of a mapped task; it
    is None if that number isn't known before the run. `needs` names the tasks whose outputs this task needs. `bytes` is
    the number of bytes that a transfer moves, and None for other tasks. `notes` say where the key covers more code than
    the task's function reaches, and which of the secrets that the task needs aren't set. `pool_reason` says why the
    task runs in `pool`; it is None if the run has one pool only.
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
    pool_reason: str | None = None


class Plan(Noun, frozen=True):
    """All planned tasks in the order in which they were traced.

    `expected_s` is a range (low, high) in seconds. It is None if this run may include a task that never ran before.
    `expected_usd` is a range in US dollars. The low end of a range counts only tasks that are sure to run; the high end
    also counts those that may be skipped or reused. Neither range has transfers of outputs that don't exist yet, and
    `expected_usd` has no tasks whose own cost isn't known. `bound_usd` is the least that any plan of this run can cost.
    `gap` is how far the low end of `expected_usd` may be above `bound_usd`; it is always 0 so far. `partial` is true if
    the pipeline's body asks for a value: the tasks that the body calls after that aren't known yet.
    """

    pipeline: str
    tasks: tuple[PlannedTask, ...]
    expected_s: tuple[float, float] | None
    expected_usd: tuple[float, float]
    bound_usd: float
    gap: float
    partial: bool = False
