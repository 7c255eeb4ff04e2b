"""A run as one object: what `headrace run`, `resume` and `show` print with `--json`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headrace.inspect.metrics.curves import with_metrics
from headrace.inspect.notices import NoticeView, notices
from headrace.inspect.passed import may_have_failed_gates
from headrace.inspect.views import GonePoolView, RunView, SignalView, Views, up_to_now
from headrace.inspect.warnings import Warned, all_warnings
from headrace.project.project import Project

if TYPE_CHECKING:
    from headrace.inspect.gates import Held


class RunObject(RunView, frozen=True, kw_only=True):
    """A run, with its tasks' metrics and warnings, the notices about the run, and the gates that have a false value.
    `held_signals` are signals that stay in the run's inbox because this release doesn't know them. `gone_pools` are the
    pools that the run went on without, because they didn't answer."""

    held_signals: tuple[SignalView, ...] = ()
    gone_pools: tuple[GonePoolView, ...] = ()
    notices: tuple[NoticeView, ...] = ()
    warnings: tuple[Warned, ...] = ()
    gates: tuple[Held, ...] = ()


def run_object(project: Project, views: Views, name: str | None) -> RunObject:
    """Return a run as one object. If the run has not ended, its seconds count up to now.

    Raises:
        NotFoundError: there is no such run.
    """
    view = up_to_now(views, views.show(name))
    fields = {field: getattr(view, field) for field in view.__struct_fields__}
    fields["tasks"] = with_metrics(view.tasks or (), views.metrics(view.run))
    return RunObject(
        **fields,
        held_signals=tuple(views.held_signals(view.run)),
        gone_pools=tuple(views.gone_pools(view.run)),
        notices=tuple(notices(views, time.time(), view.run)),
        warnings=all_warnings(views, view.run),
        gates=gates_that_refused(project, views, view.run),
    )


def gates_that_refused(project: Project, views: Views, run: str) -> tuple[Held, ...]:
    """Return a run's gates that have a false value, each with its rules that do not hold."""
    if not may_have_failed_gates(views, run):
        return ()
    from headrace.inspect.gates import held  # noqa: PLC0415  as below
    from headrace.inspect.metrics.metrics import loader  # noqa: PLC0415  0.2 s of codecs, which few runs need
    from headrace.project.state import reading_store  # noqa: PLC0415  as above

    return held(views, run, loader(reading_store(project)))
