"""The approvals behind a model: what tasks were about to do with it, and who decided that they may."""

from __future__ import annotations

from collections.abc import Container, Iterator

from headrace.inspect.card.facts import Agreed
from headrace.inspect.run_record import Material
from headrace.plan.keys import told
from headrace.run.events import Approved, Expired
from headrace.spec.graph import outs


def agreed(run: Material, tasks: Container[str]) -> Iterator[Agreed]:
    """Yield the decisions about these tasks of a run, in the order in which they were made."""
    for event in run.story.decided:
        if event.task not in tasks:
            continue
        stage, asked = run.stage(event.task), run.story.asked.get((event.task, event.key))
        by, why = ("", "") if isinstance(event, Expired) else (event.by, event.why)
        yield Agreed(
            run=run.view.run,
            task=event.task,
            asked="" if stage is None or stage.approval is None else stage.approval,
            authors=tuple(run.story.authors),
            decision="approved" if isinstance(event, Approved) else "rejected" if by else "too late",
            by=by,
            why=why,
            at=event.at,
            of={} if asked is None else _of(run, event.task, asked.inputs),
        )


def _of(run: Material, task: str, inputs: bytes) -> dict[str, str]:
    """Return, by parameter, the digests of the outputs of other tasks that a task would take."""
    node = run.node(task)
    taken = [] if node is None else [name for name, arg in node.args if outs(arg)]
    digests = told(inputs)
    return {name: digests[name].rpartition(":")[2] for name in taken if name in digests}
