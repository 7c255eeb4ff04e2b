"""How a run ends."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.run.events import Cancelled
from headrace.run.machine.commands import Finish
from headrace.run.machine.task import Task
from headrace.spec.failure import Failure

_BAD = ("failed", "cancelled")
"""A task that was cancelled though its run was not has given nothing, and nobody wanted that."""


def outcome(tasks: Iterable[Task], cancelled: Cancelled | None, trace_failure: Failure | None) -> Finish:
    """Give the state that a run closes in, and why, now that all its tasks have ended."""
    if cancelled is not None:
        return Finish("failed" if cancelled.by == "policy" else "cancelled", cancelled.why)
    if trace_failure is not None and trace_failure.kind == "refused":
        hint = f"\nhint: {trace_failure.hint}" if trace_failure.hint else ""
        return Finish("refused", trace_failure.message + hint)
    if trace_failure is not None:
        return Finish("failed", f"the pipeline's body raised: {trace_failure.message}")
    bad = [task for task in tasks if task.parent is None and task.move is None and task.phase in _BAD]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return Finish("failed", f"task `{bad[0].name}`{more} {bad[0].phase}: {bad[0].reason}")
    return Finish("succeeded", "")
