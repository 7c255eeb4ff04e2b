"""The machines of a simulation: workers on nodes, an agenda, and what workers spilled. They outlive any driver."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from headrace.backends.simulated.behaviour import Moving, Script, Tracing, moving, tracing
from headrace.backends.simulated.clock import VirtualClock
from headrace.backends.simulated.worker import Worker
from headrace.run.ports import Beat, Died, Heard, Job, Notice
from headrace.run.wire import Do, Up

BEAT_S = 0.2


class Cluster:
    """Where simulated workers live (`simulated.worker.Place`).

    `script` says what attempts do, `tracer` what the tracer does, `mover` what transfers do. `start_s` is how long a
    worker takes to begin; None: it can't. Workers beat only where it matters, when an attempt begins and once it is
    past its timeout; `beats` has them all beat five times a second. Workers are dealt to nodes one after another; the
    tracer lives on none of them.
    """

    def __init__(
        self,
        script: Script,
        *,
        tracer: Tracing | None = None,
        mover: Moving | None = None,
        nodes: int = 1,
        clock: VirtualClock | None = None,
        start_s: Callable[[Job], float | None] | float = 0.0,
        beats: bool = False,
    ) -> None:
        self.script = script
        self.tracer = tracing(()) if tracer is None else tracer
        self.mover = moving() if mover is None else mover
        self.nodes = nodes
        self.clock = clock or VirtualClock()
        self.notices: list[Notice] = []
        self.workers: dict[int, Worker] = {}
        self.leftover: set[Worker] = set()
        self.spool: list[Heard] = []
        self._start_s = start_s
        self.beats = beats
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._dealt = 0

    # -- time ----------------------------------------------------------------------------------------------------

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Schedule something so many seconds after the simulation began; at once if that has passed."""
        self._count += 1
        heapq.heappush(self._agenda, (max(when, self.clock.monotonic()), self._count, act))

    def run(self, until: float, *, stop: Callable[[], bool]) -> None:
        """Advance the time up to a moment, or until `stop` says so; what happens at one instant happens whole."""
        while self._agenda and self._agenda[0][0] <= until:
            if stop() and self._agenda[0][0] > self.clock.monotonic():
                return
            when, _, act = heapq.heappop(self._agenda)
            self.clock.advance(when)
            act()
        if not stop():
            self.clock.advance(until)

    # -- workers -------------------------------------------------------------------------------------------------

    def begin(self, job: Job) -> None:
        """Begin a worker."""
        worker = Worker(self, job, -1 if job.tracer else self._dealt % self.nodes)
        self._dealt += not job.tracer
        self.workers[job.worker] = worker
        pause = self._start_s(job) if callable(self._start_s) else self._start_s
        if pause is None:
            worker.die(Died(job.worker, "lost", "it could not be begun"))
        else:
            self.later(worker, pause)

    def orphan(self) -> None:
        """The driver is gone: workers end what they have been told, and spill."""
        self.leftover.update(self.workers.values())
        self.workers.clear()
        self.notices.clear()
        for worker in sorted(self.leftover, key=lambda worker: worker.number):
            worker.unheard()

    def lose_worker(self, number: int, why: str = "its machine went away") -> None:
        """Lose a worker through no fault of its task."""
        worker = self.workers.get(number)
        if worker is not None:
            worker.die(Died(number, "lost", why))

    def lose_node(self, node: int) -> None:
        """Lose all workers of a node."""
        for worker in [worker for worker in self.workers.values() if worker.node == node]:
            self.lose_worker(worker.number, f"node {node} went away")

    @property
    def living(self) -> int:
        """How many workers live, those that no driver knows of included."""
        return len(self.workers) + len(self.leftover)

    # -- what workers want of it ---------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        return self.clock.now()

    def later(self, worker: Worker, seconds: float) -> None:
        """Wake a worker after so many seconds, unless it has gone on meanwhile."""
        turn = worker.turn

        def wake() -> None:
            if worker.alive and worker.turn == turn:
                worker.wake()

        self.at(self.clock.monotonic() + seconds, wake)

    def say(self, worker: Worker, message: Up) -> None:
        """Carry what a worker says, if somebody listens."""
        if self.workers.get(worker.number) is worker:
            self.notices.append(Heard(worker.number, message))

    def begun(self, worker: Worker) -> None:
        """An attempt has begun: beat, and come back when it should have ended."""
        order = worker.order
        assert order is not None
        if self.beats:
            self._beat(worker, worker.done, BEAT_S)
        elif isinstance(order, Do) and order.timeout_s is not None:
            self._beat(worker, worker.done, order.timeout_s + BEAT_S)

    def gone(self, worker: Worker, died: Died) -> None:
        """A worker has ended: its driver hears of it, or finds what it spilled."""
        if self.workers.get(worker.number) is worker:
            del self.workers[worker.number]
            self.notices.append(died)
        elif worker in self.leftover:
            self.leftover.discard(worker)
            if died.kind == "cancelled":
                self.spool += worker.spilled

    def _beat(self, worker: Worker, done: int, pause: float) -> None:
        if worker.alive and worker.done == done and worker.order is not None:
            if self.workers.get(worker.number) is worker:
                self.notices.append(Beat(worker.number, done, worker.since, 0.0, 0.0))
            self.at(self.clock.monotonic() + pause, lambda: self._beat(worker, done, BEAT_S))
