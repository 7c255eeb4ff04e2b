"""The sites of a run: its pools, as its driver uses them."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from msgspec import Struct

from headrace.errors import BackendError, HeadraceError
from headrace.run.driver.crew import Crew
from headrace.run.driver.regions import Elsewhere, Places
from headrace.run.ports import TRACER, Backend, Blobs, Died, Notice
from headrace.run.wire import Down
from headrace.waits import poll


class Ground(Struct, frozen=True, kw_only=True):
    """What a driver needs to use a pool: the pool's backend, the store of its region, and the other regions, from which
    transfers copy the blobs that the pool's region lacks.

    If `far` is True, the store takes a while to answer, so the driver asks it about many blobs at once.
    """

    backend: Backend
    store: Blobs
    elsewhere: Sequence[Elsewhere] = ()
    far: bool = False


class Site:
    """A pool of a run: its backend, the crew of its workers, and the places that its blobs may be in. `was_asked` is
    True if there were queued tasks for the pool when its grant was last requested."""

    def __init__(self, ground: Ground, numbers: Iterator[int]) -> None:
        self.was_asked = False
        self.backend = ground.backend
        self.pool = ground.backend.pool
        self.crew = Crew(self.pool, numbers, self.backend.ahead_s)
        self.places = Places(self.pool, ground.store, ground.elsewhere, far=ground.far)


class Lost(NamedTuple):
    """A site that doesn't answer any more, and the error that its backend raised."""

    site: Site
    error: BackendError


class Sites:
    """The sites of a run, in the order of its pools. The first of them has the tracer.

    `last` is the highest number that a worker of the run has had. `living` are the sites whose pools still answer.
    `gone` are sites that were given up and that the driver has not handled yet.
    """

    def __init__(self, grounds: Sequence[Ground], last: int) -> None:
        numbers = count(last + 1)
        self.living = [Site(ground, numbers) for ground in grounds]
        self.first = self.living[0]
        self.gone: list[Lost] = []
        self.several = len(self.living) > 1
        self._of: dict[int, Site] = {TRACER: self.first}
        self._failed: list[Lost] = []
        self._selector: selectors.BaseSelector | None = None

    @property
    def crews(self) -> list[Crew]:
        """The crews of the living sites."""
        return [site.crew for site in self.living]

    def of(self, worker: int) -> Site:
        """Return the site of a worker, or the first site if the worker is unknown."""
        return self._of.get(worker, self.first) if self.several else self.first

    def crew(self, worker: int) -> Crew:
        """Return the crew of a worker's site."""
        return self.of(worker).crew

    def named(self, pool: str) -> Site:
        """Return the living site of a pool, or the first one if there is none of this name."""
        return next((site for site in self.living if site.pool.name == pool), self.living[0])

    def forget(self, worker: int) -> None:
        """Forget a worker that has died."""
        if worker != TRACER:
            self._of.pop(worker, None)

    def note(self, worker: int, site: Site) -> None:
        """Record that a worker is at a site."""
        self._of[worker] = site

    def events(self, timeout_s: float) -> list[Notice]:
        """Return what has happened to workers of all sites since the last call. If nothing has happened, wait up to
        `timeout_s` for news.

        A site whose pool doesn't answer any more is moved to `gone`, and its workers are reported as lost.

        Raises:
            BackendError: the last living pool doesn't answer any more.
        """
        if len(self.living) == 1:
            return self.living[0].backend.events(timeout_s)
        notices = self._hear()
        if not notices and timeout_s > 0 and not self.gone:
            notices = [*self._wait(timeout_s), *self._hear()]
        return notices

    def staff(self) -> list[int]:
        """Start the workers that the crews have asked for since the last call. Return the numbers of the workers that
        the crews have dismissed."""
        dismissed: list[int] = []
        for site in self.living:
            jobs, leaving = site.crew.drain()
            if jobs:
                if self.several:
                    self._of.update((job.worker, site) for job in jobs)
                self._guard(site, lambda site=site, jobs=jobs: site.backend.start(jobs))  # type: ignore[misc]
            dismissed += leaving
        return dismissed

    def _guard(self, site: Site, act: Callable[[], None]) -> None:
        """Call `act`, which does something at a site. If the site's pool doesn't answer and there are other sites, the
        next call of `events` moves this site to `gone`."""
        try:
            act()
        except BackendError as error:
            if len(self.living) == 1:
                raise
            self._failed.append(Lost(site, error))

    def tell(self, worker: int, messages: Sequence[Down]) -> None:
        """Send messages to a worker. Do nothing if its site is gone."""
        site = self.of(worker)
        if site in self.living:
            self._guard(site, lambda: site.backend.tell(worker, messages))

    def close(self, *, now: bool = False) -> None:
        """End all workers of all sites. An error at one site doesn't keep the others from being closed.

        Raises:
            HeadraceError: the last error that a site had.
        """
        failed: HeadraceError | None = None
        for site in reversed(self.living):
            try:
                site.backend.close(now=now)
            except HeadraceError as error:
                failed = error
        if failed is not None:
            raise failed

    def end(self, worker: int, *, now: bool) -> None:
        """End a worker. Do nothing if its site is gone."""
        site = self.of(worker)
        if site in self.living:
            self._guard(site, lambda: site.backend.close([worker], now=now))

    def abandon(self) -> None:
        """Forget all workers of all sites, as if the driver had been killed."""
        for site in reversed(self.living):
            with suppress(HeadraceError):  # the others are to be abandoned too
                site.backend.abandon()

    # -- inside --------------------------------------------------------------------------------------------------

    def _hear(self) -> list[Notice]:
        notices: list[Notice] = []
        failed, self._failed = self._failed, []
        for site, error in failed:
            if site in self.living and len(self.living) > 1:
                notices += self._lose(site, error)
        for site in list(self.living):
            try:
                notices += site.backend.events(0.0)
            except BackendError as error:
                if len(self.living) == 1:
                    raise
                notices += self._lose(site, error)
        return notices

    def _lose(self, site: Site, error: BackendError) -> list[Notice]:
        """Move a site to `gone`, and return a `Died` for each of its workers."""
        self.living.remove(site)
        self.gone.append(Lost(site, error))
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        with suppress(HeadraceError):
            site.backend.abandon()
        return [Died(worker, "lost", error.message) for worker in site.crew.workers]

    def _wait(self, timeout_s: float) -> list[Notice]:
        """Wait up to `timeout_s` until one of the backends has news, and return an empty list.

        There is one exception: backends without descriptors belong to one simulation, whose time passes for all of
        them. In this case, wait for the first backend and return what has happened there.
        """
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
            for site in self.living:
                if (descriptor := site.backend.fileno()) is not None:
                    self._selector.register(descriptor, selectors.EVENT_READ)
        if not self._selector.get_map():
            return self.living[0].backend.events(timeout_s)
        poll(self._selector, timeout_s)
        return []
