"""The drive loop in virtual time: how attempts go, and runs end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace

from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.behaviour import Behaviour, Death, Keep, Listen, Wait, tracing
from headrace.backends.simulated.cluster import Cluster
from headrace.run.driver.courier import Courier
from headrace.run.driver.sites import Ground, Sites
from headrace.run.events import (
    Failed,
    Launched,
    Recalled,
    Succeeded,
    Told,
    Woke,
)
from headrace.run.wire import Do, Down, Whisper
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.graph import Const, Many, Secret
from headrace.spec.policy import Policy
from headrace.spec.stage import Resources
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.graphs import Sketch, chain, fan, number, numbers, spread
from tests.run.bed import POOL, Bed, OtherSettings, gives, until


def test_a_run_comes_to_its_end_and_its_rows_say_how() -> None:
    bed = Bed(gives, chain(3))
    assert bed.driver().drive().state == "succeeded"
    assert {row.state for row in bed.run.record.tasks.values()} == {"succeeded"}
    row = bed.run.record.tasks["step"]
    assert (row.seconds, row.usd, row.pool, row.attempts) == (1.0, pytest.approx(1.0 / 3600), "here", 1)
    assert bed.closed[0].usd == pytest.approx(3.0 / 3600)
    assert bed.run.record.row == bed.closed[0]
    assert not bed.cluster.living


def one_at_a_time(seconds: float, *tasks: str) -> Bed:
    """Tasks that need nothing but a pool that has room for one of them."""
    sketch = Sketch()
    for task in tasks:
        sketch.declare(task, resources=Resources(cpu=POOL.cpu))
        sketch.node(task)

    def works(order: Do) -> Behaviour:
        yield Wait(seconds)
        return number(1)

    return Bed(works, sketch)


def test_a_launch_says_how_long_the_pool_had_no_room_for_it() -> None:
    bed = one_at_a_time(30.0, "first", "second", "third")
    assert bed.driver().drive().state == "succeeded"
    waits = {launch.task: launch.queued_s for launch in bed.events(Launched)}
    assert waits == {"first": 0.0, "second": pytest.approx(30.0, abs=0.1), "third": pytest.approx(60.0, abs=0.1)}


def test_the_row_of_a_task_says_how_long_the_pool_had_no_room_for_it() -> None:
    bed = one_at_a_time(30.0, "first", "second")
    driver = bed.driver()
    until(driver, bed, lambda: "second" in bed.run.record.tasks)
    assert bed.run.record.tasks["second"].queued_s is None
    driver.drive()
    waits = {name: row.queued_s for name, row in bed.run.record.tasks.items()}
    assert waits == {"first": 0.0, "second": pytest.approx(30.0, abs=0.1)}
    bed.driver()  # which rebuilds them from what is stored
    assert {name: task.queued_s for name, task in bed.machine.tasks.items()} == waits


def test_a_map_was_queued_as_long_as_its_elements_together() -> None:
    sketch = Sketch()
    sketch.declare("leaf", resources=Resources(cpu=POOL.cpu))
    sketch.node("leaf", over=["i"], i=numbers(0, 1, 2))
    bed = Bed(gives, sketch)
    bed.driver().drive()
    leaf, *elements = (row.queued_s or 0.0 for row in bed.run.record.tasks.values())
    assert elements == [pytest.approx(each, abs=0.1) for each in (0.0, 1.0, 2.0)]
    assert leaf == sum(elements)


def test_the_next_run_reuses_all_that_is_there() -> None:
    bed = Bed(gives, fan(5))
    bed.driver().drive()
    bed.again("run-2")
    bed.cluster.tracer = tracing(fan(5).events())
    bed.driver().drive()
    assert {row.state for row in bed.run.record.tasks.values()} == {"reused"}
    assert {row.queued_s for row in bed.run.record.tasks.values()} == {None}
    assert {row.reason for row in bed.run.record.tasks.values()} == {
        "nothing that determines it has changed since run run-1"
    }
    assert not bed.events(Launched)


def that_lost_an_output() -> Bed:
    """A second run of a task whose output in the first run has gone from the store."""

    def script(order: Do) -> Behaviour:
        bed.store.add(output)
        yield Wait(1.0)
        return output

    output = Ref(digest="ab" * 32, size=10, codec="raw", type="bytes", nonce="n1")
    bed = Bed(script, chain(1))
    bed.driver().drive()
    assert bed.run.record.kept >= {("ab" * 32, "n1")}
    bed.store.lose(output)
    bed.again("run-2")
    bed.cluster.tracer = tracing(chain(1).events())
    return bed


def test_an_output_that_is_gone_from_the_store_is_made_again() -> None:
    bed = that_lost_an_output()
    bed.driver().drive()
    assert bed.run.record.tasks["step"].reason == "its output of run run-1 is gone from the store"


def test_an_output_that_may_be_in_a_region_of_other_settings_is_made_again_and_the_reason_says_so() -> None:
    bed = that_lost_an_output()
    bed.driver(absent_regions=OtherSettings("run-1")).drive()
    why = "its output of run run-1 is not in the store; it may be in region `far`, which isn't in the settings"
    assert bed.run.record.tasks["step"].reason == why


def test_the_regions_of_a_run_are_asked_for_once_however_many_of_its_outputs_are_gone() -> None:
    def script(order: Do) -> Behaviour:
        yield Wait(1.0)
        return bed.store.add(Ref(digest=order.key, size=10, codec="raw", type="bytes", nonce="n1"))

    bed = Bed(script, spread(5))
    bed.driver().drive()
    bed.store.held.clear()
    bed.again("run-2")
    bed.cluster.tracer = tracing(spread(5).events())
    others = OtherSettings("run-1")
    bed.driver(absent_regions=others).drive()
    gone = [row for row in bed.run.record.tasks.values() if "may be in region `far`" in row.reason]
    assert len(gone) >= 5
    assert others.asked == ["run-1"]


def test_what_was_taken_from_the_store_before_its_success_is_recorded_is_made_again() -> None:
    ref = Ref(digest="ab" * 32, size=10, codec="raw", type="bytes", nonce="n1")

    def script(order: Do) -> Behaviour:
        bed.store.add(ref)
        yield Wait(7200.0)
        if order.attempt == 1:
            bed.store.lose(ref)
        return ref

    bed = Bed(script, chain(1))
    assert bed.driver().drive().state == "succeeded"
    (failed,) = bed.events(Failed)
    assert failed.failure.kind == "lost"
    assert "was gone from the store before the task's success was recorded" in failed.failure.message
    assert bed.run.record.tasks["step"].attempts == 2


def test_what_another_run_made_is_verified_by_the_first_that_reads_it() -> None:
    orders: list[Do] = []
    ref = Ref(digest="cd" * 32, size=10, codec="raw", type="bytes", nonce="n1")

    def script(order: Do) -> Behaviour:
        orders.append(order)
        bed.store.add(ref)
        yield Wait(1.0)
        return ref

    bed = Bed(script, chain(1))
    bed.driver().drive()
    bed.again("run-2")
    bed.cluster.tracer = tracing(chain(2).events())
    bed.driver().drive()
    assert [order.verify for order in orders] == [(), (ref.digest,)]


def test_a_stage_that_ran_past_its_timeout_is_ended_and_one_behind_it_is_lost() -> None:
    sketch = Sketch()
    sketch.declare("hangs", timeout_s=10.0)
    sketch.node("hangs")

    def script(order: Do) -> Behaviour:
        yield Wait(1e9)
        return number(1)

    bed = Bed(script, sketch)
    assert bed.driver().drive().state == "failed"
    [failed] = bed.events(Failed)
    assert failed.failure.kind == "timeout"
    assert failed.failure.hint == "raise `timeout`, or let the stage do less"
    assert bed.cluster.clock.monotonic() == pytest.approx(10, abs=2)


def test_a_failed_attempt_is_followed_by_others_after_a_pause_that_grows() -> None:
    sketch = Sketch()
    sketch.declare("flaky", retries=3, backoff_s=10.0)
    sketch.node("flaky")

    def script(order: Do) -> Behaviour:
        yield Wait(1.0)
        if order.attempt < 4:
            raise ValueError("not yet")
        return number(order.attempt)

    bed = Bed(script, sketch)
    assert bed.driver().drive().state == "succeeded"
    starts = [event.at for event in bed.events(Launched)]
    pauses = [later - earlier - 1.0 for earlier, later in pairwise(starts)]
    assert [10 <= pauses[0] <= 15.3, 20 <= pauses[1] <= 30.3, 40 <= pauses[2] <= 60.3] == [True] * 3
    assert len(bed.events(Woke)) == 3


def test_a_checkpoint_is_given_to_the_next_attempt() -> None:
    sketch = Sketch()
    sketch.declare("trains", retries=2)
    sketch.node("trains")
    orders: list[Do] = []

    def script(order: Do) -> Behaviour:
        orders.append(order)
        yield Keep(number(6 + order.attempt))
        yield Wait(1.0)
        if order.attempt < 3:
            raise Death("crash", "a bit flipped")
        return number(1)

    bed = Bed(script, sketch)
    assert bed.driver().drive().state == "succeeded"
    assert [order.checkpoint for order in orders] == [None, number(7), number(8)]
    assert [order.earlier for order in orders] == [None, None, number(7)]


def test_a_node_of_a_gang_that_dies_ends_the_others_and_all_begin_again() -> None:
    sketch = Sketch()
    sketch.declare("gang", resources=Resources(nodes=3), retries=1)
    sketch.node("gang")
    orders: list[Do] = []

    def script(order: Do) -> Behaviour:
        orders.append(order)
        yield Wait(2.0 - order.rank / 2)
        if order.attempt == 1 and order.rank == 1:
            raise Death("crash")
        return number(order.rank)

    bed = Bed(script, sketch)
    assert bed.driver().drive().state == "succeeded"
    assert [(order.attempt, order.rank, order.nodes) for order in orders] == [
        (attempt, rank, 3) for attempt in (1, 2) for rank in (0, 1, 2)
    ]
    assert bed.machine.tasks["gang"].out == number(0)
    assert len(bed.events(Failed)) == 1


def test_nodes_of_a_gang_that_fail_together_cost_one_attempt() -> None:
    sketch = Sketch()
    sketch.declare("gang", resources=Resources(nodes=2), retries=1, backoff_s=0.0)
    sketch.node("gang")

    def script(order: Do) -> Behaviour:
        yield Wait(1.0)
        if order.attempt == 1:
            raise ValueError("a collective was aborted")
        return number(order.rank)

    bed = Bed(script, sketch)
    assert bed.driver().drive().state == "succeeded"
    assert [event.failure.kind for event in bed.events(Failed)] == ["user"]


def test_an_idle_worker_that_was_part_of_a_gang_is_not_ended_for_what_befalls_the_others() -> None:
    sketch = Sketch()
    sketch.declare("gang", resources=Resources(nodes=2))
    sketch.node("gang")
    sketch.declare("other", resources=Resources(nodes=2), retries=0)
    sketch.node("other")

    def script(order: Do) -> Behaviour:
        if order.task == "gang":
            yield Wait(1.0 if order.rank == 0 else 0.1)
            if order.rank == 0:
                raise ValueError("late")
        else:
            yield Wait(5.0)
        return number(order.rank)

    bed = Bed(script, sketch)
    bed.driver().drive()
    assert {name: task.phase for name, task in bed.machine.tasks.items()} == {"gang": "failed", "other": "succeeded"}


def test_a_run_is_cancelled_from_its_inbox() -> None:
    def script(order: Do) -> Behaviour:
        yield Wait(1e6)
        return number(1)

    bed = Bed(script, fan(2))
    bed.cluster.at(5.0, lambda: bed.ledger.signal("run-1", "cancel", by="ann"))
    closed = bed.driver().drive()
    assert (closed.state, closed.why) == ("cancelled", "cancelled by ann")
    assert bed.run.record.inbox == []
    assert {row.state for row in bed.run.record.tasks.values()} == {"cancelled"}


def test_an_interrupt_lets_attempts_clean_up_and_a_second_one_does_not() -> None:
    cleaned: list[str] = []

    def script(order: Do) -> Behaviour:
        try:
            yield Wait(1e6)
        finally:
            cleaned.append(order.task)
            yield Wait(100.0)

    killed = "the run was cancelled; the attempt had not ended 5 s after it was told to stop, so it was killed"
    for interrupts, least, why in ((1, 4.0, killed), (2, 0.0, "the run was cancelled")):
        bed = Bed(script, chain(1))
        notes: list[str] = []
        driver = bed.driver(note=notes.append)
        until(driver, bed, lambda bed=bed: bed.machine.tasks.get("step") is not None and bed.machine.running() != [])
        began = bed.cluster.clock.monotonic()
        for _ in range(interrupts):
            driver.interrupt()
            driver.tick(0.0)
        assert driver.drive().state == "cancelled"
        assert bed.cluster.clock.monotonic() - began == pytest.approx(least, abs=1.5)
        assert bed.machine.tasks["step"].reason == why
        (note,) = notes
        assert note.startswith("interrupted: running attempts have 5 s to clean up and end, and are killed after that;")


def test_a_run_that_takes_too_long_fails() -> None:
    def script(order: Do) -> Behaviour:
        yield Wait(1e6)
        return number(1)

    bed = Bed(script, chain(1), Policy(timeout_s=60.0))
    closed = bed.driver().drive()
    assert (closed.state, closed.why) == ("failed", "the run took longer than 60 s")
    assert bed.cluster.clock.monotonic() == pytest.approx(60, abs=1)


def test_a_driver_that_is_told_another_limit_goes_by_that() -> None:
    def script(order: Do) -> Behaviour:
        yield Wait(100.0)
        return number(1)

    bed = Bed(script, chain(1), Policy(timeout_s=60.0))
    assert bed.driver(timeout_s=30.0).drive().why == "the run took longer than 30 s"
    assert bed.cluster.clock.monotonic() == pytest.approx(30, abs=1)


def test_who_wants_a_task_to_end_early_reaches_its_attempt_or_those_of_its_elements_and_is_recorded() -> None:
    for name, told in (("leaf", ["leaf[i=0]", "leaf[i=1]"]), ("leaf[i=1]", ["leaf[i=1]"]), ("sink", [])):

        def script(order: Do, told: list[str] = told) -> Behaviour:
            if order.task in told:
                assert (yield Listen()) == "stop"
            else:
                yield Wait(10.0)
            return number(1)

        bed = Bed(script, spread(2))
        bed.cluster.at(5.0, lambda bed=bed, name=name: bed.ledger.signal("run-1", "stop", by="ann", body=name))
        assert bed.driver().drive().state == "succeeded"
        assert bed.run.record.inbox == []
        assert [(each.task, each.attempt, each.by) for each in bed.events(Told)] == [(each, 1, "ann") for each in told]


def test_a_forced_stage_runs_though_its_output_is_there() -> None:
    bed = Bed(gives, chain(1), Policy(force=("step",)))
    bed.driver().drive()
    bed.again("run-2")
    bed.cluster.tracer = tracing(chain(1).events())
    bed.driver().drive()
    assert bed.run.record.tasks["step"].reason == "forced (`--force`)"


def test_what_changed_is_the_reason_to_run_again() -> None:
    bed = Bed(gives, chain(1))
    bed.driver().drive()
    sketch = Sketch()
    sketch.node("step", x=Const(number(5)), y=Const(number(6)))
    bed.again("run-2")
    bed.cluster.tracer = tracing(sketch.events())
    bed.driver().drive()
    assert bed.run.record.tasks["step"].reason == "`x` changed; `y` is new"


def test_what_waits_behind_an_attempt_that_takes_longer_than_was_thought_goes_elsewhere() -> None:
    sketch = Sketch()
    sketch.declare("short", resources=Resources(cpu=2))
    first = sketch.node("short")
    rest = [sketch.node("short", x=Const(number(each)), after=[first]) for each in range(12)]

    def script(order: Do) -> Behaviour:
        yield Wait(1000.0 if order.task == rest[0].task else 0.001)
        return number(1)

    bed = Bed(script, sketch)
    bed.cluster.beats = True
    driver = bed.driver()
    until(driver, bed, lambda: len(bed.events(Succeeded)) == 12)
    assert bed.cluster.clock.monotonic() < 2.0
    assert bed.events(Recalled)
    assert driver.drive().state == "succeeded"
    assert not bed.events(Failed)


def _idle(_: Do) -> Behaviour:
    yield Wait(0.0)
    return number(1)


class _Ears(SimulatedBackend):
    """A backend that keeps what it was to tell whom."""

    def __init__(self) -> None:
        super().__init__(Pool(name="here", cpu=1, memory_gib=1), Cluster(_idle))
        self.told: list[tuple[int, list[Down]]] = []

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        self.told.append((worker, list(messages)))


def test_a_secret_is_told_once_and_to_the_worker_alone_whose_task_is_given_it() -> None:
    backend = _Ears()
    courier = Courier(Sites([Ground(backend=backend, store=MemoryBlobs())], last=0), {"TOKEN": "geheim"}.get)
    plain = Do(task="a", attempt=1, key="", function="a", args=(), code="")
    given = replace(plain, args=(("x", Many("list", (Secret("TOKEN"), Secret("UNSET")))),))
    for worker, order in ((1, plain), (2, given), (2, given), (3, plain)):
        courier.post(worker, order)
        courier.dispatch()
    assert backend.told == [(1, [plain]), (2, [Whisper("TOKEN", "geheim"), given]), (2, [given]), (3, [plain])]
    courier.bury(2)
    courier.post(2, given)
    courier.dispatch()
    assert backend.told[-1] == (2, [Whisper("TOKEN", "geheim"), given])
