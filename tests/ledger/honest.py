"""Runs whose rows follow from their events, as a driver writes them."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.ledger.ledger import Ledger
from headrace.run.events import (
    Closed,
    Event,
    Launched,
    Opened,
    Succeeded,
    Taken,
    Traced,
    TraceEnded,
    encode_event,
)
from headrace.run.machine.machine import Machine
from headrace.run.ports import Batch
from headrace.run.projection import kept_by, result_of, run_row
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.graph import Node
from headrace.spec.stage import Stage


def events(out: Ref, *, key: str = "key", at: float = 100.0) -> list[Event]:
    """Return the events of a run of one task that gave this output."""
    bundle = Bundle(digest=out.digest, size=out.size, nonce=out.nonce or "")  # one blob is enough
    stage = Stage(name="fit", function="p:fit")
    return [
        Opened(pipeline="flights", files=(), bundle=bundle, at=at),
        Taken(1, "me", at),
        Traced((stage,), (Node(name="fit", stage="p:fit", args=()),)),
        TraceEnded(),
        Launched("fit", 1, key, (1,), "here", "it never ran", b"", at=at + 1),
        Succeeded("fit", 1, out, at + 1, 2.0, 0.5, 0.25),
        Closed("succeeded", at + 5),
    ]


def honest_run(ledger: Ledger, out: Ref, *, key: str = "key", at: float = 100.0, ends: bool = True) -> str:
    """Store such a run as a driver does, all of it in one commit; without its end, it is as if its driver had died."""
    return store_run(ledger, events(out, key=key, at=at)[: None if ends else -1])


def store_run(ledger: Ledger, happened: Iterable[Event]) -> str:
    """Store a run of these events."""
    machine, batch = Machine(), Batch(first=0, bodies=[])
    for event in happened:
        batch.bodies.append(encode_event(event))
        batch.kept += kept_by(event)
        if isinstance(event, Succeeded):
            if (result := result_of(machine, event)) is not None:
                batch.results.append(result)
            batch.intents += ((event.task, intent) for intent in event.intents)
        machine.step(event)
    batch.tasks = [task.row() for task in machine.tasks.values()]
    batch.run = run_row(machine, 0.0)
    with ledger.open_run("flights") as run:
        run.commit(batch)
        return run.run
