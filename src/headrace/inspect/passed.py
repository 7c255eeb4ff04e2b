"""Whether a run may have gates that said no.

The answer is quick: this module imports neither codecs nor stages, which take long to import, and reads no events. Only
if there may be such gates, the module `gates` is imported to find them."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.inspect.views import StageView, Views
from headrace.plan.resolve import truth
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.intent import REPORT

EVALUATE = "evaluate"
"""The kind of tasks that judge models."""


def may_have_failed_gates(views: Views, run: str, stages: Sequence[StageView] | None = None) -> bool:
    """Return whether a run may have gates that said no: a task was skipped, or `passed` is False for the output of
    an evaluation. `stages` are those of the run, if the caller has read them: it takes time if there are many tasks."""
    stages = views.stages(run) if stages is None else stages
    if any("skipped" in stage.states for stage in stages):
        return True
    return any(stage.kind == EVALUATE for stage in stages) and any(
        row.out is not None and passed(decode_ref(row.out)) is False for row in views.rows(run, kind=EVALUATE)
    )


def passed(ref: Ref) -> bool | None:
    """Return whether a task's output says yes: the output itself or, if the task returned several outputs with a report
    among them, the output named `passed`. Return None if there is no such output or it isn't a boolean."""
    parts = dict(zip(ref.names or (), ref.parts or (), strict=False))
    if any(part.type == REPORT for part in parts.values()):
        return truth(parts["passed"]) if "passed" in parts else None
    return truth(ref)
