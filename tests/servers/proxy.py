"""A proxy before an S3 server that does what bad days do: errors, slow and torn answers, lost connections."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from tests.servers.ports import free_port

Kind = Literal["500", "503", "late 500", "slow", "truncated", "reset", "answer"]
KINDS: tuple[Kind, ...] = ("500", "503", "late 500", "slow", "truncated", "reset")
_REASONS = {"500": "InternalError", "503": "SlowDown"}
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Fault:
    """What befalls a `share` of the requests.

    `500`, `503`: an error, and nothing is done. `late 500`: an error, though it was done. `slow`: the answer waits for
    `seconds`. `truncated`: half of a body, the request's or the answer's, then the end. `reset`: the end, unanswered.
    `answer`: that of the `status` and S3's `code`, with `detail` in it, and nothing is done. `methods` are those that
    it may befall.
    """

    kind: Kind
    share: float = 1.0
    seconds: float = 0.3
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    status: int = 403
    code: str = "AccessDenied"
    detail: str = ""


class Proxy:
    """Passes requests on to a server on this machine; what they are signed for is the proxy's own address, on `host`.

    `fault` may be set at any time, and None heals it. `befallen` counts the requests that something happened to.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", seed: int = 0) -> None:
        self.fault: Fault | None = None
        self.befallen = 0
        self.requests: list[tuple[str, str]] = []
        self._target = ("127.0.0.1", port)
        self._rng = random.Random(seed)
        self._server = _Server((host, free_port()), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Its address."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def draw(self, method: str, path: str) -> Fault | None:
        """Return what befalls a request."""
        self.requests.append((method, path))
        fault = self.fault
        if fault is None or method not in fault.methods or self._rng.random() >= fault.share:
            return None
        self.befallen += 1
        return fault

    def connect(self) -> socket.socket:
        """Connect to the server."""
        return socket.create_connection(self._target, timeout=60)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is what this is for."""


class _Handler(socketserver.BaseRequestHandler):
    """One connection of a client's, with one to the server behind it."""

    server: _Server

    def handle(self) -> None:
        client = _Stream(self.request)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError, EOFError), self.server.proxy.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = _Stream(connection)
            while self._pass_on(client, server):
                pass

    def _pass_on(self, client: _Stream, server: _Stream) -> bool:
        """Pass on one request and its answer; return whether the connection goes on."""
        head = client.head()
        if not head:
            return False
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        body = client.body(head)
        fault = self.server.proxy.draw(method, path)
        kind = fault.kind if fault is not None else None
        if kind == "reset":
            return False
        if kind in ("500", "503"):
            client.send(_error(int(kind), _REASONS[kind]))
            return True
        if fault is not None and kind == "answer":
            client.send(_error(fault.status, fault.code, fault.detail, bare=method == "HEAD"))
            return True
        if kind == "truncated" and body:
            server.send(head + body[: len(body) // 2])
            return False
        server.send(head + body)
        answer = server.head()
        no_body = method == "HEAD" or answer.split(b" ", 2)[1] in (b"204", b"304")
        content = b"" if no_body else server.body(answer)
        if fault is not None and kind == "slow":
            time.sleep(fault.seconds)
        if kind == "late 500":
            client.send(_error(500, _REASONS["500"]))
            return True
        if kind == "truncated":
            client.send(answer + content[: len(content) // 2])
            return False
        client.send(answer + content)
        return b"connection: close" not in answer.lower()


class _Stream:
    """A connection, read by heads and bodies of HTTP."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = bytearray()

    def head(self) -> bytes:
        """Read up to the empty line; nothing where the other side has ended."""
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            if not self._more():
                return b""
        return self._take(end + 4)

    def body(self, head: bytes) -> bytes:
        """Read the body that a head announces, as it came."""
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        if fields.get(b"transfer-encoding", b"").strip() == b"chunked":
            return self._chunks()
        if fields.get(b"expect", b"").strip() == b"100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._take(int(fields.get(b"content-length", b"0")))

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def _chunks(self) -> bytes:
        found = []
        while True:
            while b"\r\n" not in self._rest:
                self._need()
            size = int(self._rest.split(b"\r\n", 1)[0].split(b";")[0], 16)
            found.append(self._take(self._rest.index(b"\r\n") + 2 + size + 2))
            if size == 0:
                return b"".join(found)

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._need()
        data = bytes(self._rest[:size])
        del self._rest[:size]
        return data

    def _need(self) -> None:
        if not self._more():
            raise EOFError

    def _more(self) -> bool:
        data = self._connection.recv(_CHUNK)
        self._rest += data
        return bool(data)


def _error(status: int, code: str, detail: str = "", *, bare: bool = False) -> bytes:
    message = f"<Message>a fault of the test's</Message>{detail}"
    text = "" if bare else f"<?xml version='1.0'?><Error><Code>{code}</Code>{message}</Error>"
    head = f"HTTP/1.1 {status} {code}\r\ncontent-type: application/xml\r\ncontent-length: {len(text)}\r\n\r\n"
    return (head + text).encode()
