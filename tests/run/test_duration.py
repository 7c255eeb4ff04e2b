"""How long a run was worked on."""

from __future__ import annotations

import pytest

from headrace.run.duration import Duration
from headrace.run.events import Cancelled, Closed, Failed, Launched, Opened, Submitted, Succeeded, Taken
from headrace.spec.bundle import Bundle
from headrace.spec.failure import Failure
from headrace.testing.graphs import number

OPENED = Opened("flow", ("pipelines.py",), Bundle(digest="b", size=1, nonce="n"), 100.0)


def heard(*events: object) -> Duration:
    worked = Duration()
    for event in events:
        worked.hear(event)
    return worked


def launched(at: float, attempt: int = 1) -> Launched:
    return Launched("fit", attempt, "key", (1,), "here", "", b"", at=at)


def test_a_run_of_one_driver_took_what_lies_between_its_beginning_and_its_end() -> None:
    worked = heard(OPENED, Taken(1, "me", 100.1), launched(101.0), Closed("succeeded", 109.0))
    assert worked.seconds(109.0) == worked.seconds() == 9.0
    assert worked.at(101.0) == 1.0


def test_the_time_until_it_was_resumed_does_not_count() -> None:
    stopped = Cancelled("me", "interrupted", 104.0), Closed("cancelled", 104.5)
    worked = heard(OPENED, Taken(1, "me", 100.1), launched(100.5), *stopped, Taken(2, "me", 144.5), launched(145.0, 2))
    assert worked.seconds(150.5) == 4.5 + 6.0
    assert (worked.at(100.5), worked.at(120.0), worked.at(145.0)) == (0.5, 4.5, 5.0)


def test_what_ended_while_no_driver_lived_counts_and_the_time_after_it_does_not() -> None:
    finished = Succeeded("fit", 1, number(1), started=101.0, seconds=20.0)
    worked = heard(OPENED, Taken(1, "me", 100.1), launched(101.0), finished, Taken(2, "me", 500.0))
    assert worked.seconds(501.0) == 21.0 + 1.0


def test_when_a_driver_died_is_not_told_by_who_finds_what_it_lost() -> None:
    lost = Failed("fit", 1, Failure("lost", "its driver is gone"), 500.0)
    worked = heard(OPENED, Taken(1, "me", 100.1), launched(102.0), lost, Taken(2, "me", 500.0))
    assert worked.seconds(501.0) == 2.0 + 1.0


def test_what_outlived_its_driver_counts_until_the_next_one() -> None:
    finished = Succeeded("fit", 1, number(1), started=101.0, seconds=43.0)
    worked = heard(OPENED, Taken(1, "me", 100.1), launched(101.0), Taken(2, "me", 140.0), finished)
    assert worked.seconds(144.0) == 44.0
    worked = heard(
        OPENED, Taken(1, "me", 100.1), launched(101.0), Taken(2, "me", 120.0), Taken(3, "me", 140.0), finished
    )
    assert worked.seconds(144.0) == 44.0
    lost = Failed("fit", 1, Failure("crash", "it was killed"), 140.0, started=101.0, seconds=9.0)
    worked = heard(OPENED, Taken(1, "me", 100.1), launched(101.0), Taken(2, "me", 140.0), lost)
    assert worked.seconds(144.0) == 10.0 + 4.0


def test_the_time_until_a_task_was_submitted_for_approval_still_counts_for_the_next_driver() -> None:
    waits = heard(OPENED, Taken(1, "me", 100.1), Submitted("fit", "key", b"", "", 102.2))
    before = waits.seconds()
    waits.hear(Taken(2, "me", 500.0))
    assert (before, waits.seconds(501.0)) == (pytest.approx(2.2), pytest.approx(3.2))
