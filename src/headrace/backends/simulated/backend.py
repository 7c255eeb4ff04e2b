"""The simulated backend: a pool with virtual time. Implements `run.ports.Backend`.

No code sleeps: `events` advances the virtual time until something happens. The driver must use the cluster's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from headrace.backends.processes.exit_cause import overdue
from headrace.backends.simulated.cluster import Cluster
from headrace.backends.simulated.worker import Worker
from headrace.run.ports import Alive, Died, Heard, Job, Notice
from headrace.run.wire import Down
from headrace.spec.fleet import Pool

GRACE_S = 5.0
PATIENCE_S = 2.0


class SimulatedBackend:
    """The connection of one driver to a simulated cluster.

    The next driver of the same run gets a new connection to the same cluster. A call of `events` returns the first
    event and all events within the next `grain_s` seconds, as a busy driver would see them. If `adopts` is true,
    `adopt` takes over the workers that still run an attempt. Otherwise it ends them.
    """

    def __init__(self, pool: Pool, cluster: Cluster, *, grain_s: float = 0.0, adopts: bool = False) -> None:
        self.pool = pool
        self.ahead_s = 0.010
        self.grace_s = GRACE_S
        self.cluster = cluster
        self._grain_s = grain_s
        self._adopts = adopts

    def fileno(self) -> None:
        """Return None: time passes in `events`, and there is nothing else to wait for."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Start a simulated worker for each job."""
        for job in jobs:
            self.cluster.begin(job)

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        """Send messages to a worker. Do nothing if the worker has ended."""
        receiver = self.cluster.workers.get(worker)
        if receiver is not None:
            for message in messages:
                receiver.hear(message)

    def events(self, timeout_s: float) -> list[Notice]:
        """Advance the time until something happens in this simulation, but at most by `timeout_s`. Return all that has
        happened to this cluster's workers."""
        cluster = self.cluster
        now = cluster.clock.monotonic()
        cluster.run(now, stop=lambda: False)
        if not cluster.notices:
            cluster.run(now + timeout_s, stop=lambda: cluster.agenda.has_news)
        if cluster.notices and self._grain_s:
            cluster.run(cluster.clock.monotonic() + self._grain_s, stop=lambda: False)
        notices, cluster.notices = cluster.notices, []
        return notices

    def adopt(self) -> Iterable[Heard | Alive]:
        """Take over an earlier driver's workers, or end them after a short wait. Return their reports that no driver
        has stored, and the workers that were taken over."""
        cluster = self.cluster
        taken: list[Heard | Alive] = []
        for worker in sorted(cluster.leftover, key=lambda worker: worker.number) if self._adopts else ():
            cluster.take_over(worker)
            attempts = () if worker.order is None else ((worker.order.task, worker.order.attempt),)
            taken += [*worker.spilled, Alive(worker.job, attempts, worker.done)]
        cluster.run(cluster.clock.monotonic() + PATIENCE_S, stop=lambda: not cluster.leftover)
        for worker in list(cluster.leftover):
            worker.die(Died(worker.number, "lost", "it was killed"))
        return [*taken, *sorted(cluster.spool, key=lambda heard: heard.worker)]

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        """End the given workers, or (None) all workers.

        If `now` is false, running attempts are asked to stop. Those that haven't stopped after `GRACE_S` are killed.
        """
        cluster = self.cluster
        numbers = list(cluster.workers) if workers is None else workers
        for number in numbers:
            worker = cluster.workers.get(number)
            if worker is not None and now:
                worker.die(Died(number, "cancelled", "it was killed"))
            elif worker is not None:
                worker.stop()
                cluster.at(cluster.clock.monotonic() + GRACE_S, partial(_kill, worker))
        if workers is None:
            cluster.run(cluster.clock.monotonic() + 2 * GRACE_S, stop=lambda: not cluster.workers)
            cluster.notices.clear()
            if not now:
                cluster.spool.clear()

    def abandon(self) -> None:
        """Drop the connection without ending workers, as if the driver had been killed."""
        self.cluster.orphan()


def _kill(worker: Worker) -> None:
    worker.die(Died(worker.number, "cancelled", overdue(GRACE_S)))
