"""A run's rows against its events: what differs is told, and mended where no driver lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from msgspec.structs import replace

from headrace.errors import LedgerError, NotFoundError
from headrace.ledger.ledger import Ledger
from headrace.ledger.upkeep.merge import point_standing
from headrace.ledger.upkeep.replay import Replayed, replay
from headrace.ledger.views.tracking import TrackingViews
from headrace.run.events import (
    Cancelled,
    Closed,
    Event,
    Failed,
    Launched,
    Renewed,
    Reused,
    Succeeded,
    Taken,
    Traced,
    TraceEnded,
)
from headrace.spec.artifact import Ref
from headrace.spec.bundle import Bundle
from headrace.spec.failure import Failure
from headrace.spec.graph import Node
from headrace.spec.intent import Advance, Register
from headrace.spec.stage import Stage
from tests.ledger.honest import events, honest_run, store_run
from tests.ledger.samples import after, blob, edit, first, open_ledger


@pytest.fixture
def ledger(address: str) -> Iterator[Ledger]:
    with open_ledger(address) as ledger:
        yield ledger


def told(found: Replayed) -> list[tuple[str, str, str, str, str]]:
    return [(each.about, each.subject, each.field, each.stored, each.rebuilt) for each in found.differences]


def test_rows_that_follow_from_their_events_are_equal(ledger: Ledger) -> None:
    run = honest_run(ledger, blob("model"))
    found = replay(ledger, run)
    assert (found.run, found.events, found.tasks, found.differences, found.mended) == (run, 7, 1, (), None)


OUT = blob("model")
HISTORIES = {
    "it lives": events(OUT)[:-2],
    "nothing ran": events(OUT)[:4],
    "it was reused": [*events(OUT)[:4], Reused("fit", "key", OUT, "other", "same", b""), Closed("succeeded", 105.0)],
    "it failed, and was tried again by another driver": [
        *events(OUT)[:5],
        Failed("fit", 1, Failure("user", "no"), 103.0, 101.0, 2.0),
        Closed("failed", 104.0, "no"),
        Taken(2, "me", 110.0, again=True),
        Launched("fit", 2, "key", (2,), "here", "again", b"", at=111.0),
        Succeeded("fit", 2, OUT, 111.0, 1.0),
        Closed("succeeded", 115.0),
    ],
    "it was cancelled": [*events(OUT)[:4], Cancelled("me", "enough", 102.0, now=True), Closed("cancelled", 103.0)],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_whatever_happened_rows_and_events_agree(ledger: Ledger, history: str) -> None:
    assert told(replay(ledger, store_run(ledger, HISTORIES[history]))) == []


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("update runs set state = 'failed'", ("run", "", "state", "failed", "succeeded")),
        ("update runs set usd = 7", ("run", "", "usd", "7.0", "0.0")),
        ("update tasks set state = 'running'", ("task", "fit", "state", "running", "succeeded")),
        ("update tasks set out = null", ("task", "fit", "out", "nothing", f"{OUT.digest[:12]}.n1")),
        ("update tasks set key = 'other'", ("task", "fit", "key", "other", "key")),
        ("delete from tasks", ("task", "fit", "", "no row", "succeeded")),
        ("update tasks set name = 'fat'", ("task", "fat", "", "succeeded", "no such task")),
        ("delete from blobs", ("blob", f"{OUT.digest}.n1", "", "not named", "named, 5 bytes")),
        ("update blobs set size = 4", ("blob", f"{OUT.digest}.n1", "", "4 bytes", "named, 5 bytes")),
        ("delete from results", ("result", "fit", "", "no row", f"{OUT.digest[:12]}.n1")),
    ],
)
def test_each_difference_is_told_and_mended(
    ledger: Ledger, statement: str, difference: tuple[str, str, str, str, str]
) -> None:
    run = honest_run(ledger, OUT)
    edit(ledger, statement)
    found = replay(ledger, run)
    assert difference in told(found)
    assert replay(ledger, run, repair=True).mended == "its rows were written anew from its events"
    if "blobs set size" not in statement:  # a row that is there is never replaced: it may be another's
        assert told(replay(ledger, run)) == []


def advanced(attempt: int, value: Ref, *, task: str = "fit", at: float = 103.0) -> list[Event]:
    """Return the events of an attempt that moves a cursor on from nothing."""
    return [
        Launched(task, attempt, f"key {attempt}", (attempt,), "here", "it never ran", b"", at=at),
        Succeeded(task, attempt, OUT, at, 1.0, intents=(Advance("orders", 0, value),)),
    ]


MONDAY, TUESDAY = blob("monday"), blob("tuesday")
TWICE = [
    *events(OUT)[:4],
    *advanced(1, MONDAY),
    Closed("failed", 104.0, "no"),
    Taken(2, "me", 110.0, again=True),
    Renewed(Bundle(digest=OUT.digest, size=OUT.size, nonce=OUT.nonce or ""), 111.0),
    *events(OUT)[2:4],
    *advanced(2, TUESDAY, at=112.0),
    Closed("succeeded", 115.0),
]
OVERTAKEN = [
    *events(OUT)[:2],
    Traced(
        (Stage(name="fit", function="p:fit"),),
        tuple(Node(name=name, stage="p:fit", args=()) for name in ("fit", "fit[1]")),
    ),
    TraceEnded(),
    *advanced(1, MONDAY),
    *advanced(1, TUESDAY, task="fit[1]"),
    Closed("succeeded", 115.0),
]


@pytest.mark.parametrize("history", [TWICE, OVERTAKEN])
def test_a_cursor_that_was_moved_again_or_by_a_quicker_task_is_no_difference(
    ledger: Ledger, history: list[Event]
) -> None:
    assert told(replay(ledger, store_run(ledger, history))) == []


def test_a_cursor_whose_value_has_moved_to_an_equal_generation_is_no_difference(ledger: Ledger) -> None:
    run = store_run(ledger, [*events(OUT)[:4], *advanced(1, MONDAY), Closed("succeeded", 115.0)])
    with closing(ledger.connect()) as db:
        point_standing(db, {(MONDAY.digest, MONDAY.nonce or ""): "other"})
    assert told(replay(ledger, run)) == []


def test_an_advance_that_is_lost_is_told_and_made_up_for(ledger: Ledger) -> None:
    run = store_run(ledger, [*events(OUT)[:4], *advanced(1, MONDAY), Closed("succeeded", 115.0)])
    edit(ledger, "delete from cursors")
    (difference,) = told(replay(ledger, run, repair=True))
    assert difference[:2] == ("cursor", "orders")
    assert told(replay(ledger, run)) == []


def test_a_registration_that_is_made_up_for_moves_no_alias(ledger: Ledger, address: str) -> None:
    asked = Register("model", "m", OUT, aliases=("production",))
    launched = Launched("fit", 1, "key 1", (1,), "here", "it never ran", b"", at=103.0)
    done = Succeeded("fit", 1, OUT, 103.0, 1.0, intents=(asked,))
    run = store_run(ledger, [*events(OUT)[:4], launched, done, Closed("succeeded", 115.0)])
    with ledger.open_run("later") as later:
        later.commit(first([]))
        later.commit(after(later, intents=[("fit", replace(asked, out=MONDAY))]))
    edit(ledger, "delete from versions where version = 1")
    assert len(told(replay(ledger, run, repair=True))) == 1
    assert told(replay(ledger, run)) == []
    with TrackingViews(address) as views:
        assert views.resolve("model", "m@production").out == MONDAY
        assert len(views.moves("model", "m")) == 2


def test_a_result_that_was_found_wanting_stays_so(ledger: Ledger) -> None:
    run = honest_run(ledger, OUT)
    edit(ledger, "update results set unusable = 'it is missing'")
    edit(ledger, "update tasks set attempts = 3")
    replay(ledger, run, repair=True)
    assert told(replay(ledger, run)) == []
    with ledger.open_run("flights") as other:
        assert other.result("key") is None


def test_a_run_that_a_driver_has_is_not_mended(ledger: Ledger) -> None:
    run = honest_run(ledger, OUT, ends=False)
    edit(ledger, "update tasks set attempts = 3")
    with ledger.take(run):
        found = replay(ledger, run, repair=True)
    assert (found.mended or "").startswith("nothing was written: run")
    assert len(found.differences) == 1


def test_events_that_are_lost_or_cannot_be_read_are_an_error(ledger: Ledger) -> None:
    run = honest_run(ledger, OUT)
    edit(ledger, "delete from events where seq = 2")
    with pytest.raises(LedgerError, match="needs an earlier event, which is missing"):
        replay(ledger, run)
    edit(ledger, "update events set body = substr(body, 1, 2) where seq = 1")
    with pytest.raises(LedgerError, match=r"event 1 .* can't be read"):
        replay(ledger, run)
    edit(ledger, "delete from events where seq = 0")
    with pytest.raises(LedgerError):
        replay(ledger, run)
    with pytest.raises(NotFoundError):
        replay(ledger, "other")
