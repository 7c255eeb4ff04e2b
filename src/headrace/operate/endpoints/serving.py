"""Serves a project's endpoints: answers requests in this process and in the model processes that it starts."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from socket import socket
from ssl import SSLContext
from typing import NamedTuple

import uvloop

from headrace.errors import ConfigError, LedgerError, NotFoundError, UsageError, near, text_of
from headrace.inspect.endpoints import redaction
from headrace.inspect.endpoints.marks import of_other_secrets
from headrace.inspect.views import VersionView, read
from headrace.models.signature import example_of
from headrace.operate.endpoints import model_process
from headrace.operate.endpoints.keeping import PredictionLogs
from headrace.operate.endpoints.model_process import ModelProcess, gather_blobs, load_order, models_folder, unpacked
from headrace.operate.endpoints.sealing import seal_apart
from headrace.operate.endpoints.tokens import valid_tokens
from headrace.project.project import Project
from headrace.serve.access.access import Access, origins_in
from headrace.serve.access.rates import Rates, rate_in
from headrace.serve.access.tokens import Token, Tokens
from headrace.serve.app import App
from headrace.serve.asking import ENDED, Model, ModelGone
from headrace.serve.live import Endpoints
from headrace.serve.metrics import WORKER_RESTARTS, Metrics
from headrace.serve.records import Records, Strictness
from headrace.serve.request import Limits
from headrace.serve.running import Running
from headrace.serve.server import Server, addressed, is_loopback, loopback, tls_of
from headrace.serve.workers.front import LEFT, Front, Seat
from headrace.serve.workers.peers import Peers
from headrace.spec.bundle import own_code_in
from headrace.spec.endpoint import Route, decode_route
from headrace.spec.signature import Column, signature_in

LOOK_S = 0.5
"""How often the routes in the ledger are looked at, in seconds: a rollback takes effect within a second."""
SEAL_S = 60.0
"""How often closed segments of the prediction log are sealed, in seconds."""
LOAD_S = 120.0
"""How long a model may take to load, in seconds."""
LOADED_S = 30.0
"""How long a web worker that was started again waits for its models before it takes requests, in seconds."""
_LOADED_EVERY_S = 0.05
CLOSE_S = 10.0
"""How long the prediction log may take to close, in seconds."""
MOST_RECORDS = 10_000
"""How many records a request may have."""
_MOST_FILES, _OWN_FILES = 8_192, 256
"""How many files this process may have open at most, and how many of these are kept for other uses than clients."""

Say = Callable[[str], None]


class Listening(NamedTuple):
    """Where a server listens. If `host` is None, it listens on the loopback addresses. If the server speaks TLS,
    `certificate` and `key` are the files with its certificate and the certificate's private key."""

    port: int
    host: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the certificate and the key."""
        return tuple([file for file in (self.certificate, self.key) if file is not None])


class _Manners(NamedTuple):
    """How a server treats its clients: how often a client may ask (None: no limit), the web sites whose pages may ask,
    whether clients need a token, and how the server speaks TLS, with the files of the certificate and the key."""

    rates: Rates | None
    origins: frozenset[str]
    with_tokens: bool
    tls: SSLContext | None
    keys: Sequence[Path]


def serve(
    project: Project,
    names: Collection[str],
    listening: Listening,
    say: Say,
    *,
    with_tokens: bool = False,
    workers: int = 1,
) -> None:
    """Answer requests until SIGINT or SIGTERM comes. `names` are the endpoints to serve. If `names` is empty, all
    endpoints are served, including those that are made later. `say` is called with messages about what happens.

    If `with_tokens` is True, clients need a token, and their requests may come through a proxy. A server that other
    hosts can reach must have tokens and speak TLS. `workers` is the number of processes that answer requests. Each has
    model processes of its own. If it is 1, this process answers.

    Raises:
        NotFoundError: there is no endpoint of one of the names.
        ConfigError: this machine can't make the namespaces of model processes, or a setting of `[serve]` or of an
            endpoint is wrong.
        UsageError: the server can't listen on the port, or other hosts could reach the server without a token or TLS.
    """
    tls = _tls(listening)
    routes, unreadable = _routes(project)
    for name, why in unreadable.items():
        say(f"endpoint `{name}` isn't served: {why}")
    for name in names:
        if name not in routes:
            hint = (
                near(name, sorted(routes), "there are") if routes else "`headrace promote MODEL` makes one from a model"
            )
            raise NotFoundError(f"there is no endpoint `{name:.80}`", hint=hint)
    for name in sorted(project.config.endpoint.keys() - routes.keys()):
        say(f"`[endpoint.{name}]` has settings, and there is no endpoint `{name:.80}` yet")
    with read(project) as views:
        redaction.check(project, views, routes, names)
    model_process.check(project)
    host, port = listening.host, listening.port
    sockets = loopback(port) if host is None else addressed(host, port)
    try:
        if not is_loopback(sockets) and (tls is None or not with_tokens):
            raise UsageError(
                f"other hosts could reach `{host}`, so clients need tokens, and TLS to keep the tokens secret",
                hint="add `--tokens`, `--tls-cert` and `--tls-key`, or leave out `--host` and put a proxy before"
                " the server",
            )
        manners = _manners(project, listening, tls, with_tokens=with_tokens)
        address = _address(sockets[0], tls)
        if workers == 1:
            with models_folder(project) as folder:
                serving = _Serving(project, names, folder, say, manners)
                uvloop.run(serving.run(sockets, routes, lambda: say(f"serving on {address}")))
            return
        with closing(Peers(workers)) as peers:

            def work(seat: Seat) -> None:
                tell = partial(_tell_by, say, seat.number)
                with models_folder(project) as folder:
                    serving = _Serving(project, names, folder, tell, manners, seat, peers)
                    found = _routes(project)[0] if seat.restarts else routes
                    uvloop.run(serving.run(sockets, found, seat.beats))

            Front(workers, work, sockets, say, lambda: say(f"serving on {address}, with {workers} web workers")).run()
    finally:
        for each in sockets:
            each.close()


class _Serving:
    """A server, and its work besides answering: it follows the routes, starts versions, and seals the log. If the
    server has several web workers, this is one of them, and `seat` and `peers` are its place among them."""

    def __init__(
        self,
        project: Project,
        names: Collection[str],
        folder: Path,
        say: Say,
        manners: _Manners,
        seat: Seat | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._project = project
        self._manners = manners
        self._tokens = Tokens() if manners.with_tokens else None
        self._seat = seat
        self._peers = peers
        self._is_told_to_end = False
        self._names = names
        self._folder = folder
        self._numbers = itertools.count()
        self._say = say
        self._ends = threading.Event()

    async def run(self, sockets: Sequence[socket], routes: dict[str, Route], listens: Callable[[], None]) -> None:
        """Serve until a signal comes. `listens` is called when the server answers."""
        loop, port = asyncio.get_running_loop(), sockets[0].getsockname()[1]
        seat, peers, manners = self._seat, self._peers, self._manners
        most = Limits().most_connections // (1 if peers is None else peers.count)
        limits = Limits(most_connections=max(1, min(most, _room())))
        logs = PredictionLogs(self._project, self._names, self._say)
        metrics, of_all = Metrics(), None
        if seat is not None and peers is not None:
            of_all = peers.join(seat.number, metrics).reading
            metrics.add(WORKER_RESTARTS, by=seat.restarts)
        endpoints = Endpoints(self._start, logs.keeping, self._say, self._names, metrics=metrics)
        if self._tokens is not None:
            self._tokens.know(_tokens(self._project))
        scheme = "http" if manners.tls is None else "https"
        access = Access.loopback(port, scheme) if self._tokens is None else Access.by_token(self._tokens)
        access = access.shared_with(manners.origins)._replace(rates=manners.rates)
        server = Server(App(endpoints, access, limits, metrics, of_all), sockets, limits, manners.tls)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, server)
        endpoints.follow(routes)
        works = [lambda: self._follow(loop, endpoints, routes)]
        if seat is None or seat.number == 1:  # one of the web workers seals for all
            works += [self._seal, lambda: self._tell_of_other_secrets(self._names or sorted(routes))]
        for work in works:
            threading.Thread(target=work, daemon=True).start()
        listens()
        try:
            if seat is not None and seat.restarts:
                await self._loaded(endpoints)
            await server.serve()
        finally:
            self._ends.set()
            await endpoints.end()
            logs.close(CLOSE_S)

    async def _loaded(self, endpoints: Endpoints) -> None:
        """Wait until all endpoints can answer, but not for ever. Meanwhile the other web workers take the requests,
        which this one would have to refuse."""
        ends = time.monotonic() + LOADED_S
        # No event says it, since routes change meanwhile, and this happens once in a worker's life.
        while not endpoints.is_ready() and not self._is_told_to_end and time.monotonic() < ends:  # noqa: ASYNC110
            await asyncio.sleep(_LOADED_EVERY_S)

    def _end(self, server: Server) -> None:
        """Tell the server to stop. At the second call, end this process at once: all answers that were sent are in the
        log already, and model processes end together with this process.

        A web worker never does this by itself. It may get a single ^C twice, from the terminal and from the front. The
        front ends it at once if a second signal really comes."""
        if self._is_told_to_end and self._seat is None:
            self._say("left without waiting any longer")
            os._exit(LEFT)
        self._is_told_to_end = True
        server.stop()

    async def _start(self, endpoint: str, number: int) -> Running:
        """Start a model process for version `number` of an endpoint's model, tell it to load the model, and return the
        running version."""
        loop = asyncio.get_running_loop()
        starts = loop.run_in_executor(None, self._process, endpoint, number)
        try:
            version, process = await asyncio.shield(starts)
        except asyncio.CancelledError:
            starts.add_done_callback(_abandon)
            raise

        async def why_ended() -> str:
            return await loop.run_in_executor(None, _why_ended, process)

        try:
            own = self._project.config.of_endpoint(endpoint)
            _, model = await loop.create_connection(
                lambda: Model(kill=process.kill, most_wait_s=own.wait_s), sock=process.socket
            )
            loaded = await model.load(load_order(version.out, version.preparation), LOAD_S)
            if loaded.trouble:
                self._say(
                    f"version {number} of endpoint `{endpoint}` has no answer for a made-up row: {loaded.trouble}"
                )
            takes = _takes(version)
            if takes is None:
                takes = [Column(name=name, type=kind) for name, kind in loaded.takes]
            strictness = Strictness(unknown=own.unknown, missing=own.missing, null=own.null, unseen=own.unseen)
            records = Records(takes, strictness, MOST_RECORDS)
            gives = [Column(name=name, type=kind) for name, kind in zip(loaded.gives, loaded.types, strict=False)]
            return Running(f"{endpoint}:{number}", model, records, why_ended, gives=gives, example=example_of(takes))
        except ModelGone as error:
            told = await why_ended() if ENDED in error.message else ""
            raise ModelGone(told or error.message, hint=error.hint) from error
        except BaseException:
            process.kill()
            raise

    def _process(self, endpoint: str, number: int) -> tuple[VersionView, ModelProcess]:
        with read(self._project) as views:
            version = views.resolve("model", f"{endpoint}:{number}")
        own = own_code_in(version.preparation)
        _takes(version)  # without a signature, there is nothing to start
        refs = [version.out, *([] if version.preparation is None else [version.preparation])]
        limit_gib = self._project.config.of_endpoint(endpoint).memory_gib
        folder = self._folder / f"{endpoint}-{number}-{next(self._numbers)}"

        def clear() -> None:
            shutil.rmtree(folder, ignore_errors=True)

        try:
            folder.mkdir()
            gather_blobs(self._project, refs, folder)
            python = None if own is None else unpacked(own, folder, self._say)
            process = model_process.start(
                self._project, folder, limit_gib, python=python, keys=self._manners.keys, ended=clear
            )
            return version, process
        except OSError as error:
            clear()
            raise ConfigError(
                f"a model process can't be started: {error.strerror}", hint="check the disk's free space and the limits"
            ) from error
        except BaseException:
            clear()
            raise

    # -- in threads ----------------------------------------------------------------------------------------------

    def _follow(self, loop: asyncio.AbstractEventLoop, endpoints: Endpoints, routes: dict[str, Route]) -> None:
        """Every `LOOK_S` seconds, read from the ledger where requests are to go and which tokens are valid. While the
        ledger can't be read, the last routes stay in use, and the last tokens stay in use for some minutes."""
        told, last = "", routes
        while not self._ends.wait(LOOK_S):
            try:
                routes, unreadable = _routes(self._project)
                routes |= {name: last[name] for name in unreadable if name in last}
                last = routes
                with suppress(RuntimeError):  # the loop has just ended
                    loop.call_soon_threadsafe(endpoints.follow, routes)
                if self._tokens is not None:
                    self._tokens.know(_tokens(self._project))
                told = ""
            except Exception as error:  # noqa: BLE001  whatever it is: the next look may do better
                if (why := text_of(error)) != told:
                    self._say(f"the ledger can't be read, so the endpoints keep their routes: {why}")
                told = why

    def _tell_of_other_secrets(self, names: Collection[str]) -> None:
        """Say which of the endpoints hash values with another secret than before. This loads a part of each log, so it
        is done while the server answers already."""
        try:
            with read(self._project) as views:
                for warning in of_other_secrets(self._project, views, names):
                    self._say(warning)
        except Exception as error:  # noqa: BLE001  whatever it is: requests are answered nevertheless
            self._say(f"it isn't known whether another secret hashed the prediction log: {text_of(error)}")

    def _seal(self) -> None:
        """Every `SEAL_S` seconds, seal the closed segments of the prediction log. While the store or the ledger can't
        be reached, the segments stay on this host."""
        told = ""
        while not self._ends.wait(SEAL_S):
            try:
                seal_apart(self._project)
                told = ""
            except Exception as error:  # noqa: BLE001  whatever it is: the next try may do better
                if (why := text_of(error)) != told:
                    self._say(f"predictions can't be sealed yet, and stay on this host: {why}")
                told = why


