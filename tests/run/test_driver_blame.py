"""The drive loop and notices that cross: who is blamed for what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.run.driver.driver import Driver
from headrace.run.driver.sites import Ground
from headrace.run.events import Opened, Succeeded, Taken, encode_event
from headrace.run.machine.machine import Machine
from headrace.run.ports import STOPPED, Beat, Died, Heard, Job, Notice
from headrace.run.wire import Down, Question, Report, Trace
from headrace.spec.graph import Const
from headrace.spec.stage import Resources
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.clock import FakeClock
from headrace.testing.graphs import BUNDLE, Sketch, number
from headrace.testing.ledger import MemoryLedger
from tests.run.bed import POOL


class Recited:
    """A backend that says what it is given to say, one list a tick (`run.ports.Backend`)."""

    def __init__(self) -> None:
        self.pool = POOL
        self.ahead_s = 0.01
        self.grace_s = 1.0
        self.says: list[list[Notice]] = []
        self.closed: list[int] = []
        self.told: list[tuple[int, Down]] = []

    def start(self, jobs: Sequence[Job]) -> None: ...
    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        self.told += [(worker, message) for message in messages]

    def adopt(self) -> Iterable[Heard]:
        return ()

    def events(self, timeout_s: float) -> list[Notice]:
        return self.says.pop(0) if self.says else []

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        self.closed += workers or ()

    def abandon(self) -> None: ...


def test_an_attempt_that_ended_just_before_its_worker_was_is_not_blamed_nor_is_the_next() -> None:
    clock, backend, ledger = FakeClock(), Recited(), MemoryLedger(POOL)
    sketch = Sketch()
    sketch.declare("short", timeout_s=1.0, resources=Resources(cpu=4))
    for each in range(3):
        sketch.node("short", x=Const(number(each)))
    machine, run = Machine(), ledger.open("run-1")
    driver = Driver(machine=machine, ledger=run, grounds=[Ground(backend=backend, store=MemoryBlobs())], clock=clock)
    driver.open([Opened("run", (), BUNDLE, clock.now()), Taken(1, "me", clock.now()), *sketch.events()])

    def say(*notices: Notice) -> None:
        backend.says.append(list(notices))
        driver.tick(0.0)

    def done(task: str, seq: int) -> Heard:
        event = Succeeded(task, 1, number(seq), started=clock.now(), seconds=0.001)
        return Heard(1, Report(seq, encode_event(event)))

    say()
    say(done("short", 1))
    assert [task.name for task in machine.running()] == ["short[1]", "short[2]"]
    say(Beat(1, 1, clock.now(), 0.0, 0.0))
    clock.advance(5.0)
    say(Beat(1, 1, clock.now(), 0.0, 0.0))
    assert backend.closed == [1]
    say(done("short[1]", 2), Died(1, "cancelled", "it was killed"))
    assert machine.tasks["short[1]"].phase == "succeeded"
    assert machine.tasks["short[2]"].failures == {"lost": 1}


def test_a_cancelled_attempt_says_how_its_worker_ended_unless_it_ended_in_time() -> None:
    for ended, reason in (
        (STOPPED, "the run was cancelled"),
        ("it was killed", "the run was cancelled; it was killed"),
    ):
        clock, backend, ledger = FakeClock(), Recited(), MemoryLedger(POOL)
        sketch, machine, run = Sketch(), Machine(), ledger.open("run-1")
        sketch.declare("long")
        sketch.node("long", x=Const(number(0)))
        grounds = [Ground(backend=backend, store=MemoryBlobs())]
        driver = Driver(machine=machine, ledger=run, grounds=grounds, clock=clock)
        driver.open([Opened("run", (), BUNDLE, clock.now()), Taken(1, "me", clock.now()), *sketch.events()])
        driver.tick(0.0)
        driver.interrupt()
        driver.tick(0.0)
        assert backend.closed == [1]
        backend.says.append([Died(1, "cancelled", ended)])
        driver.tick(0.0)
        assert machine.tasks["long"].reason == reason


def test_a_tracer_that_is_begun_anew_is_not_told_what_the_one_before_had_asked() -> None:
    clock, backend, ledger = FakeClock(), Recited(), MemoryLedger(POOL)
    run = ledger.open("run-1")
    driver = Driver(machine=Machine(), ledger=run, grounds=[Ground(backend=backend, store=MemoryBlobs())], clock=clock)
    driver.open([Opened("run", (), BUNDLE, clock.now()), Taken(1, "me", clock.now())])
    driver.trace()
    backend.says.append([Heard(0, Question(0, "now")), Died(0, "crash", "it crashed")])
    driver.tick(0.0)
    assert [(worker, type(message)) for worker, message in backend.told] == [(0, Trace), (0, Trace)]
