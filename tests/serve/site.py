"""A real server in a thread, with an endpoint that doubles numbers, and a client that says what it likes."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from headrace.serve.access.access import Access
from headrace.serve.app import App, Asked, Predicted, PredictedStream
from headrace.serve.metrics import Metrics
from headrace.serve.openapi.schemas import Interface
from headrace.serve.predictions.feedback import feedback_in
from headrace.serve.records import Records, Strictness
from headrace.serve.request import Limits
from headrace.serve.server import Server, loopback
from headrace.spec.signature import Column

PATIENCE_S = 60.0
PATH = "/v1/endpoints/double/predict"
RECORDS = Records([Column(name="x", type="double")], Strictness(), most=1_000)
BODY = b'{"records": [{"x": 1}, {"x": 2}]}'
DOUBLED = {"predictions": [{"y": 2.0}, {"y": 4.0}], "ids": ["id-0", "id-1"], "variant": "main", "version": "double:3"}


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


class Double:
    """An endpoint that gives each number twice: once it isn't held any more, or else an error."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.ends: list[str] = []
        self.is_held = False
        self.error: Exception | None = None
        self.pad = ""
        self.keeps = True
        self.interface_ = Interface("double:3", RECORDS, [Column(name="y", type="double")], {"x": 1.5})
        self.labels: list[tuple[str, object]] = []

    async def predict(self, request: Asked) -> Predicted:
        rows = self.interface_.records.rows(request.body)
        self.asked.append(request)
        request.answers("main", "double:3")
        try:
            while self.is_held:  # noqa: ASYNC110  the test's thread changes it
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        self.ends.append("answered")
        if self.error is not None:
            raise self.error
        doubled = [None if x is None else 2 * x for x in rows.columns["x"]]
        answers = [{"y": y, **({"pad": self.pad} if self.pad else {})} for y in doubled]
        ids = [f"id-{number}" for number in range(rows.count)] if self.keeps else None
        return Predicted(answers, ids, "main", "double:3")

    async def predict_stream(self, request: Asked) -> PredictedStream:
        self.asked.append(request)
        request.answers("main", "double:3")
        if self.error is not None:
            raise self.error
        return PredictedStream(request.body[::-1], "main", "double:3")

    def interface(self) -> Interface:
        return self.interface_

    async def feedback(self, body: bytes) -> int:
        found = feedback_in(body, "double", at=0.0)
        if self.error is not None:
            raise self.error
        self.labels += found.labels
        return len(found.labels)


class Few:
    """The endpoints of a server: `double`, also under a name that no path can hold as it is, and one that isn't
    ready."""

    def __init__(self) -> None:
        self.double = Double()
        self.ready = True
        self.known = ["double", "a/b é", "later"]

    def find(self, name: str) -> Double | None:
        return self.double if name in self.names() and name != "later" else None

    def get(self, name: str) -> Double | None:
        return self.double if name in self.names() else None

    def names(self) -> Sequence[str]:
        return self.known

    def is_ready(self) -> bool:
        return self.ready


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """The status, and the type of the error."""
        assert set(self.json) >= {"error", "message", "hint"}
        return self.status, self.json["error"]


class Line:
    """A connection of a client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._file = self.socket.makefile("rb")

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """Return the next answer."""
        status = self._file.readline().split(b" ")
        assert len(status) > 1, "the connection is closed"
        headers = {}
        while (line := self._file.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            assert name not in headers
            headers[name] = value
        return Answer(int(status[1]), headers, self._file.read(int(headers["content-length"])))

    def has_heard(self) -> bool:
        """Return whether something of the server waits to be read."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def is_closed(self) -> bool:
        """Wait until the server says something or closes the connection; return whether it has closed it."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def flood(self, data: Iterable[bytes], pause_s: float = 0.0) -> bool:
        """Send all this, or until the server closes the connection; return whether it has. An answer is dropped."""
        self.socket.settimeout(pause_s or 0.05)
        try:
            for piece in data:
                self._push(piece)
                if pause_s and not self._pull():
                    return True
        except ConnectionError:
            return True
        return False

    def _push(self, data: bytes) -> None:
        end = time.monotonic() + PATIENCE_S
        while data and time.monotonic() < end:
            with suppress(BlockingIOError, TimeoutError):
                data = data[self.socket.send(data) :]

    def _pull(self) -> bytes:
        with suppress(TimeoutError):
            return self.socket.recv(1 << 16)
        return b"nothing yet"

    def leave(self) -> None:
        self._file.close()
        self.socket.close()


class Site:
    """A running server."""

    def __init__(self, endpoints: Few, port: int) -> None:
        self.endpoints = endpoints
        self.port = port
        self.metrics = Metrics()
        self.app: App
        self.stop: Callable[[], None] = lambda: None
        self.has_ended = threading.Event()

    @property
    def double(self) -> Double:
        return self.endpoints.double

    @contextmanager
    def line(self) -> Iterator[Line]:
        line = Line(self.port)
        try:
            yield line
        finally:
            line.leave()

    def ask(self, data: bytes) -> Answer:
        """Send bytes on a connection of their own, and return the first answer."""
        with self.line() as line:
            line.say(data)
            return line.answer()

    def post(self, body: bytes = BODY, *, path: str = PATH, **headers: str) -> Answer:
        return self.ask(post(body, path=path, **headers))


def post(body: bytes = BODY, *, path: str = PATH, method: str = "POST", **headers: str) -> bytes:
    """Return a request. `x_y="z"` is the header `x-y`; an empty one is left out."""
    told = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def certified(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for `localhost` in a folder, and return its file and that of its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    written = ["-keyout", key, "-out", certificate]
    subprocess.run(["openssl", *words, *named, *written], check=True, capture_output=True, timeout=60)
    key.chmod(0o600)
    return certificate, key


@contextmanager
def serving(
    *,
    limits: Limits | None = None,
    access: Callable[[int], Access] = Access.loopback,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Site]:
    """Run a server in a thread, until it is stopped or the test is over."""
    limits = limits or Limits(body_bytes=1 << 20)
    sockets = loopback(0)
    site = Site(Few(), sockets[0].getsockname()[1])
    begun = threading.Event()

    async def serve() -> None:
        site.app = App(site.endpoints, access(site.port), limits, site.metrics)
        server = Server(site.app, sockets, limits, tls)
        loop = asyncio.get_running_loop()
        site.stop = lambda: loop.call_soon_threadsafe(server.stop)  # type: ignore[assignment]
        begun.set()
        await server.serve()

    def run() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve())
        site.has_ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(PATIENCE_S)
    try:
        yield site
    finally:
        site.double.is_held = False
        if not site.has_ended.is_set():
            site.stop()
        thread.join(PATIENCE_S)
        assert site.has_ended.is_set()
