"""Runs the endpoints of a server: follows their routes, and keeps a process running for each version that a route
names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from headrace.errors import FEW, listed, text_of
from headrace.models.fitting import differing
from headrace.serve.asking import ENDED
from headrace.serve.endpoint import ANSWER_S, LiveEndpoint
from headrace.serve.metrics import RESTARTS, WAITING, Labels, Metrics
from headrace.serve.predictions.keeping import Keeping, Say
from headrace.serve.predictions.suspects import named
from headrace.serve.running import Running
from headrace.spec.endpoint import MAIN, Route

Start = Callable[[str, int], Awaitable[Running]]
"""Starts a process that has loaded a version of an endpoint's model. It raises a `HeadraceError` if it can't."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""After a version's process has ended or couldn't be started, it is started again after a pause: these are the first
and the longest pause, in seconds. Each failure doubles the pause. After a process that lived for the longest pause, it
begins with the first pause again."""
KEEP_S = 3_600.0
"""For how long the version that was `production` before stays loaded, in seconds, so that a rollback takes effect at
once."""


class Endpoints:
    """The endpoints that a server answers for. All methods are called in one event loop.

    `keeping` returns the rules by which an endpoint's predictions are logged. `say` is called with a line of text when
    something happens to a version. If `names` isn't empty, only these endpoints are served.
    """

    def __init__(
        self,
        start: Start,
        keeping: Callable[[str], Keeping],
        say: Say,
        names: Collection[str] = (),
        *,
        metrics: Metrics | None = None,
        answer_s: float = ANSWER_S,
        keep_s: float = KEEP_S,
    ) -> None:
        self._start = start
        self._keeping = keeping
        self._say = say
        self._names = frozenset(names)
        self._answer_s = answer_s
        self._keep_s = keep_s
        self._metrics = metrics or Metrics()
        self._metrics.gauge(WAITING, self._waiting)
        self._live: dict[str, _Live] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def find(self, name: str) -> LiveEndpoint | None:
        """Return the endpoint with this name, or None if there is none, or if it can't answer."""
        live = self._live.get(name)
        return live.endpoint if live is not None and live.endpoint.is_ready else None

    def get(self, name: str) -> LiveEndpoint | None:
        """Return the endpoint with this name, even if it can't answer yet. Return None if there is none."""
        live = self._live.get(name)
        return None if live is None else live.endpoint

    def names(self) -> Sequence[str]:
        """Return the names of all endpoints."""
        return sorted(self._live)

    def is_ready(self) -> bool:
        """Return whether all endpoints can answer."""
        wanted = self._names or self._live.keys()
        return bool(wanted) and all(self.find(name) is not None for name in wanted)

    def follow(self, routes: Mapping[str, Route]) -> None:
        """Follow these routes from now on. An endpoint uses its old route until the main version of the new route is
        loaded. An endpoint without a route ends."""
        for name, route in routes.items():
            if self._names and name not in self._names:
                continue
            if name not in self._live:
                keeping = self._keeping(name)
                endpoint = LiveEndpoint(name, keeping, answer_s=self._answer_s, metrics=self._metrics, say=self._say)
                self._live[name] = _Live(endpoint, self._start, self._say, self._keep_s, self._metrics)
            self._live[name].want(route)
        for name in [name for name in self._live if name not in routes]:
            self._leave(self._live.pop(name))

    async def end(self) -> None:
        """End the processes of all versions. Call this when no requests are being answered any more."""
        for live in list(self._live.values()):
            self._leave(live)
        self._live.clear()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _waiting(self) -> dict[Labels, float]:
        """Return how many requests wait for each version that runs."""
        running = ((name, each) for name, live in self._live.items() for each in live.running.values())
        return {(name, each.version): each.model.waiting for name, each in running}

    def _leave(self, live: _Live) -> None:
        leaving = asyncio.ensure_future(live.end())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


