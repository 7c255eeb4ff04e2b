"""A whole run in virtual time: driver, simulated machines, a ledger in memory; any driver may be lost at any tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.backends.simulated.backend import SimulatedBackend
from headrace.backends.simulated.behaviour import Behaviour, Death, Keep, Say, Wait, tracing
from headrace.backends.simulated.clock import Agenda
from headrace.backends.simulated.cluster import Cluster
from headrace.errors import BackendError
from headrace.run.driver.driver import Driver
from headrace.run.driver.sites import Ground
from headrace.run.events import (
    Checkpointed,
    Event,
    Launched,
    Logged,
    Opened,
    Points,
    Renewed,
    Succeeded,
    Taken,
    decode_event,
)
from headrace.run.machine.invariants import check
from headrace.run.machine.machine import Machine
from headrace.run.ports import Batch, Notice
from headrace.run.wire import Do
from headrace.spec.artifact import Ref
from headrace.spec.fleet import Pool
from headrace.spec.policy import Policy
from headrace.testing.blobs import MemoryBlobs
from headrace.testing.graphs import BUNDLE, number
from headrace.testing.ledger import MemoryLedger, MemoryRun
from tests.run.scenes import Scene, output

POOL = Pool(name="here", cpu=4, memory_gib=4, nodes=2)
SPREAD = (POOL, Pool(name="there", cpu=4, memory_gib=4, nodes=2, region="there"))
"""Two pools in two regions, for a run over several pools."""
BEAT_S = 1.0
POINTS = Points("loss", (7).to_bytes(8, "little"), bytes(8), bytes(4))
"""One point at the step 7."""


class Crash(Exception):
    """The driver is gone."""


class FragileRun:
    """A run's ledger whose driver dies at its n-th commit: before it is stored, or right after."""

    def __init__(self, run: MemoryRun, dies_at: int | None, *, stored: bool) -> None:
        self._run = run
        self._left = dies_at
        self._stored = stored
        self.results, self.earlier, self.inbox, self.grant = run.results, run.earlier, run.inbox, run.grant

    def commit(self, batch: Batch) -> None:
        if self._left == 0 and not self._stored:
            raise Crash
        self._run.commit(batch)
        if self._left == 0:
            raise Crash
        if self._left is not None:
            self._left -= 1


class Mortal(SimulatedBackend):
    """A backend whose pool stops answering at a certain time, and answers again after another."""

    def __init__(self, pool: Pool, cluster: Cluster, gone_at: float, back_at: float = float("inf")) -> None:
        super().__init__(pool, cluster)
        self._gone_at, self._back_at = gone_at, back_at

    def events(self, timeout_s: float) -> list[Notice]:
        if self._gone_at <= self.cluster.clock.monotonic() < self._back_at:
            raise BackendError(f"pool `{self.pool.name}` has not answered for 20 s")
        return super().events(timeout_s)


