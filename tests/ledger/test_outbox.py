"""Notices are stored with their cause, and each is claimed by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.errors import LeaseLost
from headrace.ledger.ledger import Ledger
from headrace.ledger.outbox import CLAIM_S, LOOKED_AT, PAUSES_S, TRIES, Outbox, retry
from headrace.ledger.records import NoticeRecord
from headrace.ledger.standing.notices import LASTS_S
from headrace.ledger.upkeep.gc import STANDING_S, Collector
from headrace.ledger.upkeep.retention import Keep
from headrace.run.ports import Batch, NoticeRow, RunRow
from headrace.store.folder.folder import FolderStore
from tests.ledger.samples import free, open_ledger, rows

NOW = 1_000_000_000.0
KINDS = ("run.failed",)


class Clock:
    """A clock that a test sets."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(address: str, clock: Clock) -> Iterator[Ledger]:
    with open_ledger(address, clock=clock) as ledger:
        yield ledger


def fail(ledger: Ledger) -> str:
    """Record a run that failed, with its notice."""
    with ledger.open_run("flow") as run:
        run.commit(batch())
        return run.run


def batch() -> Batch:
    row = RunRow(pipeline="flow", state="failed", created=NOW, bundle="b", ended=NOW)
    return Batch(first=0, bodies=[b"event"], run=row, notices=[NoticeRow(kind="run.failed", at=NOW, facts="{}")])


def due(ledger: Ledger) -> list[NoticeRecord]:
    with Outbox(ledger) as outbox:
        return outbox.due(KINDS)


def test_a_notice_is_stored_in_the_transaction_of_its_cause_or_not_at_all(ledger: Ledger) -> None:
    run = fail(ledger)
    assert [(notice.run, notice.kind, notice.tries) for notice in due(ledger)] == [(run, "run.failed", 0)]
    with ledger.open_run("flow") as other:
        other.commit(Batch(first=0, bodies=[b"event"], run=batch().run))
        free(ledger, other.run)
        with ledger.take(other.run), pytest.raises(LeaseLost):
            other.commit(Batch(first=1, bodies=[b"event"], notices=batch().notices))
    assert len(due(ledger)) == 1


def test_two_processes_do_not_claim_the_same_notice(ledger: Ledger) -> None:
    fail(ledger)
    with Outbox(ledger) as one, Outbox(ledger) as two:
        (seen,), (also_seen,) = one.due(KINDS), two.due(KINDS)
        claimed = one.claim(seen)
        assert two.claim(also_seen) is None
        assert claimed is not None
        one.settle(claimed, sent=["command"], error=None)
    assert due(ledger) == []
    assert rows(ledger, "select state, sent, tries from outbox") == [("sent", "command", 1)]


def attempt(ledger: Ledger, error: str | None) -> NoticeRecord:
    """Try once to send the notice that is due."""
    with Outbox(ledger) as outbox:
        claimed = outbox.claim(*outbox.due(KINDS))
        assert claimed is not None
        return outbox.settle(claimed, sent=[], error=error)


def test_a_list_of_due_notices_is_no_claim_even_if_their_tries_were_reset(ledger: Ledger, clock: Clock) -> None:
    fail(ledger)
    clock.now = attempt(ledger, "no route").due
    with Outbox(ledger) as one, Outbox(ledger) as two:
        (seen,) = one.due(KINDS)
        retry(ledger)
        again = two.claim(*two.due(KINDS))
        assert again is not None
        assert again.tries == seen.tries
        assert one.claim(seen) is None


def test_a_process_that_dies_on_the_way_costs_one_try_and_hides_no_earlier_error(ledger: Ledger, clock: Clock) -> None:
    fail(ledger)
    clock.now = attempt(ledger, "no route").due
    with Outbox(ledger) as outbox:
        assert outbox.claim(*outbox.due(KINDS)) is not None
    assert rows(ledger, "select tries, error from outbox") == [(2, "no route")]
    clock.now += CLAIM_S
    assert [notice.tries for notice in due(ledger)] == [2]
    retry(ledger)
    assert [notice.tries for notice in due(ledger)] == [0]


def test_pauses_grow_until_the_last_try(ledger: Ledger, clock: Clock) -> None:
    fail(ledger)
    for pause_s in PAUSES_S:
        attempt(ledger, "no")
        clock.now += pause_s - 1
        assert due(ledger) == []
        clock.now += 2
    last = attempt(ledger, "no")
    assert (last.tries, last.state) == (TRIES, "failed")
    clock.now += PAUSES_S[-1]
    assert due(ledger) == []
    retry(ledger)
    assert [notice.tries for notice in due(ledger)] == [0]


def test_only_the_kinds_that_are_asked_for_and_only_young_notices_are_due(ledger: Ledger, clock: Clock) -> None:
    fail(ledger)
    with Outbox(ledger) as outbox:
        assert outbox.due(("run.waiting",)) == []
        assert len(outbox.due(KINDS)) == 1
        clock.now += LASTS_S + 1
        assert outbox.due(KINDS) == []
    retry(ledger)
    assert due(ledger) == []


def test_notices_that_nobody_asks_for_do_not_hide_the_others(ledger: Ledger) -> None:
    unwanted = [NoticeRow(kind="run.waiting", at=NOW - 1, facts="{}")] * (LOOKED_AT + 1)
    with ledger.open_run("flow") as run:
        run.commit(Batch(first=0, bodies=[b"event"], run=batch().run, notices=unwanted))
    run_id = fail(ledger)
    assert [notice.run for notice in due(ledger)] == [run_id]


def test_a_retry_leaves_a_notice_to_the_process_that_is_sending_it(ledger: Ledger, clock: Clock) -> None:
    fail(ledger)
    with Outbox(ledger) as outbox:
        for _ in range(2):
            claimed = outbox.claim(*outbox.due(KINDS))
            assert claimed is not None
            retry(ledger)
            assert due(ledger) == [], "another process is sending it"
            outbox.settle(claimed, sent=[], error="no route")
            retry(ledger)
            assert len(due(ledger)) == 1
        assert outbox.claim(*outbox.due(KINDS)) is not None
    clock.now += CLAIM_S
    retry(ledger)
    assert [notice.tries for notice in due(ledger)] == [0], "the process that was sending it is gone"


def test_the_collector_forgets_a_notice_with_its_run_once_nobody_sends_it(ledger: Ledger, store: FolderStore) -> None:
    for later_s in (0.0, STANDING_S + 1):
        fail(ledger)
        with Collector(ledger, {"home": store}) as collector:
            collector.collect(Keep(), now=NOW + later_s)
        assert len(rows(ledger, "select id from outbox")) == 1 + (later_s > 0), "its run is there"
    with Collector(ledger, {"home": store}) as collector:
        collector.collect(Keep(runs=0), now=NOW)
        assert len(rows(ledger, "select id from outbox")) == 2, "it may still be sent"
        collector.collect(Keep(runs=0), now=NOW + STANDING_S + 1)
    assert rows(ledger, "select id from outbox") == []


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    return FolderStore(tmp_path_factory.mktemp("store"))