def _tls(listening: Listening) -> SSLContext | None:
    if listening.certificate is None and listening.key is None:
        return None
    if listening.certificate is None or listening.key is None:
        raise UsageError("a certificate needs its key", hint="give both `--tls-cert` and `--tls-key`")
    return tls_of(listening.certificate, listening.key)


def _room() -> int:
    """Return how many clients can be connected at the same time: the number of files that this process may have open,
    minus those for other uses. Before that, raise the process's limit of open files as far as is allowed, because the
    limit is often low when a process starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, max(soft, most) - _OWN_FILES)


def _manners(project: Project, listening: Listening, tls: SSLContext | None, *, with_tokens: bool) -> _Manners:
    settings = project.config.serve
    try:
        rates = None if settings.rate is None else Rates(rate_in(settings.rate))
        return _Manners(rates, origins_in(settings.origins), with_tokens, tls, listening.files)
    except ConfigError as error:
        raise ConfigError(f"in `[serve]`: {error.message}", hint=error.hint) from error


def _address(listening: socket, tls: SSLContext | None) -> str:
    host, port = listening.getsockname()[:2]
    return f"{'http' if tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"


def _tell_by(say: Say, number: int, text: str) -> None:
    say(f"web worker {number}: {text}")


def _routes(project: Project) -> tuple[dict[str, Route], dict[str, str]]:
    """Return the routes of all endpoints, and why the routes of some can't be read."""
    routes, unreadable = {}, {}
    with read(project) as views:
        for row in views.routes():
            try:
                if row.route is not None:
                    routes[row.name] = decode_route(row.route)
            except LedgerError as error:
                unreadable[row.name] = error.message
    return routes, unreadable


def _tokens(project: Project) -> list[Token]:
    with read(project) as views:
        return valid_tokens(views)


def _takes(version: VersionView) -> Sequence[Column] | None:
    """Return the columns that a version takes, or None if only its preparation knows them."""
    own = own_code_in(version.preparation)
    if own is not None:
        return own.signature.takes
    if version.preparation is not None:
        return None
    signature = signature_in(version.out.signature)
    if signature is None:
        raise UsageError(
            f"model `{version.name}:{version.version}` has no signature, so records can't be checked",
            hint="register it with `signature=`, a table with the columns that it takes",
        )
    return signature.takes


def _abandon(starts: asyncio.Future[tuple[VersionView, ModelProcess]]) -> None:
    """End a model process that was started but isn't needed any more."""
    if not starts.cancelled() and starts.exception() is None:
        starts.result()[1].kill()


def _why_ended(process: ModelProcess) -> str:
    process.end()
    return process.why_ended()
