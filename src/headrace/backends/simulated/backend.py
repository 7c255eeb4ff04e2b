"""The simulated backend: a pool that is made of virtual time. Implements `run.ports.Backend`.

Nothing sleeps: `events` lets virtual time pass until something happens. The clock of the driver must be the cluster's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from headrace.backends.simulated.cluster import Cluster
from headrace.backends.simulated.worker import Worker
from headrace.run.ports import Died, Heard, Job, Notice
from headrace.run.wire import Down
from headrace.spec.fleet import Pool

GRACE_S = 5.0
PATIENCE_S = 2.0


class SimulatedBackend:
    """A driver's hold on a simulated cluster. The next driver of the same run gets one of its own, on the same cluster.

    What happens within `grain_s` of the first thing to happen is told together, as a busy driver would hear it.
    """

    def __init__(self, pool: Pool, cluster: Cluster, *, grain_s: float = 0.0) -> None:
        self.pool = pool
        self.ahead_s = 0.010
        self.cluster = cluster
        self._grain_s = grain_s

    def start(self, jobs: Sequence[Job]) -> None:
        """Begin workers."""
        for job in jobs:
            self.cluster.begin(job)

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        """Send messages to a worker; to one that is gone they mean nothing."""
        found = self.cluster.workers.get(worker)
        if found is not None:
            for message in messages:
                found.hear(message)

    def events(self, timeout_s: float) -> list[Notice]:
        """Advance the time until something happens, by `timeout_s` at most; return all that has happened."""
        cluster = self.cluster
        now = cluster.clock.monotonic()
        cluster.run(now, stop=lambda: False)
        if not cluster.notices:
            cluster.run(now + timeout_s, stop=lambda: bool(cluster.notices))
        if cluster.notices and self._grain_s:
            cluster.run(cluster.clock.monotonic() + self._grain_s, stop=lambda: False)
        notices, cluster.notices = cluster.notices, []
        return notices

    def adopt(self) -> Iterable[Heard]:
        """End what an earlier driver's workers left, after a little patience, and return what they had spilled."""
        cluster = self.cluster
        cluster.run(cluster.clock.monotonic() + PATIENCE_S, stop=lambda: not cluster.leftover)
        for worker in list(cluster.leftover):
            worker.die(Died(worker.number, "lost", "it was killed"))
        return sorted(cluster.spool, key=lambda heard: heard.worker)

    def close(self, workers: Sequence[int] | None = None, *, now: bool = False) -> None:
        """End some workers, or everything. Unless `now`, an attempt is asked to stop first, and given a little time."""
        cluster = self.cluster
        numbers = list(cluster.workers) if workers is None else workers
        for number in numbers:
            found = cluster.workers.get(number)
            if found is not None and now:
                found.die(Died(number, "cancelled", "it was killed"))
            elif found is not None:
                found.stop()
                cluster.at(cluster.clock.monotonic() + GRACE_S, partial(_kill, found))
        if workers is None:
            cluster.run(cluster.clock.monotonic() + 2 * GRACE_S, stop=lambda: not cluster.workers)
            cluster.notices.clear()
            if not now:
                cluster.spool.clear()

    def abandon(self) -> None:
        """Let go of everything without a word, as a driver does that is killed."""
        self.cluster.orphan()


def _kill(worker: Worker) -> None:
    worker.die(Died(worker.number, "cancelled", "it did not stop when it was told to, and was killed"))
