"""Reads the notices of a backend as a driver does, and checks the rules that hold for all notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from headrace.run.events import Event, decode_event
from headrace.run.ports import Alive, Backend, Beat, Died, Heard, Job, Notice
from headrace.run.wire import Down, Report
from headrace.spec.stage import Resources

PATIENCE_S = 60.0
STEP_S = 0.05
CPU = Resources(cpu=0.1)
T = TypeVar("T")


class Ear:
    """Uses a backend and keeps its notices.

    It checks two rules for each worker: reports are numbered without gaps, and no notice comes after the worker's
    death.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.notices: list[Notice] = []
        self._dead: set[int] = set()
        self._seqs: dict[int, int] = {}

    def begin(self, *workers: int, needs: Resources = CPU) -> None:
        """Start workers with these numbers. Each one gets the resources `needs`."""
        self.backend.start([Job(worker=worker, resources=needs) for worker in workers])

    def tell(self, worker: int, *messages: Down) -> None:
        """Send messages to a worker."""
        self.backend.tell(worker, messages)

    def adopt(self) -> list[Alive]:
        """Adopt the workers of an earlier driver: keep their reports, and return the workers that are alive."""
        alive: list[Alive] = []
        for notice in self.backend.adopt():
            if isinstance(notice, Alive):
                alive.append(notice)
                continue
            if isinstance(notice.message, Report):
                self._seqs.setdefault(notice.worker, notice.message.seq - 1)  # earlier reports have been stored
            self._check(notice)
            self.notices.append(notice)
        return alive

    def listen(self, timeout_s: float = STEP_S) -> None:
        """Read the backend's notices, check them and keep them. If there is no notice, wait up to `timeout_s` seconds
        for one."""
        for notice in self.backend.events(timeout_s):
            self._check(notice)
            self.notices.append(notice)

    def until(self, holds: Callable[[], T], why: str) -> T:
        """Listen until `holds` returns a true value, and return that value. If this takes longer than `PATIENCE_S`
        seconds, fail with the message `why`."""
        for _ in range(int(PATIENCE_S / STEP_S)):
            if result := holds():
                return result
            self.listen()
        raise AssertionError(f"{why}; heard {self.notices}")

    def reports(self, worker: int) -> list[Report]:
        """Return the reports of a worker."""
        heard = [notice for notice in self.notices if isinstance(notice, Heard) and notice.worker == worker]
        return [notice.message for notice in heard if isinstance(notice.message, Report)]

    def events(self, worker: int, kind: type[T]) -> list[T]:
        """Return the events of a kind that a worker has reported."""
        events: list[Event] = [decode_event(report.body) for report in self.reports(worker)]
        return [event for event in events if isinstance(event, kind)]

    def wait_for(self, worker: int, kind: type[T], count: int = 1) -> list[T]:
        """Listen until a worker has reported `count` events of a kind, and return them."""

        def enough() -> list[T]:
            events = self.events(worker, kind)
            return events if len(events) >= count else []

        return self.until(enough, f"worker {worker} should report {count} events of kind {kind.__name__}")

    def wait_for_death(self, worker: int) -> Died:
        """Listen until a worker has died, and return the notice of its death."""

        def death() -> Died | None:
            died = [notice for notice in self.notices if isinstance(notice, Died) and notice.worker == worker]
            return died[0] if died else None

        died = self.until(death, f"worker {worker} should have died")
        assert died is not None
        return died

    def beats(self, worker: int) -> list[Beat]:
        """Return the heartbeats of a worker."""
        return [notice for notice in self.notices if isinstance(notice, Beat) and notice.worker == worker]

    def _check(self, notice: Notice) -> None:
        assert notice.worker not in self._dead, f"{notice} came after the death of worker {notice.worker}"
        if isinstance(notice, Died):
            self._dead.add(notice.worker)
        elif isinstance(notice, Heard) and isinstance(notice.message, Report):
            before = self._seqs.get(notice.worker, 0)
            assert notice.message.seq == before + 1, f"report {notice.message.seq} came after report {before}"
            self._seqs[notice.worker] = notice.message.seq
