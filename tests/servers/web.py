"""A real web server whose answers each test decides, and which remembers what it was asked."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.servers.missing import Missing


class Asked(NamedTuple):
    """A request as it came; of a parameter that came twice, the first."""

    method: str
    path: str
    params: dict[str, str]
    headers: Mapping[str, str]
    number: int
    body: bytes = b""


class Reply(NamedTuple):
    """An answer. `length` is what Content-Length says, where it isn't the body's: the line breaks off then."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}
    length: int | None = None


Answers = Callable[[Asked], Reply]


class Web:
    """A server on a port of its own."""

    def __init__(self, answers: Answers, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.answers = answers
        self._lock = threading.Lock()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.answer(self)

            def do_HEAD(self) -> None:
                web.answer(self)

            def do_POST(self) -> None:
                web.answer(self)

            def log_message(self, *words: Any) -> None:
                """Print nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *words: Any) -> None:
                """Say nothing of clients that go away: tests kill them."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.port = self._server.server_port
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        params = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            asked = Asked(handler.command, parts.path, params, dict(handler.headers.items()), len(self.asked), body)
            self.asked.append(asked)
        reply = self.answers(asked)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if "Content-Length" not in reply.headers and reply.status != 304:
            handler.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
        handler.end_headers()
        if handler.command != "HEAD" and reply.status != 304:
            handler.wfile.write(reply.body)
        if reply.length is not None:
            handler.close_connection = True

    def times(self, path: str = "", method: str = "GET") -> int:
        """How often a path was asked for (any, if none is given)."""
        return sum(1 for each in self.asked if each.method == method and path in ("", each.path))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(answers: Answers, context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Run a server for as long as a test lasts."""
    web = Web(answers, context)
    try:
        yield web
    finally:
        web.close()


def told(value: object, status: int = 200, **headers: str) -> Reply:
    """Answer with JSON; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, {"Content-Type": "application/json", **named})


def numbered(
    count: int, size: int, *, etag: Callable[[], str] | None = None, shift: Callable[[], int] = lambda: 0
) -> Answers:
    """Answer `?page=N` with `size` of `count` rows, `{"id": 0}` and so on, under `data`; all ids moved by `shift`."""

    def answers(asked: Asked) -> Reply:
        number = int(asked.params.get("page", "1"))
        rows = [{"id": each + shift()} for each in range(count)][(number - 1) * size : number * size]
        if etag is None:
            return told({"data": rows, "total": count})
        if asked.headers.get("If-None-Match") == etag():
            return Reply(b"", 304, {"ETag": etag()})
        return told({"data": rows, "total": count}, ETag=etag())

    return answers


def certificate(folder: Path, *, days: int = 2) -> tuple[ssl.SSLContext, Path]:
    """Return a server's TLS with a certificate that no one signed but itself, for 127.0.0.1, and its file."""
    if shutil.which("openssl") is None:
        raise Missing("openssl isn't installed")
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert)]
    names = ["-days", str(days), "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *words, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert
