"""What tasks logged is shown for the attempts from which their outputs come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from headrace.ledger.database.database import Database
from headrace.ledger.ledger import Ledger
from headrace.ledger.views.attempts import Attempts
from headrace.ledger.views.query import Query
from headrace.ledger.views.tracking import TrackingViews
from headrace.run.curves import Curves
from headrace.run.events import Checkpointed, Event, Launched, Logged, Shown, Succeeded, encode_event
from headrace.run.ports import ResultRow
from headrace.spec.artifact import Ref
from tests.ledger.samples import after, blob, first, open_ledger, task_row

OUT = blob("model")


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


class Counting(Query):
    """Counts the scans of a run's events."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.scans = Counter[type[Event]]()

    def of_kind(self, run: str | None, kind: type[Event]) -> list[tuple[int, bytes]]:
        self.scans[kind] += 1
        return super().of_kind(run, kind)


def launched(attempt: int, task: str = "fit") -> Launched:
    return Launched(task, attempt, f"key of {task}", (1,), "here", "it never ran", b"")


def succeeded(attempt: int, task: str = "fit") -> Succeeded:
    return Succeeded(task, attempt, OUT, 1.0, 1.0)


def store(ledger: Ledger, *events: Event) -> str:
    with ledger.open_run("flights") as run:
        run.commit(first([encode_event(each) for each in events]))
        return run.run


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([launched(1), launched(2), succeeded(2)], {2}),
        ([launched(1), Checkpointed("fit", 1, OUT), launched(2), launched(3), succeeded(3)], {1, 3}),
        ([launched(1), Checkpointed("fit", 1, OUT), launched(1), succeeded(1)], {1}),
        ([launched(1), succeeded(1), launched(2)], set()),
    ],
)
def test_a_result_comes_from_its_attempt_and_from_those_that_led_to_its_checkpoint(
    ledger: Ledger, events: list[Event], expected: set[int]
) -> None:
    run = store(ledger, *events)
    with closing(ledger.connect()) as db:
        assert Attempts(Query(db)).of_result(run, "fit", "key of fit") == expected


def test_a_runs_events_are_read_once_for_all_its_tasks(ledger: Ledger) -> None:
    tasks = [f"fit[{place}]" for place in range(5)]
    run = store(
        ledger,
        *(launched(attempt, task) for attempt in (1, 2) for task in tasks),
        *(succeeded(2, task) for task in tasks),
    )
    with closing(ledger.connect()) as db:
        query = Counting(db)
        attempts = Attempts(query)
        for task in tasks:
            assert attempts.keys(run, task) == ({1: f"key of {task}", 2: f"key of {task}"}, f"key of {task}")
            assert attempts.of_result(run, task, f"key of {task}") == {2}
    assert set(query.scans.values()) == {1}


def test_a_task_that_reused_an_output_and_then_ran_itself_shows_what_both_logged(ledger: Ledger) -> None:
    def texts(name: str) -> Logged:
        out = Ref(digest=name, size=2, codec="text", type="builtins.str", inline=b"hi")
        return Logged("fit", 1, 1.0, texts=(Shown(name, 0, 1.0, out),))

    def logged(name: str) -> dict[str, object]:
        curves = Curves()
        curves.add(texts(name))
        return {"metrics": [*curves.summaries()]}

    task = task_row("fit", key="key of fit", out=OUT)
    with ledger.open_run("flights") as run:
        bodies = [encode_event(each) for each in (launched(1), texts("maker"), succeeded(1))]
        result = ResultRow(key="key of fit", task="fit", out=OUT)
        run.commit(first(bodies, tasks=[task], results=[result], logged=[("fit", 1)], **logged("maker")))
    with ledger.open_run("flights") as run:
        run.commit(first([], tasks=[task], inherited=[("fit", "key of fit")]))
        bodies = [encode_event(each) for each in (launched(1), texts("own"), succeeded(1))]
        run.commit(after(run, *bodies, logged=[("fit", 1)], **logged("own")))
        user = run.run
    with TrackingViews(ledger.address) as views:
        assert [each.name for each in views.texts(user)] == ["maker", "own"]
