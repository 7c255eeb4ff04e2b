"""What an attempt logs: gathered from any thread, reported in batches."""

from __future__ import annotations

import math
import threading
import time
from array import array

import numpy as np
import pytest

from headrace.errors import UsageError
from headrace.run.events import Logged
from headrace.spec.artifact import Ref
from headrace.work.output.live_values import LARGEST, Log

TEXT = Ref(digest="d" * 64, size=2, codec="text", type="builtins.str", inline=b"hi")


class Book:
    """A log, and what it has reported."""

    def __init__(self, rank: int = 0, every_s: float = 60.0) -> None:
        self.reports: list[Logged] = []
        self.came = threading.Event()
        self.log = Log(
            "fit", 1, rank, report=self.take, save=lambda _: TEXT, mask=str, look=lambda: None, every_s=every_s
        )

    def take(self, event: Logged) -> None:
        self.reports.append(event)
        self.came.set()

    def points(self, name: str) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        for report in self.reports:
            for curve in report.points:
                if curve.name == name:
                    found += zip(array("q", curve.steps), array("d", curve.values), strict=True)
        return found


def test_points_come_in_columns_with_their_steps() -> None:
    book = Book()
    book.log.add("loss", 0.5)
    book.log.add("loss", 2)
    book.log.add("auc", True, 10)
    book.log.close()
    [report] = book.reports
    assert (report.task, report.attempt) == ("fit", 1)
    assert book.points("loss") == [(0, 0.5), (1, 2.0)]
    assert book.points("auc") == [(10, 1.0)]


def test_what_is_no_finite_number_is_kept_as_it_is() -> None:
    book = Book()
    for value in (math.nan, math.inf, -math.inf):
        book.log.add("loss", value)
    book.log.close()
    (_, nan), *rest = book.points("loss")
    assert math.isnan(nan)
    assert rest == [(1, math.inf), (2, -math.inf)]


def test_texts_are_artifacts() -> None:
    book = Book()
    book.log.add("sample", "hi", 3)
    book.log.close()
    [text] = book.reports[0].texts
    assert (text.name, text.step, text.out) == ("sample", 3, TEXT)


def test_many_threads_lose_nothing() -> None:
    book = Book(every_s=0.001)

    def count(name: str) -> None:
        for step in range(5000):
            book.log.add(name, float(step), step)

    threads = [threading.Thread(target=count, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    book.log.close()
    for number in range(4):
        assert [step for step, _ in book.points(f"t{number}")] == list(range(5000))


def test_where_no_thread_can_be_started_what_was_logged_is_reported_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    book = Book()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            book.log.add("loss", 1.0)
    book.log.close()
    assert book.points("loss") == [(0, 1.0)]


def test_what_was_logged_is_reported_while_the_attempt_goes_on() -> None:
    book = Book(every_s=0.001)
    book.log.add("loss", 1.0)
    assert book.came.wait(10.0)
    book.log.close()


def test_a_hundred_thousand_points_are_few_events_and_cost_little() -> None:
    book = Book()
    began = time.process_time()
    for step in range(100_000):
        book.log.add("loss", 1.0 / (step + 1), step)
    took = time.process_time() - began
    book.log.close()
    assert len(book.reports) == 100_000 // LARGEST + 1
    assert len(book.points("loss")) == 100_000
    assert took < 2.0  # 0.1 s are usual


def test_of_other_nodes_only_what_names_its_rank_counts() -> None:
    book = Book(rank=1)
    book.log.add("loss", 1.0)
    book.log.add("rank1/loss", 1.0)
    book.log.close()
    assert [curve.name for report in book.reports for curve in report.points] == ["rank1/loss"]


def test_an_array_of_one_element_is_a_number() -> None:
    book = Book()
    book.log.add("loss", np.array([2.5]))
    book.log.close()
    assert [value for _, value in book.points("loss")] == [2.5]


@pytest.mark.parametrize(
    ("name", "value", "step", "told"),
    [
        ("", 1.0, None, "can't be logged under the name"),
        (3, 1.0, None, "can't be logged under the name `3`"),
        ("a\nb", 1.0, None, "can't be logged under the name"),
        ("loss", [1, 2], None, "`loss` can't be logged: it is a `list`, not a single number"),
        ("loss", np.arange(2), None, "it is a `numpy.ndarray`, not a single number"),
        ("loss", None, None, "it is a `NoneType`"),
        ("loss", 10**400, None, "the number is too large"),
        ("loss", 1.0, "two", "can't be logged at step `'two'`"),
        ("loss", 1.0, 1 << 70, "that step is too large"),
    ],
)
def test_what_can_not_be_logged_is_one_clear_error(name: str, value: object, step: int | None, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        Book().log.add(name, value, step)
    assert told in raised.value.message
