"""Where drivers are tried: a ledger in memory, and a simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.behaviour import Behaviour, Moving, Script, Tracing, Wait, tracing
from headrace.backends.simulated.cluster import Cluster
from headrace.run.driver.driver import Driver
from headrace.run.driver.sites import Ground
from headrace.run.events import Event, Opened, Taken, decode_event
from headrace.run.machine.machine import Machine
from headrace.run.ports import RunRow, TaskRow
from headrace.run.wire import Do
from headrace.spec.fleet import Pool, Shape
from headrace.spec.policy import Policy
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.graphs import BUNDLE, Sketch, number
from headrace.testing.ledger import MemoryLedger

POOL = Pool(name="here", cpu=4, memory_gib=4, nodes=4, usd_per_hour=4.0, machines=(Shape(cpu=4, memory_gib=4),))
E = TypeVar("E", bound=Event)


class Bed:
    """Where drivers are tried: a ledger, and a simulated cluster."""

    def __init__(
        self, script: Script, trace: Tracing | Sketch, policy: Policy | None = None, mover: Moving | None = None
    ) -> None:
        tracer = tracing(trace.events()) if isinstance(trace, Sketch) else trace
        self.cluster = Cluster(script, tracer=tracer, mover=mover, nodes=POOL.nodes)
        self.ledger = MemoryLedger(POOL)
        self.store = MemoryBlobs()
        self.policy = policy or Policy()
        self.rows: list[TaskRow] = []
        self.closed: list[RunRow] = []
        self.run = self.ledger.open("run-1")

    def driver(self, **more: object) -> Driver:
        """Return a driver of the run, which has replayed what is stored, and opened it if nothing was."""
        self.machine = Machine()
        for body in self.run.events():
            self.machine.step(decode_event(body))
        self.backend = SimulatedBackend(POOL, self.cluster)
        ground: dict[str, Any] = {"backend": self.backend, "store": self.store}
        ground |= {name: more.pop(name) for name in ("backend", "elsewhere", "far") if name in more}
        given: dict[str, object] = {
            "machine": self.machine,
            "ledger": self.run,
            "grounds": [Ground(**ground)],
            "clock": self.cluster.clock,
            "next_seq": self.run.next_seq,
            "rows": self.rows.extend,
            "closed": self.closed.append,
        }
        driver = Driver(**(given | more))  # type: ignore[arg-type]
        now = self.cluster.clock.now()
        if self.run.next_seq == 0:
            driver.open([Opened("run", (), BUNDLE, now, policy=self.policy), Taken(self.run.epoch, "me", now)])
            driver.trace()
        return driver

    def events(self, kind: type[E]) -> list[E]:
        """Return the stored events of a kind."""
        return [event for event in map(decode_event, self.run.events()) if isinstance(event, kind)]

    def again(self, run: str) -> None:
        """Begin another run on the same ledger."""
        self.run = self.ledger.open(run)

    def take(self) -> None:
        """Lose the driver, and take the run."""
        self.backend.abandon()
        self.run = self.ledger.take(self.run.record.run)


class OtherSettings:
    """Settings that have a region `far` (implements `run.ports.AbsentRegions`). `names` are the runs that were in this
    region, and the generations that it may have. `asked` are the names that were asked for."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[str] = []

    def may_have(self, generation: str) -> set[str]:
        """Return the region if it may have a generation."""
        return self.of_run(generation)

    def of_run(self, run: str) -> set[str]:
        """Return the region if a run was in it."""
        self.asked.append(run)
        return {"far"} if run in self.names else set()

    def erased(self, generation: str) -> str | None:
        """Return None: nothing was erased."""
        return None


def gives(order: Do) -> Behaviour:
    """Yield a number made of the key, after a second."""
    yield Wait(1.0)
    return number(int(order.key[:8], 16))


def until(driver: Driver, bed: Bed, holds: Callable[[], bool], most: int = 1000) -> None:
    """Tick until something holds."""
    for _ in range(most):
        if holds():
            return
        driver.tick(0.2)
    raise AssertionError("it did not come to that")
