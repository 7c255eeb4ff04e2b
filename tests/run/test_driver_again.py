"""The drive loop when drivers follow one another, and what is stored before what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.behaviour import Behaviour, Wait, tracing
from headrace.errors import LeaseLost, LedgerError
from headrace.plan.reuse import NEW
from headrace.run.driver.inbox import KINDS, Kind
from headrace.run.events import (
    Cancelled,
    Closed,
    Failed,
    Launched,
    Renewed,
    Reused,
    Succeeded,
    Taken,
    decode_event,
)
from headrace.run.ports import KNOWN_SIGNALS, Alive, Batch, Grant, Heard, Want
from headrace.run.wire import Do
from headrace.spec.code import Code
from headrace.spec.graph import Const
from headrace.spec.policy import Policy
from headrace.spec.stage import Resources
from headrace.testing.graphs import BUNDLE, Sketch, chain, fan, number, stage
from headrace.testing.ledger import MemoryRun
from tests.run.bed import POOL, Bed, gives, until


def test_what_was_finished_while_no_driver_lived_counts_and_ends_the_run() -> None:
    bed = Bed(gives, chain(1))
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    bed.take()
    driver = bed.driver()
    driver.adopt()
    assert driver.drive().state == "succeeded"
    assert [type(event) for event in map(decode_event, bed.run.events())][-2:] == [Succeeded, Closed]
    assert bed.run.record.tasks["step"].attempts == 1


def test_a_run_that_is_resumed_is_running_again_and_took_no_longer_for_its_rest() -> None:
    bed = Bed(gives, chain(2))
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    driver.interrupt()
    assert driver.drive().state == "cancelled"
    before = bed.run.record.row
    assert before is not None
    clock = bed.cluster.clock
    clock.advance(clock.monotonic() + 1000.0)
    bed.take()
    driver = bed.driver()
    driver.open([Taken(2, "me", clock.now(), again=True)])
    driver.tick(0.0)
    assert bed.run.record.row is not None
    assert bed.run.record.row.state == "running"
    assert driver.drive().state == "succeeded"
    assert before.seconds <= bed.run.record.row.seconds < before.seconds + 100.0


def flow(code: str, n: int, *, reaches: bool = True) -> Sketch:
    """Return a pipeline with this code; `first` has this argument. With `reaches` False, only `start` is called."""
    sketch = Sketch()
    sketch.stages |= {name: replace(stage(name), code=Code(digest=code)) for name in ("start", "first")}
    start = sketch.node("start")
    if reaches:
        sketch.node("last", x=sketch.node("first", x=Const(number(n)), after=[start]))
    return sketch


def test_a_run_with_new_code_says_how_tasks_differ_from_when_they_last_succeeded_in_it() -> None:
    def script(order: Do) -> Behaviour:
        yield Wait(1.0)
        if "last" in order.function:
            raise ValueError("it never works")
        return number(1)

    def renew(code: str, n: int, *, reaches: bool = True) -> dict[str, str]:
        """Go on with other code; return why each task ran or was reused."""
        bed.cluster.tracer = tracing(flow(code, n, reaches=reaches).events())
        bed.take()
        seen = bed.run.next_seq
        driver = bed.driver(changed_code=lambda before, *_: (f"{before.run}{before.code}",))
        driver.adopt(keep=False)
        now = bed.cluster.clock.now()
        driver.open([Taken(bed.run.epoch, "me", now), Renewed(BUNDLE, now, counted=True)])
        driver.trace()
        driver.drive()
        stored = [*map(decode_event, bed.run.events())][seen:]
        return {each.task: each.why for each in stored if isinstance(each, Launched | Reused)}

    bed = Bed(script, flow("a", 1))
    bed.driver().drive()
    again, never = "it succeeded earlier in this run", NEW
    assert renew("b", 1) == {"start": "code changed: `a`", "first": "code changed: `a`", "last": never}
    assert renew("b", 2) == {"start": again, "first": "`x` changed", "last": never}
    assert renew("c", 2, reaches=False) == {"start": "code changed: `b`"}
    assert renew("d", 1) == {
        "start": "code changed: `c`",
        "first": "code changed: `b`; `x` changed",
        "last": never,
    }


def test_a_run_with_new_code_still_names_the_run_whose_output_a_task_reuses() -> None:
    bed = Bed(gives, flow("a", 1, reaches=False))
    bed.driver().drive()
    bed.again("run-2")
    bed.cluster.tracer = tracing(flow("a", 1).events())
    bed.driver().drive()
    for _ in range(2):
        bed.take()
        driver = bed.driver()
        driver.adopt(keep=False)
        driver.open([Taken(bed.run.epoch, "me", 0.0), Renewed(BUNDLE, 0.0, counted=True)])
        driver.trace()
        driver.drive()
    said = [(each.task, each.run, each.why) for each in bed.events(Reused)]
    since = "nothing that determines it has changed since run run-1"
    assert said[0] == ("start", "run-1", since)
    assert [each for each in said if each[0] == "start"] == [("start", "run-1", since)] * 3
    again = "it succeeded earlier in this run"
    assert {each for each in said if each[0] != "start"} == {("first", "", again), ("last", "", again)}


def test_of_a_gang_whose_driver_died_the_first_worker_s_output_counts() -> None:
    sketch = Sketch()
    sketch.declare("gang", resources=Resources(nodes=3))
    sketch.node("gang")

    def script(order: Do) -> Behaviour:
        yield Wait(1.0 - order.rank / 10)
        return number(order.rank)

    bed = Bed(script, sketch)
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    bed.take()
    driver = bed.driver()
    driver.adopt()
    driver.drive()
    assert bed.machine.tasks["gang"].out == number(0)


class Lasting(SimulatedBackend):
    """A backend whose workers live on for the next driver, and go on with what they are at."""

    def adopt(self) -> Iterator[Heard | Alive]:  # type: ignore[override]  # the port allows both
        notices, self.cluster.notices = self.cluster.notices, []
        yield from (each for each in notices if isinstance(each, Heard))
        for worker in self.cluster.workers.values():
            order = worker.order
            yield Alive(worker.job, () if order is None else ((order.task, order.attempt),), worker.done)


def test_of_a_gang_that_failed_while_no_driver_lived_the_other_nodes_are_ended() -> None:
    sketch = Sketch()
    sketch.declare("gang", resources=Resources(nodes=4), retries=1, backoff_s=0.0)
    sketch.node("gang")

    def script(order: Do) -> Behaviour:
        if order.attempt == 1:
            yield Wait(1.0 if order.rank == 1 else 1e6)  # the others wait for it
            raise ValueError("out of range")
        return number(order.rank)

    bed = Bed(script, sketch)
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    clock = bed.cluster.clock
    bed.cluster.run(clock.monotonic() + 2.0, stop=lambda: False)
    bed.run = bed.ledger.take(bed.run.record.run)
    driver = bed.driver(backend=Lasting(POOL, bed.cluster))
    driver.adopt()
    until(driver, bed, lambda: bool(bed.events(Closed)))
    assert clock.monotonic() < 100.0
    assert bed.machine.tasks["gang"].phase == "succeeded"


def test_a_run_whose_driver_is_gone_can_be_cancelled_though_nothing_runs() -> None:
    sketch = Sketch()
    sketch.declare("flaky", retries=1, backoff_s=100.0)
    sketch.node("flaky")

    def script(order: Do) -> Behaviour:
        yield Wait(1.0)
        raise ValueError("not now")

    bed = Bed(script, sketch)
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Failed)))
    bed.take()
    driver = bed.driver()
    driver.adopt()
    driver.open([Taken(2, "me", 0.0), Cancelled("ann", "cancelled by ann", 0.0, now=True)])
    assert driver.drive().state == "cancelled"
    assert bed.run.record.row is not None
    assert bed.run.record.row.state == "cancelled"


def test_signals_meant_for_a_dead_driver_are_not_obeyed_by_the_next_which_says_so() -> None:
    bed = Bed(gives, chain(2))
    until(bed.driver(), bed, lambda: bool(bed.events(Launched)))
    bed.ledger.signal("run-1", "cancel", by="ann")
    bed.ledger.signal("run-1", "stop", by="bob", body="step")
    bed.take()
    stale = bed.run.inbox()
    notes: list[str] = []
    driver = bed.driver(note=notes.append)
    driver.adopt()
    driver.open([Taken(2, "me", 0.0, again=True)], stale)
    assert driver.drive().state == "succeeded"
    assert bed.run.record.inbox == []
    assert notes == [
        "`headrace cancel` by ann has no effect: it was meant for an earlier driver of this run",
        "`headrace stop` of `step` by bob has no effect: it was meant for an earlier driver of this run",
    ]


def test_a_signal_that_comes_while_a_run_is_taken_over_is_obeyed() -> None:
    bed = Bed(gives, chain(2))
    until(bed.driver(), bed, lambda: bool(bed.events(Launched)))
    bed.take()
    stale = bed.run.inbox()
    driver = bed.driver()
    bed.ledger.signal("run-1", "cancel", by="ann")
    driver.adopt()
    driver.open([Taken(2, "me", 0.0, again=True)], stale)
    assert driver.drive().state == "cancelled"
    assert bed.run.record.inbox == []


def test_a_signal_of_an_unknown_kind_is_kept_and_told_once_and_one_beside_it_is_obeyed() -> None:
    bed = Bed(gives, chain(2))
    notes: list[str] = []
    driver = bed.driver(note=notes.append)
    until(driver, bed, lambda: bool(bed.events(Launched)))
    bed.ledger.signal("run-1", "pause", by="eve", body="until noon")
    until(driver, bed, lambda: bool(notes))
    bed.ledger.signal("run-1", "pause", by="bob")
    bed.ledger.signal("run-1", "cancel", by="ann")
    assert driver.drive().state == "cancelled"
    assert [(each.kind, each.by, each.body) for each in bed.run.record.inbox] == [
        ("pause", "eve", "until noon"),
        ("pause", "bob", ""),
    ]
    assert [note for note in notes if "pause" in note] == [
        f"the signal `pause` by {who} is kept: this Headrace doesn't know it. To act on it, resume the run with the"
        " release of Headrace that sent it"
        for who in ("eve", "bob")
    ]


def test_a_driver_that_knows_a_signal_which_an_earlier_one_kept_obeys_it_unless_it_was_meant_for_that_one() -> None:
    bed = Bed(gives, chain(2))
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    bed.ledger.signal("run-1", "page", by="eve", body="fit")
    bed.ledger.signal("run-1", "nudge", by="bob")
    until(driver, bed, lambda: bool(bed.events(Succeeded)))
    assert len(bed.run.record.inbox) == 2
    bed.take()
    obeyed: list[tuple[str, str, str]] = []
    page, nudge = (
        Kind(
            lambda _, signal: obeyed.append((signal.kind, signal.by, signal.body)),
            lambda signal: f"`headrace {signal.kind}` by {signal.by}",
            until=readers,
        )
        for readers in ("ever", "driver")
    )
    notes: list[str] = []
    driver = bed.driver(note=notes.append, signals={**KINDS, "page": page, "nudge": nudge})
    driver.adopt()
    driver.open([Taken(2, "me", 0.0, again=True)], bed.run.inbox())
    assert driver.drive().state == "succeeded"
    assert obeyed == [("page", "eve", "fit")]
    assert bed.run.record.inbox == []
    assert notes == ["`headrace nudge` by bob has no effect: it was meant for an earlier driver of this run"]


def test_the_kinds_that_a_driver_knows_are_those_that_views_know() -> None:
    assert set(KINDS) == KNOWN_SIGNALS


def test_no_two_drivers_of_a_run_number_their_workers_alike() -> None:
    bed = Bed(gives, chain(4))
    driver = bed.driver()
    until(driver, bed, lambda: len(bed.events(Launched)) == 2)
    before = {worker for event in bed.events(Launched) for worker in event.workers}
    bed.take()
    driver = bed.driver()
    driver.adopt()
    driver.open([Taken(2, "me", 0.0, again=True)])
    driver.drive()
    launched = bed.events(Launched)
    after = {worker for event in launched[2:] for worker in event.workers}
    assert after
    assert before.isdisjoint(after)


def test_a_driver_that_was_fenced_out_stores_nothing_more_and_ends_its_workers() -> None:
    bed = Bed(gives, chain(5))
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Succeeded)))
    bed.ledger.take("run-1")
    stored = len(bed.run.record.bodies)
    with pytest.raises(LeaseLost):
        driver.drive()
    assert len(bed.run.record.bodies) == stored
    assert not bed.cluster.living


def test_a_driver_that_fails_leaves_what_runs_to_the_next() -> None:
    bed = Bed(gives, chain(3))
    driver = bed.driver()
    until(driver, bed, lambda: len(bed.events(Launched)) == 2)

    def full(_: Batch) -> None:
        raise LedgerError("the disk is full")

    bed.run.commit = full  # type: ignore[method-assign]
    with pytest.raises(LedgerError):
        driver.drive()
    bed.run = bed.ledger.take("run-1")
    driver = bed.driver()
    driver.adopt()
    driver.open([Taken(2, "me", 0.0, again=True)])
    assert driver.drive().state == "succeeded"
    assert {row.attempts for row in bed.run.record.tasks.values()} == {1}


def test_workers_forget_what_is_acknowledged() -> None:
    bed = Bed(gives, chain(300))
    driver = bed.driver()
    until(driver, bed, lambda: len(bed.events(Succeeded)) == 299, most=5000)
    assert max(len(worker.unacknowledged) for worker in bed.cluster.workers.values()) < 100


def test_nothing_is_sent_before_it_is_stored() -> None:
    seen: list[tuple[int, int]] = []

    def script(order: Do) -> Behaviour:
        stored = bed.events(Launched)
        assert (order.task, order.attempt) in [(event.task, event.attempt) for event in stored]
        seen.append((order.attempt, len(stored)))
        yield Wait(0.1)
        return number(1)

    bed = Bed(script, fan(20))
    bed.driver().drive()
    assert len(seen) == 22


class Full:
    """A run's ledger in whose pool there is no room, until somebody makes some."""

    def __init__(self, run: MemoryRun) -> None:
        self._run = run
        self.is_full = True
        self.results, self.earlier, self.inbox, self.commit = run.results, run.earlier, run.inbox, run.commit

    def grant(self, want: Want) -> Grant:
        given = self._run.grant(want)
        return replace(given, cpu=0.0, memory_gib=0.0) if self.is_full else given


def test_a_run_whose_pool_has_no_room_is_queued_and_says_so_until_there_is_some() -> None:
    bed = Bed(gives, chain(2))
    full = Full(bed.run)
    driver = bed.driver(ledger=full)

    def state() -> tuple[str, str]:
        row = bed.run.record.row
        return ("", "") if row is None else (row.state, row.why)

    until(driver, bed, lambda: state()[0] == "queued")
    assert state()[1] == "waits for room in pool `here`: the next task needs cpu=1"
    full.is_full = False
    until(driver, bed, lambda: bool(bed.events(Launched)))
    assert state() == ("running", "")
    assert driver.drive().state == "succeeded"


def test_a_run_that_had_no_room_until_its_time_was_over_has_failed_and_is_not_refused() -> None:
    bed = Bed(gives, chain(1), Policy(timeout_s=60.0))
    closed = bed.driver(ledger=Full(bed.run)).drive()
    assert (closed.state, closed.why) == ("failed", "the run took longer than 60 s")
    assert [(row.state, row.attempts) for row in bed.run.record.tasks.values()] == [("cancelled", 0)]
