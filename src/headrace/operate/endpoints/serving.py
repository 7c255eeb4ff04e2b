"""Serves a project's endpoints: answers requests in this process and in the model processes that it starts."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket

import uvloop

from headrace.errors import ConfigError, HeadraceError, NotFoundError, UsageError, near
from headrace.inspect.endpoints.predictions import prediction_log
from headrace.inspect.views import VersionView, read
from headrace.operate.endpoints import model_process
from headrace.operate.endpoints.model_process import ModelProcess, gather_blobs, load_order
from headrace.operate.endpoints.sealing import seal_predictions
from headrace.project.project import Project
from headrace.serve.access import Access
from headrace.serve.app import App
from headrace.serve.asking import Model, ModelGone
from headrace.serve.endpoint import Running
from headrace.serve.live import Endpoints
from headrace.serve.predictions.awaited import AwaitedLog
from headrace.serve.records import Records, Strictness
from headrace.serve.request import Limits
from headrace.serve.server import Server, loopback
from headrace.spec.endpoint import Route, decode_route
from headrace.spec.signature import Column, signature_in

PORT = 8000
LOOK_S = 0.5
"""How often the routes in the ledger are looked at, in seconds: a rollback takes effect within a second."""
SEAL_S = 60.0
"""How often closed segments of the prediction log are sealed, in seconds."""
LOAD_S = 120.0
"""How long a model may take to load, in seconds."""
CLOSE_S = 10.0
"""How long the prediction log may take to close, in seconds."""
MOST_RECORDS = 10_000
"""How many records a request may have."""
_MODELS = "models-"
"""The beginning of the name of a server's folder with the blobs of its models; the server's process id follows."""

Say = Callable[[str], None]


def serve(project: Project, names: Collection[str], port: int, say: Say) -> None:
    """Answer requests on this port of the loopback addresses until SIGINT or SIGTERM comes. `names` are the endpoints
    to serve; if there are none, all are served, also those that are made later. `say` is told what happens.

    Raises:
        NotFoundError: there is no endpoint of one of the names.
        ConfigError: this machine can't make the namespaces of model processes.
        UsageError: the port can't be had.
    """
    routes = _routes(project)
    for name in names:
        if name not in routes:
            hint = (
                near(name, sorted(routes), "there are") if routes else "`headrace promote MODEL` makes one of a model"
            )
            raise NotFoundError(f"there is no endpoint `{name:.80}`", hint=hint)
    model_process.check()
    sockets = loopback(port)
    try:
        with _models_folder(project) as folder:
            uvloop.run(_Serving(project, names, folder, say).run(sockets, routes))
    finally:
        for each in sockets:
            each.close()


class _Serving:
    """A server with what it does beside answering: it follows the routes, starts versions, and seals the log."""

    def __init__(self, project: Project, names: Collection[str], folder: Path, say: Say) -> None:
        self._project = project
        self._names = names
        self._folder = folder
        self._say = say
        self._ends = threading.Event()

    async def run(self, sockets: Sequence[socket], routes: Mapping[str, Route]) -> None:
        """Serve until a signal comes."""
        loop, port, limits = asyncio.get_running_loop(), sockets[0].getsockname()[1], Limits()
        log = AwaitedLog(prediction_log(self._project))
        endpoints = Endpoints(self._start, log, self._say, self._names)
        server = Server(App(endpoints, Access.loopback(port), limits), sockets, limits)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        endpoints.follow(routes)
        for work in (lambda: self._follow(loop, endpoints), self._seal):
            threading.Thread(target=work, daemon=True).start()
        self._say(f"serving on http://127.0.0.1:{port}")
        try:
            await server.serve()
        finally:
            self._ends.set()
            await endpoints.end()
            if not log.close(CLOSE_S):
                self._say(f"the prediction log didn't close within {CLOSE_S:g} s; the next server seals what it has")

    async def _start(self, endpoint: str, number: int) -> Running:
        """Start a process for a version, and have it load the model."""
        loop = asyncio.get_running_loop()
        starts = loop.run_in_executor(None, self._process, endpoint, number)
        try:
            version, process = await asyncio.shield(starts)
        except asyncio.CancelledError:
            starts.add_done_callback(_abandon)
            raise
        try:
            _, model = await loop.create_connection(lambda: Model(kill=process.kill), sock=process.socket)
            loaded = await model.load(load_order(version.out, version.preparation), LOAD_S)
            if loaded.trouble:
                self._say(
                    f"version {number} of endpoint `{endpoint}` has no answer for a made-up row: {loaded.trouble}"
                )
            takes = [Column(name=name, type=kind) for name, kind in loaded.takes] or _takes(version)
            return Running(f"{endpoint}:{number}", model, Records(takes, Strictness(), MOST_RECORDS))
        except ModelGone as error:
            why = await loop.run_in_executor(None, _why_ended, process)
            raise ModelGone(f"{error.message}{why}", hint=error.hint) from error
        except BaseException:
            process.kill()
            raise

    def _process(self, endpoint: str, number: int) -> tuple[VersionView, ModelProcess]:
        with read(self._project) as views:
            version = views.resolve("model", f"{endpoint}:{number}")
        refs = [version.out, *([] if version.preparation is None else [version.preparation])]
        folder = self._folder / endpoint / str(number)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            gather_blobs(self._project, refs, folder)
            return version, model_process.start(self._project, folder)
        except OSError as error:
            raise ConfigError(
                f"a model process can't be started: {error.strerror}", hint="check the disk's free space and the limits"
            ) from error

    # -- in threads ----------------------------------------------------------------------------------------------

    def _follow(self, loop: asyncio.AbstractEventLoop, endpoints: Endpoints) -> None:
        """Look again and again where requests are to go. While the ledger can't be read, the last routes hold."""
        is_away = False
        while not self._ends.wait(LOOK_S):
            try:
                routes = _routes(self._project)
            except HeadraceError as error:
                if not is_away:
                    self._say(f"the ledger can't be read, so the endpoints keep their routes: {error.message}")
                is_away = True
                continue
            is_away = False
            with suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(endpoints.follow, routes)

    def _seal(self) -> None:
        """Seal what the prediction log has in closed segments. While store or ledger are away, it stays on this
        host."""
        why = ""
        while not self._ends.wait(SEAL_S):
            try:
                seal_predictions(self._project)
                why = ""
            except HeadraceError as error:
                if error.message != why:
                    why = error.message
                    self._say(f"predictions can't be sealed yet, and stay on this host: {why}")


def _routes(project: Project) -> dict[str, Route]:
    with read(project) as views:
        return {row.name: decode_route(row.route) for row in views.routes() if row.route is not None}


def _takes(version: VersionView) -> Sequence[Column]:
    signature = signature_in(version.out.signature)
    if signature is None:
        raise UsageError(
            f"model `{version.name}:{version.version}` has no signature, so records can't be checked",
            hint="register it with `signature=`, a table with the columns that it takes",
        )
    return signature.takes


def _abandon(starts: asyncio.Future[tuple[VersionView, ModelProcess]]) -> None:
    """End a process that was started though nobody wants it any more."""
    if not starts.cancelled() and starts.exception() is None:
        starts.result()[1].kill()


def _why_ended(process: ModelProcess) -> str:
    process.end()
    return f": {why}" if (why := process.why_ended()) else ""


@contextmanager
def _models_folder(project: Project) -> Iterator[Path]:
    """Yield a folder for the blobs of this server's models. Folders of servers that are gone are deleted."""
    project.make_home()
    for other in project.home.glob(f"{_MODELS}*"):
        if not Path("/proc", other.name.removeprefix(_MODELS)).exists():
            shutil.rmtree(other, ignore_errors=True)
    folder = project.home / f"{_MODELS}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