class World:
    """One run of a scene; `fates` say which stages come to grief, and how, each time that they run.

    Each of the `pools` has a cluster. The next driver uses those in `used`, by their place in `pools`.
    Those in `gone` don't answer from one time to another.
    """

    def __init__(
        self, scene: Scene, fates: Mapping[str, str], policy: Policy | None = None, pools: Sequence[Pool] = (POOL,)
    ) -> None:
        self.fates = fates
        self.pools = pools
        agenda = Agenda()
        self.clusters = [
            Cluster(self._script, tracer=tracing(scene.events), nodes=pool.nodes, start_s=0.5, agenda=agenda)
            for pool in pools
        ]
        self.cluster = self.clusters[0]
        self.used: Sequence[int] = range(len(pools))
        self.gone: dict[int, tuple[float, float]] = {}
        self.ledger = MemoryLedger(*pools)
        self.run = self.ledger.open("scene")
        self.opened = Opened("scene", (), BUNDLE, self.cluster.clock.now(), policy=policy or Policy())
        self.machine = Machine()

    def _script(self, order: Do) -> Behaviour:
        yield Wait(int(order.key[:4], 16) % 50 / 10)
        yield Say(Logged(order.task, order.attempt, self.cluster.clock.now(), (POINTS,)))
        match self.fates.get(order.function.partition(":")[2]):
            case "raises":
                raise ValueError("it never works")
            case "crashes":
                raise Death("crash", "it never works")
            case "hangs":
                yield Wait(1e6)
            case "keeps":
                for _ in range(3):
                    yield Keep(number(order.attempt))
                yield Wait(2.0)
        return output(order.function, order.key)

    def drive(self, dies_at: int | None = None, *, stored: bool = True, new_code: bool = False) -> bool:
        """Have a driver go on with the run; return whether it came to its end, or died at its n-th commit.

        With `new_code`, the run is traced again from the start.
        """
        fragile = FragileRun(self.run, dies_at, stored=stored)
        self.machine = Machine()
        for body in self.run.events():
            self.machine.step(decode_event(body))
        stale = self.run.inbox()
        backends = [SimulatedBackend(pool, cluster) for pool, cluster in zip(self.pools, self.clusters, strict=True)]
        clock = self.cluster.clock
        driver = Driver(
            machine=self.machine,
            ledger=fragile,
            grounds=[Ground(backend=backends[place], store=MemoryBlobs()) for place in self.used],
            clock=clock,
            next_seq=self.run.next_seq,
            beat_s=BEAT_S,
        )
        new_code = new_code and self.run.next_seq > 0
        again = self.run.next_seq > 0 and not new_code
        home, *others = [self.pools[place] for place in self.used]
        places = tuple((pool.name, pool.region) for pool in others)
        first: list[Event] = [Taken(self.run.epoch, "world", clock.now(), again, home.name, home.region, places)]
        if not self.run.next_seq:
            first.insert(0, self.opened)
        if new_code:
            first.append(Renewed(BUNDLE, clock.now(), counted=True))
        try:
            if self.run.next_seq:
                left = [backend for place, backend in enumerate(backends) if place not in self.used]
                driver.adopt(keep=not new_code, left=left)
            if new_code or self.machine.closed is None or self.machine.closed.state != "succeeded":
                driver.open(first, stale)
            if not self.machine.trace_ended:
                driver.trace()
            driver.drive()
        except Crash:
            return False
        assert not any(cluster.living for cluster in self.clusters)
        return True

    def lose_driver(self, pause: float) -> None:
        """The driver is gone, and its process with it; after a while another takes the run."""
        for cluster in self.clusters:
            cluster.orphan()
        self.cluster.run(self.cluster.clock.monotonic() + pause, stop=lambda: False)
        self.run = self.ledger.take("scene")

    def cancel(self, after: float, *, now: bool) -> None:
        """Have somebody cancel the run a while from now."""
        at = self.cluster.clock.monotonic() + after
        self.cluster.at(at, lambda: self.ledger.signal("scene", "cancel", body="now" if now else ""))

    def forget_cancels(self) -> None:
        """Let pass by what came too late for any driver to heed, and take the run."""
        self.cluster.run(self.cluster.clock.monotonic() + 100, stop=lambda: False)
        self.run = self.ledger.take("scene")
        self.run.record.inbox.clear()

    def lose_node(self, after: float, node: int) -> None:
        """Have a node go away a while from now."""
        self.cluster.at(self.cluster.clock.monotonic() + after, lambda: self.cluster.lose_node(node))

    def check(self) -> None:
        """Check what is to hold of a run that has ended: nothing ran twice, and the rows are what the machine says."""
        check(self.machine)
        keys: dict[tuple[str, int], str] = {}
        done: set[tuple[str, str]] = set()
        told: set[bytes] = set()
        for body in self.run.events():
            match decode_event(body):
                case Renewed():
                    keys.clear()
                case Logged() | Checkpointed():
                    assert body not in told, "what an attempt said once is stored twice"
                    told.add(body)
                case Launched(task=task, attempt=attempt, key=key):
                    assert (task, key) not in done, f"`{task}` ran again though it had succeeded"
                    keys[task, attempt] = key
                case Succeeded(task=task, attempt=attempt):
                    key = keys[task, attempt]
                    assert (task, key) not in done, f"`{task}` succeeded twice"
                    done.add((task, key))
        rows = {name: task.row() for name, task in self.machine.tasks.items()}
        assert self.run.record.tasks == rows
        row, closed = self.run.record.row, self.machine.closed
        assert row is not None
        assert closed is not None
        assert row.state == closed.state

    @property
    def state(self) -> str:
        """How the run has ended."""
        return "" if self.machine.closed is None else self.machine.closed.state

    def outcome(self) -> dict[str, tuple[str, Ref | None]]:
        """Return what each task came to."""
        return {name: ("good" if task.good else task.phase, task.out) for name, task in self.machine.tasks.items()}
