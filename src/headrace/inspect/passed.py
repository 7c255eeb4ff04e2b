"""Whether a run may have gates that said no. This is answered without the codecs and the stages, which most runs don't
need at their end, and without the run's events."""

from __future__ import annotations

from headrace.inspect.views import Views
from headrace.plan.resolve import truth
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.intent import REPORT

EVALUATE = "evaluate"
"""The kind of tasks that judge models."""


def may_have_failed_gates(views: Views, run: str) -> bool:
    """Return whether a run may have gates that said no: a task was skipped, or an evaluation says that it isn't
    passed."""
    stages = views.stages(run)
    if any("skipped" in stage.states for stage in stages):
        return True
    return any(stage.kind == EVALUATE for stage in stages) and any(
        row.out is not None and passed(decode_ref(row.out)) is False for row in views.rows(run, kind=EVALUATE)
    )


def passed(ref: Ref) -> bool | None:
    """Return the truth of a task's output `passed` if the task returned one with a report, else of its whole output.
    Return None if this isn't a boolean."""
    parts = dict(zip(ref.names or (), ref.parts or (), strict=False))
    if any(part.type == REPORT for part in parts.values()):
        return truth(parts["passed"]) if "passed" in parts else None
    return truth(ref)
