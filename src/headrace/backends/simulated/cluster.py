"""The machines of a simulation: workers on nodes, and spilled reports. They outlive a driver."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headrace.backends.simulated.behaviour import Moving, Script, Tracing, moving, tracing
from headrace.backends.simulated.clock import Agenda
from headrace.backends.simulated.worker import Worker
from headrace.run.ports import Beat, Delayed, Died, Heard, Job, Notice
from headrace.run.wire import Do, Up

BEAT_S = 0.2
SLOW_S = 3.0
"""How long a worker may take to start, in seconds, before the driver is told that the pool has no room for it."""


class Cluster:
    """A cluster of simulated workers (implements `simulated.worker.Place`).

    `script` is the behaviour of attempts, `tracer` is the behaviour of the tracer, and `mover` is the behaviour of
    transfers. `start_s` is how long a worker takes to start, in seconds, or a function that returns these seconds. If
    the function returns None, the worker can't start. If a worker takes longer than `SLOW_S`, its pool counts as full
    until the worker has started. Workers are placed on the nodes in turn. The tracer is on no node. If `beats` is true,
    all workers send a heartbeat five times a second. If `beats` is false, a worker sends a heartbeat only when an
    attempt with a timeout begins, and again after this timeout has passed. Clusters with the same `agenda` are one
    simulation.
    """

    def __init__(
        self,
        script: Script,
        *,
        tracer: Tracing | None = None,
        mover: Moving | None = None,
        nodes: int = 1,
        agenda: Agenda | None = None,
        start_s: Callable[[Job], float | None] | float = 0.0,
        beats: bool = False,
    ) -> None:
        self.script = script
        self.tracer = tracing(()) if tracer is None else tracer
        self.mover = moving() if mover is None else mover
        self.nodes = nodes
        self.agenda = agenda or Agenda()
        self.clock, self.at, self.run = self.agenda.clock, self.agenda.at, self.agenda.run
        self.agenda.heard.append(lambda: bool(self.notices))
        self.notices: list[Notice] = []
        self.workers: dict[int, Worker] = {}
        self.leftover: set[Worker] = set()
        self.spool: list[Heard] = []
        self._start_s = start_s
        self.beats = beats
        self._dealt = 0

    # -- workers -------------------------------------------------------------------------------------------------

    def begin(self, job: Job) -> None:
        """Start a worker for a job. A worker that can't start ends at once, with the kind `lost`."""
        worker = Worker(self, job, -1 if job.role == "tracer" else self._dealt % self.nodes)
        self._dealt += job.role != "tracer"
        self.workers[job.worker] = worker
        pause = self._start_s(job) if callable(self._start_s) else self._start_s
        if pause is None:
            worker.die(Died(job.worker, "lost", "it could not be started"))
        else:
            if pause > SLOW_S:
                for at, why in ((SLOW_S, "it needs 1 CPU, and all are in use"), (pause, "")):
                    self.at(self.clock.monotonic() + at, partial(self._delay, worker, why))
            self.later(worker, pause)

    def _delay(self, worker: Worker, why: str) -> None:
        if self.workers.get(worker.number) is worker:
            self.notices.append(Delayed(worker.number, why, is_full=bool(why)))

    def orphan(self) -> None:
        """Simulate that the driver is gone: workers finish their orders, spill their reports and leave."""
        self.leftover.update(self.workers.values())
        self.workers.clear()
        self.notices.clear()
        for worker in sorted(self.leftover, key=lambda worker: worker.number):
            worker.unheard()

    def take_over(self, worker: Worker) -> None:
        """Simulate that a new driver takes over a worker whose driver is gone."""
        worker.stay()
        self.leftover.discard(worker)
        self.workers[worker.number] = worker

    def lose_worker(self, number: int, why: str = "its machine went away") -> None:
        """End a worker with the kind `lost`, which means that its task is not at fault."""
        worker = self.workers.get(number)
        if worker is not None:
            worker.die(Died(number, "lost", why))

    def lose_node(self, node: int) -> None:
        """End all workers of a node with the kind `lost`."""
        for worker in [worker for worker in self.workers.values() if worker.node == node]:
            self.lose_worker(worker.number, f"node {node} went away")

    @property
    def living(self) -> int:
        """The number of living workers, including those whose driver is gone."""
        return len(self.workers) + len(self.leftover)

    # -- what workers call -----------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        return self.clock.now()

    def later(self, worker: Worker, seconds: float) -> None:
        """Schedule a call of `worker.wake` after `seconds`. The call is dropped if the worker has acted before that
        time."""
        turn = worker.turn

        def wake() -> None:
            if worker.alive and worker.turn == turn:
                worker.wake()

        self.at(self.clock.monotonic() + seconds, wake)

    def say(self, worker: Worker, message: Up) -> None:
        """Deliver a worker's message to the worker's driver. If this driver is gone, drop the message."""
        if self.workers.get(worker.number) is worker:
            self.notices.append(Heard(worker.number, message))

    def begun(self, worker: Worker) -> None:
        """Schedule the heartbeats of a worker whose attempt has just begun."""
        order = worker.order
        assert order is not None
        if self.beats:
            self._beat(worker, worker.done, BEAT_S)
        elif isinstance(order, Do) and order.timeout_s is not None:
            self._beat(worker, worker.done, order.timeout_s + BEAT_S)

    def gone(self, worker: Worker, died: Died) -> None:
        """Handle the end of a worker: notify its driver. If the driver is gone, keep the worker's spilled reports for
        the next driver."""
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
