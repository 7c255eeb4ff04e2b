"""The rows of a run, computed from its events. The driver stores these rows;
`headrace replay` compares them with the stored ones.

Pure: the same events always give the same rows.
"""

from __future__ import annotations

import msgspec

from headrace.plan.keys import key_seen
from headrace.plan.reuse import within_run
from headrace.run.events import Checkpointed, Event, Logged, Opened, Pointed, Renewed, Reused, Succeeded, Traced
from headrace.run.machine.machine import Machine
from headrace.run.ports import NOTICED, NoticeRow, ResultRow, RunRow
from headrace.spec.artifact import Ref
from headrace.spec.bundle import archive
from headrace.spec.graph import constants
from headrace.spec.intent import Advance, Deploy, Intent, LogBatch, Register, Tell

WHY_LIMIT = 2000
"""A notice has at most this many characters of the reason for the run's state."""


def run_row(machine: Machine, now: float, queued: str = "") -> RunRow:
    """Return the row of a run that was opened. `now` (Unix seconds) counts as the end of a run that has not ended.
    `queued` says why the run is queued; it is empty if the run isn't.

    If the run waits, its time counts up to its last event. The time between two drivers of the run is not counted.
    """
    opened, closed, bundle = machine.opened, machine.closed, machine.bundle
    assert opened is not None
    assert bundle is not None
    waits = machine.waits_for
    at = closed.at if closed is not None else None if waits else now
    return RunRow(
        pipeline=opened.pipeline,
        state=closed.state if closed is not None else "waiting" if waits else "queued" if queued else "running",
        created=opened.at,
        bundle=bundle.digest,
        seconds=machine.duration.seconds(at),
        usd=machine.phases.usd_before + sum(task.usd for task in machine.tasks.values() if task.parent is None),
        params=msgspec.json.encode(dict(opened.params)).decode(),
        why=waits or queued if closed is None else closed.why,
        ended=None if closed is None else closed.at,
    )


def notice_of(machine: Machine, row: RunRow, at: float) -> NoticeRow | None:
    """Return the notice that tells people of a run's new state, or None if nobody needs to be told of this state."""
    if row.state not in NOTICED or machine.opened is None:
        return None
    facts = {"pipeline": row.pipeline, "state": row.state, "why": row.why[:WHY_LIMIT], "by": machine.opened.user}
    return NoticeRow(kind=f"run.{row.state}", at=at, facts=msgspec.json.encode(facts).decode())


def kept_by(event: Event) -> list[Ref]:
    """Return the artifacts that an event names. Once the event is stored, the generations of these artifacts are kept
    in the store."""
    match event:
        case Succeeded(out=out, intents=()) | Reused(out=out) | Checkpointed(out=out):
            return [out]
        case Succeeded(out=out, intents=intents):
            return [out, *(ref for intent in intents for ref in refs_of(intent))]
        case Logged(texts=texts, figures=figures):
            return [shown.out for shown in (*texts, *figures)]
        case Pointed(value=Ref() as value):
            return [value]
        case Traced(nodes=nodes):
            return [ref for node in nodes for _, arg in node.args for ref in constants(arg)]
        case Opened(bundle=bundle) | Renewed(bundle=bundle):
            return [archive(bundle)]
        case _:
            return []


def result_of(machine: Machine, event: Succeeded) -> ResultRow | None:
    """Return the output that later runs may reuse once this event is stored, or None if they may not reuse the
    output."""
    task = machine.tasks[event.task]
    if task.key and event.unreusable is None and task.stage.cache == "always" and within_run(task.stage):
        key = task.key
        if event.saw and task.inputs is not None:
            key, _ = key_seen(task.stage, task.inputs, event.saw, machine.platform)
        return ResultRow(key=key, task=event.task, out=event.out)
    return None


def refs_of(intent: Intent) -> list[Ref]:
    """Return the artifacts that an intent names."""
    match intent:
        case Advance(value=value):
            return [value]
        case Tell(out=out):
            return [out]
        case Register(out=out, report=report, preparation=preparation):
            return [each for each in (out, report, preparation) if each is not None]
        case LogBatch(rows=rows, out=out):
            return [rows, out]
        case Deploy():
            return []
