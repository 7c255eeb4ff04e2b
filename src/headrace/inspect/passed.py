"""Whether a run may have gates that said no.

The answer is quick: this module reads no events, and doesn't import codecs or stages, whose import takes long. The
module `gates`, which finds the gates, is imported only if there may be such gates."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.inspect.views import StageView, Views
from headrace.plan.resolve import truth
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.intent import REPORT

EVALUATE = "evaluate"
"""The kind of tasks that judge models."""


def may_have_failed_gates(views: Views, run: str, stages: Sequence[StageView] | None = None) -> bool:
    """Return whether a run may have gates that said no. It may if a task was skipped, or if the output of an evaluation
    has `passed` False. Give the run's `stages` if you have read them already: if the run has many tasks, reading takes
    long."""
    stages = views.stages(run) if stages is None else stages
    if any("skipped" in stage.states for stage in stages):
        return True
    return any(stage.kind == EVALUATE for stage in stages) and any(
        row.out is not None and passed(decode_ref(row.out)) is False for row in views.rows(run, kind=EVALUATE)
    )


def passed(ref: Ref) -> bool | None:
    """Return the boolean in a task's output: the output itself or, if the task returned several outputs with a report
    among them, the output named `passed`. Return None if there is no such output or it isn't a boolean."""
    parts = dict(zip(ref.names or (), ref.parts or (), strict=False))
    if any(part.type == REPORT for part in parts.values()):
        return truth(parts["passed"]) if "passed" in parts else None
    return truth(ref)