class _Live:
    """An endpoint, the route that it should have, and the tasks that keep its versions running."""

    def __init__(self, endpoint: LiveEndpoint, start: Start, say: Say, keep_s: float, metrics: Metrics) -> None:
        self.endpoint = endpoint
        self._start = start
        self._say = say
        self._keep_s = keep_s
        self._wanted: Route | None = None
        self._main: int | None = None
        self._before: int | None = None
        self._compared: set[tuple[int, int]] = set()
        self._told: set[str] = set()
        self._forgets: asyncio.TimerHandle | None = None
        self._metrics = metrics
        self.running: dict[int, Running] = {}
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def want(self, route: Route) -> None:
        if route == self._wanted:
            return
        self._wanted = route
        for version in route.versions:
            if version not in self._keepers:
                self._keepers[version] = asyncio.ensure_future(self._keep(version))
        self._settle()

    async def end(self) -> None:
        if self._forgets is not None:
            self._forgets.cancel()
        await self.endpoint.end()  # copies of requests, which versions would answer first
        for version in list(self._keepers):
            self._retire(version)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _keep(self, version: int) -> None:
        """Start a version, and start it again whenever its process has ended, until this task is cancelled."""
        name, pause_s = f"version {version} of endpoint `{self.endpoint.name}`", FIRST_PAUSE_S
        clock = asyncio.get_running_loop().time
        last: Running | None = None
        try:
            while True:
                began = clock()
                try:
                    running = await self._start(self.endpoint.name, version)
                except Exception as error:  # noqa: BLE001  whatever it is: another try may do better
                    why = f"{name} can't be started: {text_of(error)}"
                else:
                    self._say(f"{name} is loaded, after {clock() - began:.1f} s")
                    self.running[version] = running
                    if last is not None:
                        last.follow(running)
                    last = running
                    self._settle()
                    gone = await running.model.gone()
                    del self.running[version]
                    if gone == ENDED:
                        gone = await running.why_ended() or gone
                    why = f"the process of {name} can't answer any more: {gone}"
                if clock() - began > LONGEST_PAUSE_S:
                    pause_s = FIRST_PAUSE_S
                self._say(f"{why}; it is started again in {pause_s:g} s")
                if last is not None:
                    await self._tell_suspects(name, last)
                await asyncio.sleep(pause_s)
                self._metrics.add(RESTARTS, self.endpoint.name, f"{self.endpoint.name}:{version}")
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            if last is not None:
                last.follow(None)

    async def _tell_suspects(self, name: str, running: Running) -> None:
        """Name the requests that a process was answering when it ended."""
        suspects, running.model.suspects = running.model.suspects, []
        for line in await asyncio.to_thread(lambda: list(named(name, suspects))) if suspects else ():
            self._say(line)

    def _settle(self) -> None:
        """If the main version of the wanted route is loaded, use this route, and end the versions that it doesn't name.
        The version that was the main one before is kept for a while."""
        route = self._wanted
        if route is None or route.main.version not in self.running:
            return
        self.endpoint.go(route, self.running)
        if self._main not in (None, route.main.version):
            self._before = self._main
            if self._forgets is not None:
                self._forgets.cancel()
            self._forgets = asyncio.get_running_loop().call_later(self._keep_s, self._forget)
        self._main = route.main.version
        self._tell_differences(route)
        self._tell_redaction(route)
        kept = {*route.versions, self._before}
        for version in [version for version in self._keepers if version not in kept]:
            self._retire(version)

    def _tell_differences(self, route: Route) -> None:
        """Report which versions of a route take other columns than the main version, since there may be no record that
        fits both."""
        main = self.running[route.main.version]
        for version in route.versions:
            running = self.running.get(version)
            if running is None or (version, route.main.version) in self._compared:
                continue
            self._compared.add((version, route.main.version))
            if columns := differing(running.records.takes, main.records.takes):
                self._say(
                    f"version {version} of endpoint `{self.endpoint.name}` takes other columns than version"
                    f" {route.main.version}, its `{MAIN}`: {listed(columns, FEW)}. Records that fit one may be refused"
                    " by the other"
                )

    def _tell_redaction(self, route: Route) -> None:
        """Report which columns can't be dropped or hashed since no version takes them. Their names may be misspelt.
        Report also if the endpoint's columns `key` and `time` aren't logged as they are needed. A server
        refuses this when it starts, but the route may have changed since."""
        redaction, name = self.endpoint.redaction, self.endpoint.name
        if redaction.is_empty or any(version not in self.running for version in route.versions):
            return
        known = {column.name for version in route.versions for column in self.running[version].records.takes}
        told = [
            f"endpoint `{name}` has no column `{column}` that its log could drop or hash"
            for column in sorted((redaction.dropped | redaction.hashed) - known - {route.key, route.time})
        ]
        if route.key in redaction.dropped:
            told.append(
                f"the log of endpoint `{name}` drops its key `{route.key}`, so nobody can find predictions about a"
                " person: change the setting `drop`, and start the server again"
            )
        if route.time in redaction.dropped | redaction.hashed:
            told.append(
                f"the log of endpoint `{name}` drops or hashes its time `{route.time}`, so no label can find its"
                " prediction: change the settings, and start the server again"
            )
        for each in told:
            if each not in self._told:
                self._told.add(each)
                self._say(each)

    def _forget(self) -> None:
        """End the version that was the main one before."""
        self._before = None
        self._settle()

    def _retire(self, version: int) -> None:
        self._keepers.pop(version).cancel()
        running = self.running.pop(version, None)
        if running is not None:
            leaving = asyncio.ensure_future(_drained(running))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


async def _drained(running: Running) -> None:
    """End a version's process once it has answered all its requests."""
    try:
        await running.idle()
    finally:
        running.model.close()
