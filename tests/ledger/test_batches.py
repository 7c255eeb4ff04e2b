"""A batch is logged in the transaction of its task's success: once, under the next number of its endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.ledger.ledger import Ledger
from headrace.ledger.records import PredictionBatchRow
from headrace.ledger.registry import register
from headrace.ledger.views.tracking import TrackingViews
from headrace.spec.artifact import Ref, decode_ref
from headrace.spec.intent import LogBatch, Register
from tests.ledger.samples import after, first, open_ledger


def out(name: str) -> Ref:
    return Ref(digest=name, size=2, codec="text", type="builtins.str", inline=b"hi")


def batch(name: str = "rents", model: str = "m", number: int = 1) -> LogBatch:
    return LogBatch(name, out(model).identity, out(f"rows {number}"), out(f"answers {number}"), 10, 1, 5.0, 7.5)


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


def stored(address: str, endpoint: str, since: float = 0.0) -> list[PredictionBatchRow]:
    with TrackingViews(address) as views:
        return views.prediction_batches(endpoint, since)


def test_batches_have_numbers_by_endpoint_and_the_version_that_answered(address: str, ledger: Ledger) -> None:
    register(ledger, Register("model", "rents", out("other")), by="ada")
    register(ledger, Register("model", "rents", out("m")), by="ada")
    with ledger.open_run("flights") as run:
        run.commit(first([]))
        run.commit(after(run, intents=[("a", batch()), ("b", batch("new", number=2)), ("c", batch(number=3))]))
    newest, oldest = stored(address, "rents")
    assert (oldest.number, oldest.task, newest.number, newest.task) == (1, "a", 2, "c")
    assert (newest.version, newest.count, newest.refused, newest.first, newest.last) == (2, 10, 1, 5.0, 7.5)
    assert (decode_ref(newest.given), decode_ref(newest.out)) == (out("rows 3"), out("answers 3"))
    (other,) = stored(address, "new")
    assert (other.number, other.version) == (1, None)
    assert len(stored(address, "rents", 7.5)) == 2
    assert stored(address, "rents", 8.0) == []
    with TrackingViews(address) as views:
        logs = [(each.endpoint, each.parts, each.count) for each in views.prediction_batch_logs()]
    assert logs == [("new", 1, 10), ("rents", 2, 20)]


def test_a_batch_without_a_name_has_that_of_its_model_or_none(address: str, ledger: Ledger) -> None:
    register(ledger, Register("model", "first", out("m")), by="ada")
    register(ledger, Register("model", "second", out("m")), by="ada")
    with ledger.open_run("flights") as run:
        run.commit(first([]))
        run.commit(after(run, intents=[("a", batch("")), ("b", batch("", "unknown", 2))]))
    assert [each.task for each in stored(address, "first")] == ["a"]
    assert [each.task for each in stored(address, "")] == ["b"]


def test_a_task_logs_its_answers_once_and_other_tasks_or_answers_too(address: str, ledger: Ledger) -> None:
    with ledger.open_run("flights") as run:
        run.commit(first([]))
        for each in (("a", batch()), ("a", batch()), ("a", batch("other")), ("b", batch()), ("a", batch(number=2))):
            run.commit(after(run, intents=[each]))
    assert [(each.number, each.task) for each in stored(address, "rents")] == [(3, "a"), (2, "b"), (1, "a")]
    assert stored(address, "other") == []


def test_many_runs_that_log_at_the_same_time_leave_no_number_out(address: str, ledger: Ledger) -> None:
    def work(number: int) -> None:
        with open_ledger(address) as own, own.open_run("flights") as run:
            run.commit(first([]))
            for each in range(5):
                run.commit(after(run, intents=[("a", batch(number=100 * number + each))]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert sorted(each.number for each in stored(address, "rents")) == list(range(1, 21))
