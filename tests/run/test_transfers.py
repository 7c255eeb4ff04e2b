"""What a run needs of another region: brought once, recorded, and what becomes of those who wait for it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from headrace.backends.simulated.behaviour import Ask, Behaviour, Death, Moving, Say, Wait, moving, tracing
from headrace.run.driver.driver import Driver
from headrace.run.driver.regions import Elsewhere
from headrace.run.events import (
    Asked,
    Closed,
    Deferred,
    Failed,
    Lacked,
    Launched,
    Moved,
    Opened,
    Taken,
    TraceEnded,
    decode_event,
)
from headrace.run.machine.invariants import check
from headrace.run.machine.machine import Machine
from headrace.run.ports import TaskRow
from headrace.run.wire import Do, Move
from headrace.spec.address import StoreAddress
from headrace.spec.artifact import Ref, gather
from headrace.spec.fleet import Link
from headrace.spec.graph import Const, Many
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.graphs import Sketch, fan, number
from tests.run.bed import Bed, gives, until

SIZE = 250_000_000  # two seconds at a Gbit/s
BLOB = Ref(digest="ab" * 32, size=SIZE, codec="raw", type="builtins.bytes", nonce="0011")
NAME = "transfer[abababab far->local]"
LINK = Link(source="far", target="local", bits_per_s=1e9, usd_per_gb=0.08)


class Regions(Bed):
    """A bed in a region beside another one, in whose store `far` the inputs are."""

    def __init__(self, trace: Sketch, mover: Moving | None = None) -> None:
        super().__init__(gives, trace, mover=mover or moving(arrive=self.arrive))
        self.far = MemoryBlobs()
        self.far.add(BLOB)

    def arrive(self, order: Move) -> None:
        self.store.held[order.digest, order.nonce] = order.size

    def driver(self, **more: object) -> Driver:
        return super().driver(elsewhere=[Elsewhere("far", self.far, StoreAddress(url="s3://far"), LINK)], **more)

    def transfers(self) -> list[TaskRow]:
        return [row for row in self.run.record.tasks.values() if row.kind == "transfer"]


def wanting(count: int, refs: Iterable[Ref] = (BLOB,)) -> Sketch:
    """So many tasks that all need these blobs."""
    sketch = Sketch()
    for each in range(count):
        sketch.node("use", data=Many("list", tuple(Const(ref) for ref in refs)), i=Const(number(each)))
    return sketch


def test_a_blob_that_many_tasks_need_is_brought_once_before_any_of_them_begins() -> None:
    bed = Regions(wanting(5))
    assert bed.driver().drive().state == "succeeded"
    [moved] = bed.events(Moved)
    [row] = bed.transfers()
    assert (row.name, row.state, row.stage, row.attempts, row.key) == (NAME, "succeeded", "transfer", 1, None)
    assert (moved.size, moved.seconds, moved.usd) == (SIZE, 2.0, pytest.approx(0.02))
    assert row.usd == pytest.approx(0.02 + 2.0 / 3600)  # and a worker's time
    assert len(bed.events(Lacked)) == 1
    events = [decode_event(body) for body in bed.run.events()]
    launched = [event.task for event in events[events.index(moved) :] if isinstance(event, Launched)]
    assert len(launched) == 5
    assert bed.closed[0].usd == pytest.approx(0.02 + (2.0 + 5.0) / 3600)


def test_the_parts_of_a_value_are_brought_side_by_side() -> None:
    parts = [Ref(digest=f"{each:02x}" * 32, size=SIZE, codec="raw", type="t", nonce="01") for each in range(4)]
    bed = Regions(wanting(1, [gather([*parts, number(3)])]))
    for part in parts:
        bed.far.add(part)
    bed.driver().drive()
    assert len(bed.transfers()) == 4
    assert bed.cluster.clock.monotonic() < 4.0


def test_two_generations_of_the_same_bytes_are_two_transfers() -> None:
    other = Ref(digest=BLOB.digest, size=SIZE, codec="raw", type="builtins.bytes", nonce="2233")
    bed = Regions(wanting(2, [BLOB, other]))
    bed.far.add(other)
    bed.driver().drive()
    assert {row.name for row in bed.transfers()} == {NAME, "transfer[abababab.2233 far->local]"}


def test_what_is_there_already_is_not_brought_and_what_nobody_has_is_the_attempt_s_to_miss() -> None:
    bed = Regions(wanting(2))
    bed.store.add(BLOB)
    bed.driver().drive()
    assert not bed.transfers()
    bed = Regions(wanting(2))
    bed.far.lose(BLOB)
    bed.driver().drive()
    assert not bed.transfers()


class Unasked(MemoryBlobs):
    """A store that nobody is to ask."""

    def size(self, digest: str, nonce: str) -> int | None:
        raise AssertionError(f"asked for {digest[:8]}.{nonce}")


def test_with_one_region_nothing_is_asked() -> None:
    bed = Bed(gives, wanting(3))
    bed.store = Unasked()
    assert bed.driver().drive().state == "succeeded"


def test_a_transfer_that_crashes_or_is_refused_is_tried_again() -> None:
    fates = ["crash", "refused"]

    def mover(order: Move) -> Behaviour:
        yield Wait(1.0)
        if fates and (fate := fates.pop()) == "crash":
            raise Death("crash")
        if fates:
            raise ValueError(fate)
        bed.arrive(order)
        return None

    bed = Regions(wanting(2), mover)
    assert bed.driver().drive().state == "succeeded"
    assert bed.transfers()[0].attempts == 3
    assert len(bed.events(Moved)) == 1


def broken(_: Move) -> Behaviour:
    yield Wait(1.0)
    raise ValueError("the line is dead")


def test_a_transfer_that_comes_to_nothing_takes_those_along_that_wait_for_it_and_is_tried_again_by_resume() -> None:
    sketch = wanting(2)
    sketch.node("alone", x=Const(number(1)))
    bed = Regions(sketch, broken)
    driver = bed.driver()
    assert driver.drive().state == "failed"
    tasks = bed.run.record.tasks
    assert {name: row.state for name, row in tasks.items()} == {
        "use": "failed", "use[1]": "failed", "alone": "succeeded", NAME: "failed",
    }  # fmt: skip
    assert f"`{NAME}` failed: user after 4 attempts: ValueError: the line is dead" in tasks["use"].reason
    assert bed.closed[-1].why.startswith("task `use` and 1 more failed")
    bed.take()
    bed.cluster.mover = moving(arrive=bed.arrive)
    driver = bed.driver()
    driver.adopt()
    driver.open([Taken(2, "me", bed.cluster.clock.now(), again=True)])
    assert driver.drive().state == "succeeded"
    assert tasks[NAME].attempts == 5
    assert len(bed.events(Moved)) == 1


def test_a_task_that_comes_late_to_a_transfer_that_has_failed_fails_with_it() -> None:
    sketch = Sketch()
    first = sketch.node("use", data=Const(BLOB))
    slow = sketch.node("slow")
    sketch.node("late", data=Const(BLOB), x=slow)
    sketch.node("after", x=first)

    def script(order: Do) -> Behaviour:
        yield Wait(100.0)
        return number(1)

    bed = Regions(sketch, broken)
    bed.cluster.script = script
    bed.driver().drive()
    assert len(bed.events(Lacked)) == 1
    assert {name: row.state for name, row in bed.run.record.tasks.items()} == {
        "use": "failed", "slow": "succeeded", "late": "failed", "after": "skipped", NAME: "failed",
    }  # fmt: skip


def test_a_transfer_that_ended_while_no_driver_lived_counts_and_is_not_made_again() -> None:
    bed = Regions(wanting(3))
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    bed.take()
    driver = bed.driver()
    check(bed.machine)
    assert [task.phase for task in bed.machine.tasks.values()] == ["fetching", "fetching", "fetching", "running"]
    driver.adopt()
    driver.open([Taken(2, "me", bed.cluster.clock.now(), region="local")])
    assert driver.drive().state == "succeeded"
    assert (len(bed.events(Moved)), len(bed.events(Lacked)), bed.transfers()[0].attempts) == (1, 1, 1)


def test_a_run_that_goes_on_in_another_region_brings_what_it_has_made_there() -> None:
    sketch = Sketch()
    data = sketch.node("make")
    sketch.node("use", data=data)
    made = Ref(digest="cd" * 32, size=SIZE, codec="raw", type="builtins.bytes", nonce="0001")

    def script(order: Do) -> Behaviour:
        bed.store.add(made)
        yield Wait(1.0 if order.task == "make" else 100.0)
        return made

    bed = Regions(sketch)
    bed.cluster.script = script
    driver = bed.driver()
    until(driver, bed, lambda: [event.task for event in bed.events(Launched)] == ["make", "use"])
    bed.store.lose(made)
    bed.far.add(made)  # the run was there until now, one may say
    bed.take()
    driver = bed.driver()
    driver.adopt()
    driver.open([Taken(2, "me", bed.cluster.clock.now(), pool="here", region="local")])
    assert driver.drive().state == "succeeded"
    assert [row.name for row in bed.transfers()] == ["transfer[cdcdcdcd far->local]"]


def test_the_tracer_s_answer_waits_until_its_region_has_the_value() -> None:
    def tracer(_: object) -> Behaviour:
        sketch = Sketch()
        made = sketch.node("make", data=Const(number(1)))
        yield Say(sketch.traced())
        answer = yield Ask(Asked(0, made))
        answered.append(answer)
        yield Say(TraceEnded())
        return None

    answered: list[object] = []
    bed = Regions(Sketch())
    bed.cluster.tracer = tracer
    bed.cluster.script = blob
    bed.driver().drive()
    assert [row.name for row in bed.transfers()] == [NAME]
    assert answered
    assert bed.cluster.clock.monotonic() >= 2.0
    bed = Regions(Sketch(), broken)
    bed.cluster.tracer = tracer
    bed.cluster.script = blob
    answered.clear()
    bed.driver().drive()
    assert "can't be brought here" in str(answered)


def test_a_cancelled_run_stops_what_is_on_its_way() -> None:
    bed = Regions(wanting(2), moving(1e3))
    driver = bed.driver()
    until(driver, bed, lambda: bool(bed.events(Launched)))
    bed.ledger.signal("run-1", "cancel", body="now")
    assert driver.drive().state == "cancelled"
    assert {row.state for row in bed.run.record.tasks.values()} == {"cancelled"}


def test_a_run_rebuilt_from_its_events_has_its_transfers() -> None:
    for mover in (None, broken):
        bed = Regions(wanting(3), mover)
        bed.driver().drive()
        again = Machine()
        for body in bed.run.events():
            again.step(decode_event(body))
            check(again)
        assert {name: task.row() for name, task in again.tasks.items()} == bed.run.record.tasks
        kinds = {type(event) for event in map(decode_event, bed.run.events())}
        assert {Opened, Lacked, Deferred, Launched, Closed} <= kinds
        assert kinds & {Moved, Failed}


def blob(order: Do) -> Behaviour:
    yield Wait(0.1)
    return BLOB


class Counting(MemoryBlobs):
    """A store that counts how often it is asked."""

    asked = asked_at_once = 0

    def size(self, digest: str, nonce: str) -> int | None:
        self.asked += 1
        return super().size(digest, nonce)

    def sizes(self, generations: Iterable[tuple[str, str]]) -> list[int | None]:
        self.asked_at_once += 1
        return [self.held.get(each) for each in generations]


def test_a_store_far_away_is_asked_once_for_what_many_tasks_may_reuse() -> None:
    def script(order: Do) -> Behaviour:
        yield Wait(1.0)
        return bed.store.add(
            Ref(digest=order.key, size=8, codec="raw", type="builtins.int", nonce="01")
            if order.task != "source"
            else number(1)
        )

    bed = Bed(script, fan(50))
    bed.driver().drive()
    bed.again("run-2")
    bed.cluster.tracer = tracing(fan(50).events())
    counting = Counting()
    counting.held = bed.store.held
    bed.store = counting
    assert bed.driver(far=True).drive().state == "succeeded"
    assert {row.state for row in bed.run.record.tasks.values()} == {"reused"}
    assert (counting.asked, counting.asked_at_once) == (1, 1)  # the last task alone, and all leaves together
